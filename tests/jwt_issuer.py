"""An issuer of tokens with real keys, and the set of its public ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, KeySet, OctKey, RSAKey
from joserfc.registry import HeaderParameter

ISSUER, AUDIENCE = "https://issuer.example", "sealane"
NOW = datetime(2027, 1, 1, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


class Issuer:
    """``rsa`` and ``ec`` are its keys' names."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {
            "rsa": RSAKey.generate_key(2048, {"kid": "rsa"}),
            "ec": ECKey.generate_key("P-256", {"kid": "ec"}),
        }

    def jwks(self, *names: str) -> bytes:
        keys = KeySet([self.keys[name] for name in names or self.keys])
        return json.dumps(keys.as_dict(private=False)).encode()

    def token(
        self, *, key: Key | None = None, alg: str = "RS256", header: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        """Valid for an hour; a change of None leaves a claim out."""
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "farm",
            "iat": EPOCH - 10,
            "nbf": EPOCH - 10,
            "exp": EPOCH + 3600,
            "tenant": "acme",
            "roles": ["uploader", "reader", "somebody-elses"],
        } | changes
        signer = key or self.keys["ec" if alg.startswith("ES") else "rsa"]
        kid = {} if isinstance(signer, OctKey) else {"kid": signer.kid}
        return jwt.encode(
            {"alg": alg, **kid, **(header or {})},
            {name: value for name, value in claims.items() if value is not None},
            signer,
            registry=jws.JWSRegistry(
                {"vendor": HeaderParameter("one that sealane does not know", "str")},
                algorithms=[alg],
                strict_check_header=False,
            ),
        )
