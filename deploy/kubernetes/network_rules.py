"""What may talk to what: the NetworkPolicies of a build, read the way that a cluster reads them.

Only what is written here is understood: podSelector by matchLabels, and numbers for ports.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.kubernetes.workloads import Manifest, ours

SIDES = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


def _policies(manifests: list[Manifest]) -> list[Manifest]:
    return [m["spec"] for m in manifests if m["kind"] == "NetworkPolicy"]


def _selects(selector: Manifest, labels: Manifest) -> bool:
    return bool((selector.get("matchLabels") or {}).items() <= labels.items())


def allows(manifests: list[Manifest], side: str, own: Manifest, other: Manifest, port: int) -> bool:
    """Whether a pod with the labels ``own`` may be called by (Ingress), or call (Egress), a pod of its namespace with
    the labels ``other``, at ``port`` (the called one's)."""
    rules, peers = SIDES[side]
    selected = [p for p in _policies(manifests) if side in p["policyTypes"] and _selects(p["podSelector"], own)]
    if not selected:
        return True  # nobody keeps anything out
    for policy in selected:
        for rule in policy.get(rules) or []:
            if "ports" in rule and port not in [p["port"] for p in rule["ports"]]:
                continue
            if peers not in rule:
                return True
            for peer in rule[peers]:
                if "podSelector" in peer and "namespaceSelector" not in peer and _selects(peer["podSelector"], other):
                    return True
    return False


def network_faults(manifests: list[Manifest]) -> Iterator[str]:
    """Denied by default both ways; the services reach each other, DNS and a store; a stranger reaches nothing."""
    if not any(
        p["podSelector"] == {} and set(p["policyTypes"]) == set(SIDES) and not p.get("ingress") and not p.get("egress")
        for p in _policies(manifests)
    ):
        yield "no policy denies everything by default, both ways"
    pods = {service: (_labels(deployment), _port(container)) for service, deployment, container in ours(manifests)}
    for service, (labels, port) in pods.items():
        for other, (others, others_port) in pods.items():
            if other != service and not allows(manifests, "Ingress", labels, others, port):
                yield f"{service} lets {other} not in"
            if other != service and not allows(manifests, "Egress", labels, others, others_port):
                yield f"{service} can't call {other}"
        for side in SIDES:
            if allows(manifests, side, labels, {"app.kubernetes.io/name": "stranger"}, port):
                yield f"{service}: {side} is open to any pod"
        if not _goes_out(manifests, labels, 53):
            yield f"{service} can't ask for names (DNS)"


def store_faults(manifests: list[Manifest], port: int) -> Iterator[str]:
    """Of an overlay: each service may call something at the store's port."""
    for service, deployment, _ in ours(manifests):
        if not _goes_out(manifests, _labels(deployment), port):
            yield f"{service} can't call the store at port {port}"


def _goes_out(manifests: list[Manifest], labels: Manifest, port: int) -> bool:
    return any(
        port in [p["port"] for p in rule.get("ports") or []]
        for policy in _policies(manifests)
        if "Egress" in policy["policyTypes"] and _selects(policy["podSelector"], labels)
        for rule in policy.get("egress") or []
    )


def _labels(deployment: Manifest) -> Manifest:
    return dict(deployment["spec"]["template"]["metadata"]["labels"])


def _port(container: Manifest) -> int:
    return next(int(p["containerPort"]) for p in container["ports"] if p["name"] == "grpc")
