"""A SeaweedFS with one identity a service, each with its own policy and no other right; and what each one asks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult

import pytest

from sealane.dev.seaweed import SeaweedFS
from sealane.store.s3 import S3Settings, S3Store
from sealane.store.s3_signing import Signer
from tests.s3_policies.policy import FOLDER, Use, use_of

IDENTITIES = {"ingest": ["ingest"], "assembly": ["assembly"], "sweeper": ["sweeper"], "stranger": []}
"""Identity -> its policies. A deployed assembly has two; here each file must do by itself."""


class Recorder(Signer):
    """Signs, and keeps what was signed: the adapter sends nothing that it has not signed."""

    def __init__(self, settings: S3Settings) -> None:
        super().__init__(settings)
        self.uses: list[Use] = []

    def sign(self, method: str, url: SplitResult, headers: Any, *, at: datetime, **rest: Any) -> dict[str, str]:
        self.uses.append(use_of(method, url.path, url.query))
        return super().sign(method, url, headers, at=at, **rest)


@dataclass
class Bucket:
    """The store, to be asked by any identity."""

    seaweed: SeaweedFS
    secrets: dict[str, str]
    recorders: dict[str, Recorder] = field(default_factory=dict)

    def settings(self, identity: str) -> S3Settings:
        return S3Settings(self.seaweed.endpoint, "sealane", access_key=identity, secret_key=self.secrets[identity])

    def store(self, identity: str) -> S3Store:
        """A store as this identity; what it asks is kept."""
        settings = self.settings(identity)
        recorder = self.recorders.setdefault(identity, Recorder(settings))
        return S3Store(settings, signer=recorder)

    def uses(self, identity: str) -> list[Use]:
        return self.recorders[identity].uses


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """The bucket `sealane`, as the policies name it."""
    directory = tmp_path_factory.mktemp("guarded")
    keys = {name: secrets.token_hex(16) for name in ("admin", *IDENTITIES)}
    actions = {"admin": ["Admin", "Read", "Write", "List"]}
    file = directory / "identities.json"
    users = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": actions.get(name, []),
            "policyNames": IDENTITIES.get(name, []),
        }
        for name, secret in keys.items()
    ]
    policies = [{"name": p.stem, "content": p.read_text(encoding="utf-8")} for p in sorted(FOLDER.glob("*.json"))]
    file.write_text(json.dumps({"identities": users, "policies": policies}), encoding="utf-8")
    seaweed = SeaweedFS(directory / "store", access_key="admin", secret_key=keys["admin"], identities=file)
    try:
        yield Bucket(seaweed.start(), keys)
    finally:
        seaweed.kill()
