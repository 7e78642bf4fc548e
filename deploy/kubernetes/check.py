"""Builds the kustomize base and validates every manifest: `make k8s-check`.

Schema (kubernetes-validate, strict), Pod Security "restricted" in the points that a schema can't know, and that every
SEALANE_ name in a manifest or in the compose file is a setting of the service that gets it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VERSION = "1.31"

sys.path.insert(0, str(ROOT))


def build(folder: Path) -> list[dict[str, Any]]:
    kubectl = Path(sys.executable).parent / "kubectl"
    answer = subprocess.run([str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"kubectl kustomize {folder}: {answer.stderr}")
    return [m for m in yaml.safe_load_all(answer.stdout) if m]


def schema_faults(manifest: dict[str, Any]) -> Iterator[str]:
    try:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{error.path}: {error.message}"


def restricted_faults(manifest: dict[str, Any]) -> Iterator[str]:
    """The Pod Security Standard "restricted", as far as it applies to what is written here."""
    if manifest["kind"] != "Deployment":
        return
    pod = manifest["spec"]["template"]["spec"]
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot"):
        yield "runAsNonRoot is not set"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccompProfile is not RuntimeDefault"
    if pod.get("automountServiceAccountToken") is not False:
        yield "the service account's token is mounted"
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is set"
    for volume in pod.get("volumes", []):
        if "hostPath" in volume:
            yield f"volume {volume['name']} is a hostPath"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']}: allowPrivilegeEscalation"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']}: root is writable"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{container['name']}: capabilities are kept"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{container['name']}: no memory limit"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if "grpc" not in container.get(probe, {}):
                yield f"{container['name']}: no gRPC {probe}"


def settings_of(service: str) -> set[str]:
    if service == "ingest":
        from ingest_service.settings import IngestSettings as Settings
    else:
        from assembly_service.settings import AssemblySettings as Settings  # type: ignore[assignment]
    return {f"SEALANE_{name.upper()}" for name in Settings.model_fields}


def environment_faults(manifests: list[dict[str, Any]]) -> Iterator[str]:
    maps = {m["metadata"]["name"]: m.get("data", {}) for m in manifests if m["kind"] == "ConfigMap"}
    for manifest in manifests:
        if manifest["kind"] != "Deployment":
            continue
        for container in manifest["spec"]["template"]["spec"]["containers"]:
            names = {e["name"] for e in container.get("env", [])}
            for source in container.get("envFrom", []):
                names |= set(maps[source["configMapRef"]["name"]])
            for name in sorted(names - settings_of(container["name"])):
                yield f"{container['name']}: {name} is no setting"
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    for service in ("ingest", "assembly"):
        for name in sorted(set(compose["services"][service]["environment"]) - settings_of(service)):
            yield f"compose.yaml: {service}: {name} is no setting"


def main() -> int:
    manifests = build(HERE / "base")
    faults = [
        f"{manifest['kind']}/{manifest['metadata']['name']}: {fault}"
        for manifest in manifests
        for check in (schema_faults, restricted_faults)
        for fault in check(manifest)
    ]
    faults += environment_faults(manifests)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(manifests)} manifests against Kubernetes {VERSION}: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
