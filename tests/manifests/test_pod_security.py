"""Pod Security "restricted": every control refuses a manifest that breaks it, wherever a container may stand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from deploy.kubernetes.pod_security import restricted_faults

Break = Callable[[dict[str, Any], dict[str, Any]], None]
SOUND: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "volumes": [{"name": "tmp", "emptyDir": {}}],
    "containers": [
        {
            "name": "c",
            "ports": [{"containerPort": 1}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}


def deployment(pod: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": pod}}}


def broken(how: Break) -> list[str]:
    """Faults of the sound pod after ``how(pod, its container)``."""
    pod = copy.deepcopy(SOUND)
    how(pod, pod["containers"][0])
    return list(restricted_faults(deployment(pod)))


def of_pod(**values: Any) -> Break:
    return lambda pod, container: pod.update(values)


def of_pods_context(**values: Any) -> Break:
    return lambda pod, container: pod["securityContext"].update(values)


def of_container(**values: Any) -> Break:
    return lambda pod, container: container.update(values)


def of_context(**values: Any) -> Break:
    return lambda pod, container: container["securityContext"].update(values)


def without(where: str, name: str) -> Break:
    def take(pod: dict[str, Any], container: dict[str, Any]) -> None:
        (pod if where == "pod" else container)["securityContext"].pop(name)

    return take


def test_a_pod_that_keeps_every_control_has_no_fault() -> None:
    """What the broken ones below are made from."""
    assert broken(lambda pod, container: None) == []


def test_what_restricted_does_allow_is_no_fault() -> None:
    """A check that is stricter than the standard would keep good manifests out."""

    def allowed(pod: dict[str, Any], container: dict[str, Any]) -> None:
        pod["volumes"] += [{"name": "v", "projected": {"sources": []}}, {"name": "s", "secret": {"secretName": "x"}}]
        pod["securityContext"]["sysctls"] = [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]
        container["securityContext"]["capabilities"]["add"] = ["NET_BIND_SERVICE"]
        container["securityContext"]["seccompProfile"] = {"type": "Localhost", "localhostProfile": "p"}

    assert broken(allowed) == []


@pytest.mark.parametrize(
    ("how", "named"),
    [
        (of_pod(hostNetwork=True), "hostNetwork"),
        (of_pod(hostPID=True), "hostPID"),
        (of_pod(hostIPC=True), "hostIPC"),
        (of_pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "hostPath"),
        (of_pod(volumes=[{"name": "v", "nfs": {"server": "x", "path": "/"}}]), "nfs"),
        (of_pod(volumes=[{"name": "v"}]), "volume v"),
        (of_pods_context(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "sysctl"),
        (of_pods_context(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions"),
        (of_context(seLinuxOptions={"user": "system_u"}), "seLinuxOptions"),
        (of_context(seLinuxOptions={"role": "sysadm_r"}), "seLinuxOptions"),
        (of_context(appArmorProfile={"type": "Unconfined"}), "appArmorProfile"),
        (of_context(windowsOptions={"hostProcess": True}), "hostProcess"),
        (of_context(privileged=True), "privileged"),
        (of_context(allowPrivilegeEscalation=True), "allowPrivilegeEscalation"),
        (without("container", "allowPrivilegeEscalation"), "allowPrivilegeEscalation"),
        (without("container", "capabilities"), "capabilities"),
        (of_context(capabilities={"drop": ["NET_RAW"]}), "capabilities are kept"),
        (of_context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "SYS_ADMIN"),
        (of_context(procMount="Unmasked"), "procMount"),
        (of_container(ports=[{"containerPort": 1, "hostPort": 1}]), "hostPort"),
        (without("pod", "runAsNonRoot"), "runAsNonRoot"),
        (of_pods_context(runAsNonRoot=False), "runAsNonRoot"),
        (of_context(runAsNonRoot=False), "runAsNonRoot"),
        (of_pods_context(runAsUser=0), "runAsUser"),
        (of_context(runAsUser=0), "runAsUser"),
        (without("pod", "seccompProfile"), "seccompProfile"),
        (of_pods_context(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
        (of_context(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
    ],
)
def test_a_pod_that_breaks_a_control_is_refused(how: Break, named: str) -> None:
    """One control a row, and the fault names it."""
    faults = broken(how)
    assert faults
    assert all(named in fault for fault in faults)


@pytest.mark.parametrize("where", ["initContainers", "ephemeralContainers"])
def test_containers_that_run_first_or_by_hand_are_judged_as_well(where: str) -> None:
    """The admission plugin looks at them, too."""
    assert broken(of_pod(**{where: [{"name": "other"}]})) != []


@pytest.mark.parametrize("kind", ["Pod", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_every_kind_of_workload_is_judged(kind: str) -> None:
    """A privileged pod hides in none of them."""
    pod = copy.deepcopy(SOUND) | {"hostNetwork": True}
    spec: dict[str, Any] = {"template": {"spec": pod}}
    spec = {"Pod": pod, "CronJob": {"jobTemplate": {"spec": spec}}}.get(kind, spec)
    assert list(restricted_faults({"kind": kind, "metadata": {"name": "w"}, "spec": spec})) == ["hostNetwork is set"]
