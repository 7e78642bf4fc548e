"""The manifests as kustomize builds them, once a run; a test breaks a copy of its own."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest

from deploy.kubernetes import check

Manifests = list[dict[str, Any]]


@functools.cache
def built(name: str) -> Manifests:
    return check.build(check.HERE / name)


@pytest.fixture
def prod() -> Manifests:
    """The overlay of a cluster with a store outside of it."""
    return copy.deepcopy(built("overlays/prod"))


@pytest.fixture
def dev() -> Manifests:
    """The overlay with a SeaweedFS in the cluster."""
    return copy.deepcopy(built("overlays/dev"))


@pytest.fixture
def one() -> Callable[[Manifests, str, str], dict[str, Any]]:
    """The manifest of a kind and name."""

    def find(manifests: Manifests, kind: str, name: str) -> dict[str, Any]:
        (found,) = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name]
        return found

    return find
