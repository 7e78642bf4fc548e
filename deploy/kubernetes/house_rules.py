"""What sealane asks of a manifest beyond the schema and Pod Security: a rule a function."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.kubernetes.workloads import Manifest, containers_of, ours, pod_of

PROBES = {"startupProbe": "liveness", "readinessProbe": "readiness", "livenessProbe": "liveness"}
"""Which service of grpc.health.v1 each probe asks. A store that is away must make nobody restart: never "readiness"
in the first or the last."""
TOKEN_SECONDS = 3600


def root_faults(manifest: Manifest) -> Iterator[str]:
    """Every container's root is read-only, its memory is bounded, and its image has a fixed tag or digest."""
    for container in containers_of(pod_of(manifest) or {}):
        name, image = container["name"], container["image"]
        if (container.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True:
            yield f"{name}: root is writable"
        resources = container.get("resources") or {}
        memory = (resources.get("limits") or {}).get("memory")
        if memory is None:
            yield f"{name}: no memory limit"
        if "cpu" not in (resources.get("requests") or {}):
            yield f"{name}: no cpu request"
        if "@sha256:" not in image and image.rpartition("/")[2].partition(":")[2] in ("", "latest"):
            yield f"{name}: image {image} has no fixed tag"


def token_faults(manifest: Manifest) -> Iterator[str]:
    """No token of the API server's is mounted; a projected one names its audience, and lives an hour at most."""
    if manifest["kind"] == "ServiceAccount" and manifest.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    pod = pod_of(manifest)
    if pod is None:
        return
    if pod.get("automountServiceAccountToken") is not False:
        yield "the service account's token is mounted"
    for volume in pod.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            token = source.get("serviceAccountToken")
            if token is None:
                continue
            if not token.get("audience"):
                yield f"volume {volume['name']}: a token for the API server's own audience"
            if token.get("expirationSeconds", TOKEN_SECONDS) > TOKEN_SECONDS:
                yield f"volume {volume['name']}: a token of more than {TOKEN_SECONDS} s"


def secret_faults(manifest: Manifest) -> Iterator[str]:
    """A secret is named and never written out."""
    for container in containers_of(pod_of(manifest) or {}):
        for variable in container.get("env") or []:
            if _secret(variable["name"]) and "value" in variable:
                yield f"{container['name']}: {variable['name']} is written out"
    if manifest["kind"] == "ConfigMap":
        for name in manifest.get("data") or {}:
            if _secret(name):
                yield f"{name} is in a ConfigMap"


def _secret(name: str) -> bool:
    return name.endswith(("SECRET_KEY", "ACCESS_KEY", "PASSWORD")) and not name.endswith("_FILE")


def probe_faults(manifests: list[Manifest]) -> Iterator[str]:
    """gRPC probes on the health port, each asking the service that is meant for it."""
    for service, _, container in ours(manifests):
        ports = {port["name"]: port["containerPort"] for port in container.get("ports") or []}
        for probe, asked in PROBES.items():
            grpc = (container.get(probe) or {}).get("grpc")
            if grpc is None:
                yield f"{service}: no gRPC {probe}"
            elif grpc.get("service") != asked or grpc["port"] != ports.get("health"):
                yield f"{service}: {probe} does not ask {asked!r} of the health port"


def rolling_faults(manifests: list[Manifest]) -> Iterator[str]:
    """A roll takes no replica away before another is ready; nothing else takes two at once; nodes share them."""
    autoscaled = {m["spec"]["scaleTargetRef"]["name"]: m for m in manifests if m["kind"] == "HorizontalPodAutoscaler"}
    budgets = [m["spec"] for m in manifests if m["kind"] == "PodDisruptionBudget"]
    for service, deployment, _ in ours(manifests):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
        if rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            yield f"{service}: a roll would take a replica away before its successor is ready"
        if not spec["template"]["spec"].get("topologySpreadConstraints"):
            yield f"{service}: no topologySpreadConstraints"
        scaler = autoscaled.get(name)
        if scaler is not None and "replicas" in spec:
            yield f"{service}: replicas would undo the autoscaler's work at every apply"
        least = scaler["spec"].get("minReplicas", 1) if scaler is not None else spec.get("replicas", 1)
        labels = spec["template"]["metadata"]["labels"]
        covered = [b for b in budgets if b["selector"]["matchLabels"].items() <= labels.items()]
        if least > 1 and not covered:
            yield f"{service}: no PodDisruptionBudget"
        if least == 1 and covered:
            yield f"{service}: a PodDisruptionBudget for one replica keeps its node from being drained"


def service_faults(manifests: list[Manifest]) -> Iterator[str]:
    """Clients balance by themselves: each service is headless, and its port is the container's."""
    services = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "Service"}
    for service, deployment, container in ours(manifests):
        spec = services.get(deployment["metadata"]["name"])
        if spec is None or spec.get("clusterIP") != "None":
            yield f"{service}: no headless Service"
            continue
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        if not spec["selector"].items() <= labels.items():
            yield f"{service}: its Service selects other pods"
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        if [p["port"] for p in spec["ports"] if p["name"] == "grpc"] != [ports["grpc"]]:
            yield f"{service}: its Service has another port than the container"
