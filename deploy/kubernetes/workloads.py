"""Pods and containers of a manifest, whatever kind of workload holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Manifest = dict[str, Any]

_POD_AT: dict[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "ReplicationController"),
        ("spec", "template", "spec"),
    ),
}
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def pod_of(manifest: Manifest) -> Manifest | None:
    """The pod's spec; None for what runs no pod."""
    path = _POD_AT.get(manifest["kind"])
    if path is None:
        return None
    spec: Any = manifest
    for name in path:
        spec = spec[name]
    return dict(spec)


def containers_of(pod: Manifest) -> Iterator[Manifest]:
    """All of its containers, those that run first or by hand among them."""
    for name in CONTAINER_LISTS:
        yield from pod.get(name) or []


def ours(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """(service, its Deployment, its container) of ingest and assembly."""
    for manifest in manifests:
        if manifest["kind"] == "Deployment" and manifest["metadata"]["name"].startswith("sealane-"):
            service = manifest["metadata"]["name"].removeprefix("sealane-")
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                if container["name"] == service:
                    yield service, manifest, container
