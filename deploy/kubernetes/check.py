"""Builds the kustomize base and every overlay, and validates what comes out: `make k8s-check`.

The schemas of the oldest Kubernetes that is supported and of the newest that is known (kubernetes-validate, strict),
Pod Security "restricted", the rules of this house, NetworkPolicies, that numbers follow from settings, and that every
variable is a setting and every setting has a place.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from deploy.kubernetes import house_rules  # noqa: E402 - the folder is no installed package
from deploy.kubernetes.derived import derived_faults  # noqa: E402
from deploy.kubernetes.environment import config_maps, environment_faults, given, unplaced  # noqa: E402
from deploy.kubernetes.network_rules import network_faults, store_faults  # noqa: E402
from deploy.kubernetes.pod_security import restricted_faults  # noqa: E402
from deploy.kubernetes.workloads import Manifest, ours  # noqa: E402

VERSIONS = ("1.31", "1.37")
ENV_FILE = HERE / "base" / "sealane.env"
RESTRICTED = "pod-security.kubernetes.io/enforce"
Each = Callable[[Manifest], Iterator[str]]
Together = Callable[[list[Manifest]], Iterator[str]]


def builds() -> list[Path]:
    return [HERE / "base", *sorted(path.parent for path in (HERE / "overlays").glob("*/kustomization.yaml"))]


def build(folder: Path) -> list[Manifest]:
    """What ``kubectl apply -k`` would send. SystemExit with kustomize's words if it can't be built."""
    kubectl = Path(sys.executable).parent / "kubectl"
    answer = subprocess.run([str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"kubectl kustomize {folder}: {answer.stderr}")
    return [m for m in yaml.load_all(answer.stdout, yaml.CSafeLoader) if m]


def schema_faults(manifest: Manifest) -> Iterator[str]:
    """Fields that Kubernetes would not know, or not take."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {error.path}: {error.message}"


def overlay_faults(manifests: list[Manifest]) -> Iterator[str]:
    """An overlay is whole: one namespace that enforces "restricted", both services, a way to their store."""
    namespaces = [m for m in manifests if m["kind"] == "Namespace"]
    if [n["metadata"].get("labels", {}).get(RESTRICTED) for n in namespaces] != ["restricted"]:
        yield 'no namespace that enforces Pod Security "restricted"'
    names = {n["metadata"]["name"] for n in namespaces}
    for manifest in manifests:
        if manifest["kind"] != "Namespace" and manifest["metadata"].get("namespace") not in names:
            yield f"{manifest['kind']}/{manifest['metadata']['name']} is in another namespace"
    found = dict.fromkeys(("ingest", "assembly"), False)
    for service, _, container in ours(manifests):
        found[service] = True
        endpoint = urlsplit(given(container, config_maps(manifests)).get("SEALANE_S3_ENDPOINT", ""))
        yield from store_faults(manifests, endpoint.port or (443 if endpoint.scheme == "https" else 80))
    yield from (f"no Deployment of {service}" for service, there in found.items() if not there)


EACH: tuple[Each, ...] = (
    restricted_faults,
    house_rules.root_faults,
    house_rules.token_faults,
    house_rules.secret_faults,
)
TOGETHER: tuple[Together, ...] = (
    house_rules.probe_faults,
    house_rules.rolling_faults,
    house_rules.service_faults,
    network_faults,
    environment_faults,
    derived_faults,
)


def faults_of(manifests: list[Manifest], *, overlay: bool, schemas: bool = True) -> list[str]:
    """Every fault of one build; without ``schemas``, which take a second, what we ask beyond them."""
    faults = [
        f"{manifest['kind']}/{manifest['metadata']['name']}: {fault}"
        for manifest in manifests
        for rule in ((schema_faults, *EACH) if schemas else EACH)
        for fault in rule(manifest)
    ]
    faults += [fault for rule in TOGETHER for fault in rule(manifests)]
    faults += list(overlay_faults(manifests)) if overlay else []
    return list(dict.fromkeys(faults))


def main(given: list[str]) -> int:
    """``given``: overlays of somebody's own; without any, the base and the overlays that are here."""
    total = 0
    print(f"Kubernetes {' and '.join(VERSIONS)}")
    for folder in [Path(name).resolve() for name in given] or builds():
        base = folder == HERE / "base"
        manifests = build(folder)
        faults = faults_of(manifests, overlay=not base)
        faults += unplaced(ENV_FILE, manifests) if base else []
        name = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
        for fault in faults:
            print(f"{name}: {fault}", file=sys.stderr)
        print(f"{name}: {len(manifests)} manifests, {len(faults)} faults")
        total += len(faults)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
