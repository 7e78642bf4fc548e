"""The arrows of the house (docs/architecture.md), kept by reading every import: who may know whom.

A rule names a module or a package and what it must never import, directly or through a name of its own package.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("sealane", "ingest_service", "assembly_service")
MAX_LINES = 330
MAX_TEST_LINES = 450
"""Of a file of tests: a list of short ones, which may be somewhat longer."""

WIRE = ("grpc", "grpc_health", "grpc_reflection", "google", "sealane.v1", "sealane.rpc.server", "sealane.rpc.status")
SDK = ("minio", "urllib3")
IMPURE = (*WIRE, *SDK, "os", "time", "random", "secrets", "asyncio", "socket", "threading", "pathlib")

NEVER: dict[str, tuple[str, ...]] = {
    "sealane.domain": (
        *(*IMPURE, "sealane.store", "sealane.rpc", "sealane.identity", "sealane.client"),
        *("sealane.config", "sealane.logs"),
    ),
    "sealane.identity": (
        *(*WIRE, *SDK, "sealane.rpc", "sealane.config", "sealane.store", "sealane.client", "sealane.cli"),
        *("ingest_service", "assembly_service"),
    ),
    "sealane.store": (*WIRE, "sealane.rpc", "sealane.identity", "sealane.client", "ingest_service", "assembly_service"),
    "sealane.client": (
        *("sealane.store", "sealane.identity", "sealane.cli", "sealane.dev", "ingest_service", "assembly_service"),
        *SDK,
    ),
    "sealane.rpc": ("ingest_service", "assembly_service", "sealane.client", "sealane.cli", *SDK),
    "sealane.cli": ("ingest_service", "assembly_service", "grpc", *SDK),
    "ingest_service": ("assembly_service", "sealane.cli", "sealane.dev", "sealane.client", *SDK),
    "assembly_service": ("ingest_service", "sealane.cli", "sealane.dev", "sealane.client", *SDK),
}
# The code that the simulation runs: it knows the domain and the store's port, never the wire or an adapter.
PORTABLE = {
    "ingest_service": ("receive", "part_upload", "multipart", "admission", "sessions"),
    "assembly_service": (
        *("verify", "commit", "roll_forward", "outcome", "abort", "sweep", "purge", "orphans", "chosen_uploads"),
        *("delete", "delete_chosen", "tombstone", "explain", "explain_receipts"),
        *("audit", "audit_session", "audit_objects", "audit_uploads", "audit_walk", "audit_findings"),
    ),
}
KERNELS = tuple(
    f"sealane.domain.{name}" for name in ("blake3_vectors", "blake3_kernel", "sha256_kernel", "sha256_extensions")
)
# The one place for each of these.
ONLY = {
    "minio": ("sealane.store.s3",),
    "prometheus_client": ("sealane.metrics",),
    "opentelemetry": ("sealane.tracing",),
    "numba": KERNELS,
    "sealane.domain.blake3_kernel": ("ingest_service",),
    "sealane.domain.blake3_vectors": KERNELS,
    "sealane.domain.sha256_kernel": ("ingest_service", "sealane.domain.sha256_extensions"),
    "sealane.domain.sha256_extensions": ("ingest_service",),
    "joserfc": ("sealane.identity.jwt", "sealane.identity.jwks"),
    "cryptography": ("sealane.rpc.tls", "sealane.identity.mtls", "sealane.dev.authority"),
    # What only a service has: a client's dependencies stay few.
    "sealane.reloaded": ("sealane.identity", "sealane.rpc.tls", "sealane.rpc.security", "sealane.config"),
    "sealane.rpc.tls": ("sealane.rpc.server", "sealane.rpc.security", "sealane.config"),
    "sealane.rpc.security": ("ingest_service.app", "assembly_service.app"),
    "sealane.store.s3": ("sealane.cli.doctor", "sealane.store"),
    "sealane.store.opened": ("ingest_service.app", "assembly_service.app"),
    "sealane.metrics": (
        *("ingest_service.app", "ingest_service.metrics"),
        *("assembly_service.app", "assembly_service.metrics"),
    ),
    "sealane.dev": ("sealane.cli.dev", "sealane.dev"),
}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if not name.startswith("sealane.v1."):
                yield name, path


def imports(name: str, path: Path) -> set[str]:
    """Every module that `path` imports, `from a import b` counted as both a and a.b."""
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], base]).strip(".")
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


MODULES = dict(modules())
IMPORTS = {name: imports(name, path) for name, path in MODULES.items()}


@pytest.mark.parametrize("owner", NEVER)
def test_no_arrow_points_the_wrong_way(owner: str) -> None:
    wrong = [
        f"{name} -> {target}"
        for name, targets in IMPORTS.items()
        if within(name, owner)
        for target in sorted(targets)
        for banned in NEVER[owner]
        if within(target, banned) and not _sdk_in_the_adapter(name, banned) and not _keys_from_a_url(name, banned)
    ]
    assert wrong == []


def _sdk_in_the_adapter(name: str, banned: str) -> bool:
    return banned in SDK and name.startswith("sealane.store.s3")


def _keys_from_a_url(name: str, banned: str) -> bool:
    return (name, banned) == ("sealane.identity.jwks", "urllib3")


@pytest.mark.parametrize(("service", "names"), PORTABLE.items())
def test_code_that_the_simulation_runs_knows_neither_wire_nor_adapter(service: str, names: tuple[str, ...]) -> None:
    wrong = [
        f"{service}.{name} -> {target}"
        for name in names
        for target in sorted(IMPORTS[f"{service}.{name}"])
        if any(within(target, banned) for banned in (*WIRE, *SDK, "sealane.store.s3", "numba", "time", "random.random"))
    ]
    assert wrong == []


@pytest.mark.parametrize("target", ONLY)
def test_each_costly_dependency_is_imported_in_its_one_place(target: str) -> None:
    wrong = [
        name
        for name, targets in IMPORTS.items()
        if any(within(t, target) for t in targets)
        and not within(name, target)
        and not any(within(name, allowed) or name.startswith(allowed + "_") for allowed in ONLY[target])
    ]
    assert wrong == []


def test_every_module_is_a_small_room() -> None:
    long = {
        name: lines
        for name, path in MODULES.items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_file_of_tests_is_a_hall() -> None:
    """Split it by topic; what the parts share gets a module of its own beside them."""
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert {str(path): count for path, count in lines.items() if count > MAX_TEST_LINES} == {}


def test_every_module_says_what_it_is() -> None:
    silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_no_module_is_named_for_a_pattern() -> None:
    vague = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base"}
    assert [name for name in MODULES if name.rpartition(".")[2] in vague] == []
