"""The Pod Security Standard "restricted" (its "baseline" included), control by control, as the admission plugin judges.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (v1.31). Windows pods have no place here.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploy.kubernetes.workloads import Manifest, containers_of, pod_of

VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}


def restricted_faults(manifest: Manifest) -> Iterator[str]:
    """What keeps the manifest's pod out of a namespace that enforces "restricted", a line each."""
    pod = pod_of(manifest)
    if pod is None:
        return
    context = pod.get("securityContext") or {}
    yield from _pod_faults(pod, context)
    yield from _context_faults("the pod", context)
    for container in containers_of(pod):
        own = container.get("securityContext") or {}
        yield from _context_faults(container["name"], own)
        yield from _container_faults(container, own, context)


def _pod_faults(pod: Manifest, context: Manifest) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(name):
            yield f"{name} is set"
    for volume in pod.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds or not kinds <= VOLUMES:
            yield f"volume {volume['name']} is of the kind {', '.join(sorted(kinds)) or '(none)'}"
    for sysctl in context.get("sysctls") or []:
        if sysctl["name"] not in SAFE_SYSCTLS:
            yield f"sysctl {sysctl['name']} is not a safe one"


def _context_faults(who: str, context: Manifest) -> Iterator[str]:
    """Of a pod's securityContext, or a container's: what neither may say."""
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{who}: seLinuxOptions"
    if (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in PROFILES:
        yield f"{who}: appArmorProfile"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{who}: hostProcess"
    if context.get("runAsUser") == 0:
        yield f"{who}: runAsUser is root"
    if context.get("runAsNonRoot") is False:
        yield f"{who}: runAsNonRoot is false"
    if "seccompProfile" in context and context["seccompProfile"].get("type") not in PROFILES:
        yield f"{who}: seccompProfile"


def _container_faults(container: Manifest, own: Manifest, pods: Manifest) -> Iterator[str]:
    name = container["name"]
    if own.get("privileged"):
        yield f"{name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", pods.get("runAsNonRoot")) is not True:
        yield f"{name}: runAsNonRoot is not true"
    if "seccompProfile" not in own and "seccompProfile" not in pods:
        yield f"{name}: no seccompProfile"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{name}: capabilities are kept"
    if added := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities are added: {', '.join(sorted(added))}"
    if own.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"{name}: hostPort {port['hostPort']}"
