"""Who callers are, as both services are told of it (docs/security.md)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from sealane.config.rules import Rules
from sealane.identity.identities import parse
from sealane.reloaded import read

MODES = ("static", "mtls", "jwt", "tokens")
ROLES = ("uploader", "reader", "operator")
"""What a token may be without standing in the identities file; never a service, for that is every tenant's."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
_NEEDS_FILE = {"mtls", "jwt", "tokens"}


class IdentitySettings(Rules):
    """How a caller is known. Times in seconds."""

    identity: str = "static"
    """How callers are known: static (everybody is SEALANE_TENANT), or some of mtls, jwt, tokens, with commas."""
    identities_file: Path | None = None
    """TOML: tokens, SPIFFE ids and JWT subjects, with the tenant and the roles of each. Read again on change."""
    jwt_issuer: str = ""
    """The issuer (iss) whose tokens are accepted."""
    jwt_audience: str = ""
    """The audience (aud) that a token must be for."""
    jwt_algorithms: str = "RS256,ES256"
    """Signature algorithms that are accepted, with commas: RS…, PS…, ES…, Ed25519."""
    jwt_jwks_file: Path | None = None
    """The issuer's public keys, a JWK set, as a file. Read again on change."""
    jwt_jwks_url: str = ""
    """The same from a URL: https, or http on this machine."""
    jwt_jwks_ca_file: Path | None = None
    """PEM file of the authorities to trust for that URL, in place of the system's."""
    jwt_jwks_token_file: Path | None = None
    """A bearer token to show at that URL, as Kubernetes' API server asks for."""
    jwt_jwks_seconds: float = Field(default=300.0, ge=10, le=86400)
    """How often the URL is asked; beside that at once, at most every 10 s, when a token names an unknown key."""
    jwt_tenant_claim: str = Field(default="tenant", min_length=1)
    """The claim that is the tenant: a name, or a JSON pointer, /kubernetes.io/namespace say."""
    jwt_roles_claim: str = "roles"
    """The claim with the roles, a list or a text with spaces between; a name or a JSON pointer."""
    jwt_default_roles: str = ""
    """Roles of a token that has no such claim, with commas. Without any, it may do nothing."""
    jwt_leeway_seconds: int = Field(default=30, ge=0, le=600)
    """How far the issuer's clock may be from the store's."""

    @property
    def identity_modes(self) -> frozenset[str]:
        return _names(self.identity)

    @property
    def jwt_allowed_algorithms(self) -> frozenset[str]:
        return _names(self.jwt_algorithms)

    @property
    def jwt_default_role_names(self) -> frozenset[str]:
        return _names(self.jwt_default_roles)

    def faults(self) -> list[str]:
        faults = super().faults()
        modes = self.identity_modes
        if not modes or modes - set(MODES):
            faults.append(f"SEALANE_IDENTITY: expected static, or some of mtls, jwt, tokens, not {self.identity!r}")
        elif "static" in modes and len(modes) > 1:
            faults.append("SEALANE_IDENTITY: static stands alone; beside it nobody would be refused")
        if modes & _NEEDS_FILE and self.identities_file is None:
            faults.append("SEALANE_IDENTITIES_FILE: must be set: it says who the other service is, if nobody else")
        faults += self._readable()
        return faults + (self._jwt_faults() if "jwt" in modes else [])

    def _readable(self) -> list[str]:
        """What stands in the files is judged at the start, too: an operator hears of it before a caller does."""
        if self.identities_file is None:
            return []
        try:
            parse([read(self.identities_file)])
        except OSError as error:
            return [f"SEALANE_IDENTITIES_FILE: {self.identities_file}: {error.strerror}"]
        except ValueError as error:
            return [f"SEALANE_IDENTITIES_FILE: {error}"]
        return []

    def _jwt_faults(self) -> list[str]:
        faults: list[str] = []
        faults += [
            f"SEALANE_{name.upper()}: must be set for jwt"
            for name in ("jwt_issuer", "jwt_audience")
            if not getattr(self, name)
        ]
        allowed = self.jwt_allowed_algorithms
        if not allowed or allowed - set(ALGORITHMS):
            faults.append(f"SEALANE_JWT_ALGORITHMS: expected some of {', '.join(ALGORITHMS)}")
        if self.jwt_default_role_names - set(ROLES):
            faults.append(f"SEALANE_JWT_DEFAULT_ROLES: expected some of {', '.join(ROLES)}")
        if (self.jwt_jwks_file is None) == (not self.jwt_jwks_url):
            faults.append("SEALANE_JWT_JWKS_FILE, SEALANE_JWT_JWKS_URL: one of them")
        if self.jwt_jwks_url and not _trustworthy(self.jwt_jwks_url):
            faults.append("SEALANE_JWT_JWKS_URL: expected https://…: whoever could change the keys could be anybody")
        return faults


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _trustworthy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
