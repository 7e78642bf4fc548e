"""The manifests as they are built: sound, and refused when any rule of the house is broken."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.kubernetes import check
from deploy.kubernetes.derived import quantity
from ingest_service.app import LAST_UPLOADS_SECONDS
from ingest_service.settings import IngestSettings

Manifest = dict[str, Any]
Manifests = list[Manifest]
One = Callable[[Manifests, str, str], Manifest]
POD = "spec.template.spec"
CONTAINER = f"{POD}.containers.0"


@pytest.mark.parametrize("folder", check.builds(), ids=lambda folder: folder.name)
def test_every_build_is_sound(folder: Path) -> None:
    """What `make k8s-check` says, which asks the schemas as well."""
    manifests = check.build(folder)
    assert check.faults_of(manifests, overlay=folder.parent.name == "overlays", schemas=False) == []


def test_every_setting_has_a_place_in_the_manifests() -> None:
    """Set by a Deployment, or a line of base/sealane.env: an operator sees all that there is to set."""
    assert list(check.unplaced(check.ENV_FILE, check.build(check.HERE / "base"))) == []


def test_a_setting_without_a_place_is_a_fault(prod: Manifests, tmp_path: Path) -> None:
    """A new setting must not stay unknown to those who deploy."""
    text = check.ENV_FILE.read_text(encoding="utf-8")
    assert "#SEALANE_SWEEP_AT_ONCE=" not in text
    (tmp_path / "e.env").write_text(text.replace("#SEALANE_ASSEMBLY_SWEEP_AT_ONCE=4\n", ""), encoding="utf-8")
    assert [f.split(" is ")[0] for f in check.unplaced(tmp_path / "e.env", prod)] == ["assembly: SEALANE_SWEEP_AT_ONCE"]


def put(manifest: Manifest, path: str, value: object) -> None:
    """Set ``value`` at a dotted path; None takes away what is there. A list's item goes by its number, or its name."""

    def step(place: Any, word: str) -> Any:
        if not isinstance(place, list):
            return word
        return int(word) if word.isdigit() else [item["name"] for item in place].index(word)

    *way, last = path.split(".")
    place: Any = manifest
    for word in way:
        place = place[step(place, word)]
    if value is None:
        del place[step(place, last)]
    else:
        place[step(place, last)] = value


def rules(manifests: Manifests) -> list[str]:
    """Faults of an overlay, by all that we ask beyond the schemas."""
    return check.faults_of(manifests, overlay=True, schemas=False)


INGEST = ("Deployment", "sealane-ingest")


@pytest.mark.parametrize(
    ("which", "path", "value", "said"),
    [
        (INGEST, f"{POD}.hostNetwork", True, "hostNetwork is set"),
        (INGEST, f"{CONTAINER}.securityContext.readOnlyRootFilesystem", None, "root is writable"),
        (INGEST, f"{CONTAINER}.resources.limits", {}, "no memory limit"),
        (INGEST, f"{CONTAINER}.resources.requests.cpu", None, "no cpu request"),
        (INGEST, f"{CONTAINER}.image", "registry:5000/sealane", "no fixed tag"),
        (INGEST, f"{CONTAINER}.image", "sealane:latest", "no fixed tag"),
        (INGEST, f"{POD}.automountServiceAccountToken", None, "token is mounted"),
        (("ServiceAccount", "sealane-ingest"), "automountServiceAccountToken", True, "is not false"),
        (INGEST, f"{CONTAINER}.env.0", {"name": "SEALANE_S3_SECRET_KEY", "value": "x"}, "is written out"),
        (INGEST, f"{CONTAINER}.startupProbe.grpc.service", "readiness", "does not ask 'liveness'"),
        (INGEST, f"{CONTAINER}.livenessProbe.grpc.service", "readiness", "does not ask 'liveness'"),
        (INGEST, f"{CONTAINER}.readinessProbe.grpc.service", "liveness", "does not ask 'readiness'"),
        (INGEST, f"{CONTAINER}.readinessProbe.grpc.port", 7301, "of the health port"),
        (INGEST, f"{CONTAINER}.startupProbe", None, "no gRPC startupProbe"),
        (INGEST, "spec.strategy.rollingUpdate.maxUnavailable", 1, "before its successor is ready"),
        (INGEST, f"{POD}.topologySpreadConstraints", None, "no topologySpreadConstraints"),
        (INGEST, "spec.replicas", 3, "replicas would undo"),
        (("PodDisruptionBudget", "sealane-ingest"), "spec.selector.matchLabels", {"a": "b"}, "no PodDisruptionBudget"),
        (("HorizontalPodAutoscaler", "sealane-ingest"), "spec.minReplicas", 1, "PodDisruptionBudget for one replica"),
        (("Service", "sealane-ingest"), "spec.clusterIP", None, "no headless Service"),
        (("Service", "sealane-ingest"), "spec.selector", {"a": "b"}, "its Service selects other pods"),
        (("Service", "sealane-ingest"), "spec.ports.0.port", 1, "has another port than the container"),
        (("NetworkPolicy", "default-deny"), "spec.policyTypes", ["Ingress"], "denies everything by default"),
        (("NetworkPolicy", "sealane-dns"), "spec.egress", [], "can't ask for names"),
        (("NetworkPolicy", "sealane-store"), "spec.egress", [], "can't call the store at port 443"),
        (("NetworkPolicy", "sealane-ingest"), "spec.ingress", [], "ingest lets assembly not in"),
        (("NetworkPolicy", "sealane-ingest"), "spec.egress", [], "ingest can't call assembly"),
        (("NetworkPolicy", "sealane-ingest"), "spec.ingress", [{}], "ingest: Ingress is open to any pod"),
        (("NetworkPolicy", "sealane-assembly"), "spec.egress", [{}], "assembly: Egress is open to any pod"),
        (("Namespace", "sealane"), "metadata.labels", {}, "no namespace that enforces"),
        (("Service", "sealane-ingest"), "metadata.namespace", "default", "is in another namespace"),
        (INGEST, f"{CONTAINER}.env.SEALANE_LISTEN.name", "SEALANE_LISTENS", "SEALANE_LISTENS is no setting"),
        (
            INGEST,
            f"{CONTAINER}.env.SEALANE_LISTEN.name",
            "SEALANE_SWEEP_INTERVAL",
            "SEALANE_SWEEP_INTERVAL is no setting",
        ),
        (INGEST, f"{CONTAINER}.env.SEALANE_LISTEN.value", "everywhere", "expected host:port"),
        (INGEST, f"{CONTAINER}.resources.limits.memory", "512Mi", "ingest: memory limit 512 MiB"),
        (INGEST, f"{CONTAINER}.resources.limits.memory", "4Gi", "ingest: memory limit 4096 MiB"),
        (INGEST, f"{CONTAINER}.resources.requests.memory", "128Mi", "memory request is not its limit"),
        (INGEST, f"{POD}.terminationGracePeriodSeconds", 30, "terminationGracePeriodSeconds 30"),
        (INGEST, f"{POD}.terminationGracePeriodSeconds", None, "terminationGracePeriodSeconds 30"),
        (INGEST, f"{POD}.terminationGracePeriodSeconds", 600, "terminationGracePeriodSeconds 600"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(
    prod: Manifests, one: One, which: tuple[str, str], path: str, value: object, said: str
) -> None:
    """A rule a row: the sound build with one thing changed has a fault that says what."""
    put(one(prod, *which), path, value)
    faults = rules(prod)
    assert any(said in fault for fault in faults), faults


def test_a_field_that_kubernetes_does_not_know_is_refused(prod: Manifests, one: One) -> None:
    """`replica: 2` would be dropped without a word."""
    deployment = one(prod, *INGEST)
    deployment["spec"]["replica"] = 2
    faults = list(check.schema_faults(deployment))
    assert len(faults) == len(check.VERSIONS)
    assert all("'replica' was unexpected" in fault for fault in faults)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ({"path": "t", "expirationSeconds": 3600}, "the API server's own audience"),
        ({"path": "t", "audience": "sealane", "expirationSeconds": 86400}, "a token of more than 3600 s"),
    ],
)
def test_a_projected_token_is_for_sealane_alone_and_short_lived(
    prod: Manifests, one: One, token: Manifest, said: str
) -> None:
    """A token that leaks must be good for nothing else, and not for long."""
    pod = one(prod, *INGEST)["spec"]["template"]["spec"]
    pod.setdefault("volumes", []).append({"name": "t", "projected": {"sources": [{"serviceAccountToken": token}]}})
    assert any(said in fault for fault in rules(prod))


@pytest.mark.parametrize("name", ["tls", "token", "identity", "quotas"])
def test_a_file_that_no_volume_brings_is_a_fault(prod: Manifests, one: One, name: str) -> None:
    """The service would end with code 78 in every pod, and the roll would hang."""
    container = one(prod, *INGEST)["spec"]["template"]["spec"]["containers"][0]
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != name]
    assert any("no volume brings /" in fault for fault in rules(prod))


def test_a_config_maps_file_is_read_as_the_service_would(prod: Manifests, one: One) -> None:
    """A role that does not exist, and a file of another name."""
    data = one(prod, "ConfigMap", "sealane-identities")["data"]
    data["identities.toml"] = data["identities.toml"].replace('"uploader"', '"uploadr"')
    assert any("SEALANE_IDENTITIES_FILE" in fault for fault in rules(prod))
    del data["identities.toml"]
    assert any("no volume brings /etc/sealane/identity/identities.toml" in fault for fault in rules(prod))


def test_prod_listens_with_tls_and_knows_its_callers(prod: Manifests, one: One) -> None:
    """Nothing is reached from other machines in plaintext, and nobody is let in for being there."""
    (settings,) = [m["data"] for m in prod if m["kind"] == "ConfigMap" and "SEALANE_IDENTITY" in m["data"]]
    assert (settings["SEALANE_PLAINTEXT"], settings["SEALANE_IDENTITY"]) == ("false", "jwt")
    container = one(prod, *INGEST)["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [v for v in container["env"] if not v["name"].startswith("SEALANE_TLS_")]
    assert any("is reached from other machines, without TLS" in fault for fault in rules(prod))


def test_a_secret_in_a_config_map_is_refused(prod: Manifests) -> None:
    """Whoever may read the namespace's settings must not be able to read the store."""
    for manifest in prod:
        if manifest["kind"] == "ConfigMap":
            manifest["data"]["SEALANE_S3_SECRET_KEY"] = "x"
    assert any("SEALANE_S3_SECRET_KEY is in a ConfigMap" in fault for fault in rules(prod))


def test_a_larger_budget_asks_for_a_larger_limit(prod: Manifests) -> None:
    """The limit follows the memory formula of the settings that the manifest itself gives."""
    for manifest in prod:
        if manifest["kind"] == "ConfigMap":
            manifest["data"]["SEALANE_INGEST_MEMORY_BUDGET"] = str(1 << 30)
    (fault,) = rules(prod)
    assert fault.startswith("ingest: memory limit")


def test_limits_and_grace_are_what_the_formulas_say(prod: Manifests, one: One) -> None:
    """The sums by hand, so that the check is checked: 250 MiB + 1.1 × (budget + 4 MiB a stream); drain + uploads."""
    pod = one(prod, *INGEST)["spec"]["template"]["spec"]
    defaults = IngestSettings.model_construct()
    most = 250 * 2**20 + 1.1 * (defaults.memory_budget + 4 * 2**20 * defaults.max_streams)
    assert abs(IngestSettings.model_construct().most_memory - most) < 2
    assert 1.1 <= quantity(pod["containers"][0]["resources"]["limits"]["memory"]) / most <= 1.5
    assert pod["terminationGracePeriodSeconds"] >= defaults.drain_seconds + LAST_UPLOADS_SECONDS + 5


def test_dev_lets_only_the_services_reach_its_store(dev: Manifests, one: One) -> None:
    """The store in the cluster is as closed as the rest, and has a namespace that is restricted, too."""
    from deploy.kubernetes.network_rules import allows

    store = {"app.kubernetes.io/name": "seaweedfs"}
    labels = one(dev, *INGEST)["spec"]["template"]["metadata"]["labels"]
    assert allows(dev, "Egress", labels, store, 8333)
    assert allows(dev, "Ingress", store, labels, 8333)
    assert not allows(dev, "Ingress", store, {"app.kubernetes.io/name": "stranger"}, 8333)
    assert not allows(dev, "Egress", store, labels, 7301)


def test_dev_services_have_their_own_rights_on_the_store_and_no_others(dev: Manifests, one: One) -> None:
    """The store's users are deploy/s3-policies' to the letter: assembly's has its own and the sweeper's."""
    secrets = {
        m["metadata"]["name"].rpartition("-")[0]: {k: b64decode(v).decode() for k, v in m["data"].items()}
        for m in dev
        if m["kind"] == "Secret"
    }
    document = json.loads(secrets["seaweedfs"]["identities.json"])
    policies = {policy["name"]: json.loads(policy["content"]) for policy in document["policies"]}
    folder = check.ROOT / "deploy" / "s3-policies"
    assert policies == {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*.json")}
    users = {user["name"]: user for user in document["identities"]}
    for name, attached in {"ingest": ["ingest"], "assembly": ["assembly", "sweeper"]}.items():
        keys = secrets[f"sealane-{name}-s3"]
        user = users[keys["access-key"]]
        assert user["credentials"] == [{"accessKey": keys["access-key"], "secretKey": keys["secret-key"]}]
        assert (user["policyNames"], user.get("actions")) == (attached, None)
