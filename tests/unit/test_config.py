"""Settings: every fault at once, typing errors too, and no secret in any text."""

from __future__ import annotations

import os
from typing import ClassVar

import pytest
from pydantic import Field, SecretStr

from assembly_service.settings import AssemblySettings
from ingest_service.settings import IngestSettings
from sealane import tracing
from sealane.config import CommonSettings, load

SECRET = "hunter2-hunter2"


class IngestLike(CommonSettings):
    """As ingest's: one setting of its own."""

    service: ClassVar[str] = "INGEST"
    memory_bytes: int = Field(default=1 << 28, ge=1 << 20)
    """Bytes of chunks in memory at once."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The one variable that must be there, and no other of ours."""
    for name in [name for name in os.environ if name.upper().startswith("SEALANE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEALANE_S3_ENDPOINT", "http://127.0.0.1:8333")
    return monkeypatch


def faults(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines that :func:`load` wrote before it ended the process with EX_CONFIG."""
    with pytest.raises(SystemExit) as ended:
        load(IngestLike)
    assert ended.value.code == 78
    return capsys.readouterr().err.splitlines()


def test_defaults_listen_on_loopback_only() -> None:
    """A service that nobody configured is not on the network."""
    settings = load(CommonSettings)
    assert settings.tenant == "default"
    for address in (settings.listen, settings.health_listen, settings.metrics_listen):
        assert address.startswith("127.0.0.1:")


def test_every_fault_is_reported_at_once_by_its_variable(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An operator mends all of it in one go."""
    environment.delenv("SEALANE_S3_ENDPOINT")
    environment.setenv("SEALANE_TENANT", "Not/A/Tenant")
    environment.setenv("SEALANE_LISTEN", "here:70000")
    environment.setenv("SEALANE_DRAIN_SECONDS", "-1")
    environment.setenv("SEALANE_ACCEPT_WEAK_STORE", "R9")
    environment.setenv("SEALANE_LOG_LEVEL", "LOUD")
    environment.setenv("SEALANE_INGEST_MEMORY_BYTES", "much")
    assert sorted(line.split(":")[0] for line in faults(capsys)) == [
        "SEALANE_ACCEPT_WEAK_STORE",
        "SEALANE_DRAIN_SECONDS",
        "SEALANE_INGEST_MEMORY_BYTES",
        "SEALANE_LISTEN",
        "SEALANE_LOG_LEVEL",
        "SEALANE_S3_ENDPOINT",
        "SEALANE_TENANT",
    ]


def test_a_misspelt_variable_is_a_fault_with_the_right_name(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SEALANE_TENNANT=acme must not put acme's data under "default"."""
    environment.setenv("SEALANE_TENNANT", "acme")
    environment.setenv("SEALANE_INGEST_BLUB", "1")
    assert faults(capsys) == [
        "SEALANE_INGEST_BLUB: not a setting of this service",
        "SEALANE_TENNANT: not a setting; did you mean SEALANE_TENANT?",
    ]


def test_a_variable_of_the_other_service_is_no_fault(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both services may share one environment file: a warning at most."""
    environment.setenv("SEALANE_ASSEMBLY_SWEEP_SECONDS", "5")
    environment.setenv("SEALANE_SWEEP_SECONDS", "5")
    load(IngestLike)
    assert capsys.readouterr().err.splitlines() == ["warning: SEALANE_SWEEP_SECONDS: not a setting of this service"]


def test_a_services_own_variable_goes_before_the_shared_one(environment: pytest.MonkeyPatch) -> None:
    """SEALANE_INGEST_LISTEN for ingest alone, SEALANE_LOG_LEVEL for both."""
    environment.setenv("SEALANE_LISTEN", "127.0.0.1:1")
    environment.setenv("SEALANE_INGEST_LISTEN", "127.0.0.1:2")
    environment.setenv("SEALANE_LOG_LEVEL", "DEBUG")
    settings = load(IngestLike)
    assert (settings.listen, settings.log_level) == ("127.0.0.1:2", "DEBUG")
    assert load(CommonSettings).listen == "127.0.0.1:1"


def test_settings_that_must_fit_together_are_judged_together(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One key without the other, and a default beyond its maximum: both in one report."""
    environment.setenv("SEALANE_S3_SECRET_KEY", SECRET)
    environment.setenv("SEALANE_DEFAULT_TIMEOUT", "700")
    lines = faults(capsys)
    assert len(lines) == 2
    assert "SEALANE_S3_ACCESS_KEY" in lines[0]
    assert "SEALANE_DEFAULT_TIMEOUT" in lines[1]
    assert SECRET not in "".join(lines)


def test_no_secret_is_ever_rendered(environment: pytest.MonkeyPatch) -> None:
    """A settings object may end in any log."""
    environment.setenv("SEALANE_S3_ACCESS_KEY", "key")
    environment.setenv("SEALANE_S3_SECRET_KEY", SECRET)
    settings = load(CommonSettings)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.s3_secret_key is not None
    assert settings.s3_secret_key.get_secret_value() == SECRET


def test_a_faulty_secret_is_named_and_not_shown(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other faults show what was given; a secret's doesn't."""

    class Strict(CommonSettings):
        token: SecretStr = Field(default=SecretStr(""), min_length=100)
        """Long."""

    environment.setenv("SEALANE_TOKEN", SECRET)
    environment.setenv("SEALANE_TENANT", "Capital")
    with pytest.raises(SystemExit):
        load(Strict)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["SEALANE_TENANT", "SEALANE_TOKEN"]
    assert "Capital" in lines[0]
    assert SECRET not in lines[1]


def test_an_empty_variable_is_as_none(environment: pytest.MonkeyPatch) -> None:
    """Compose and Kubernetes set "" for what is not given."""
    environment.setenv("SEALANE_S3_ACCESS_KEY", "")
    environment.setenv("SEALANE_TENANT", "")
    settings = load(CommonSettings)
    assert (settings.s3_access_key, settings.tenant) == (None, "default")


def test_weak_stores_are_accepted_by_name_only(environment: pytest.MonkeyPatch) -> None:
    """No setting accepts everything."""
    assert load(CommonSettings).accepted_weaknesses == frozenset()
    environment.setenv("SEALANE_ACCEPT_WEAK_STORE", "R2, R5")
    assert load(CommonSettings).accepted_weaknesses == {"R2", "R5"}


def test_every_setting_says_what_it_is() -> None:
    """The settings table of docs/operations.md is made of these sentences."""
    assert [name for name, field in CommonSettings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("services", [(IngestSettings, AssemblySettings), (AssemblySettings, IngestSettings)])
def test_no_setting_of_one_service_looks_like_a_misspelt_one_of_the_other(
    services: tuple[type[CommonSettings], type[CommonSettings]],
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Operators share one environment file: every setting of the one must let the other start."""
    mine, other = services
    for name, field in other.model_fields.items():
        if name not in mine.model_fields:
            environment.setenv(f"SEALANE_{name.upper()}", str(field.default))
    load(mine)
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("assembly:7302", "assembly:7302"),
        ("127.0.0.1:7302", "127.0.0.1:7302"),
        ("127.0.0.1:1,127.0.0.2:2", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        (" 127.0.0.1:1 , 127.0.0.2:2 ", "ipv4:127.0.0.1:1,127.0.0.2:2"),
        ("[::1]:1,[fe80::2]:2", "ipv6:[::1]:1,[fe80::2]:2"),
    ],
)
def test_peer_is_one_address_or_all_replicas_of_the_other_service(
    environment: pytest.MonkeyPatch, given: str, target: str
) -> None:
    """One name stands for all its addresses; IP addresses are listed. What comes out is a gRPC target."""
    environment.setenv("SEALANE_PEER", given)
    for settings in (IngestSettings, AssemblySettings):
        assert load(settings).peer == target


@pytest.mark.parametrize(
    "given", ["a:1,b:2", "127.0.0.1:1,b:2", "127.0.0.1:1,", ",", "127.0.0.1:1,[::1]:2", "127.0.0.1:1;127.0.0.1:2", "a"]
)
def test_peers_that_no_channel_could_reach_are_a_fault(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    """gRPC has no target of several names; half of a list must not be dropped silently."""
    environment.setenv("SEALANE_PEER", given)
    assert [line.split(":")[0] for line in faults(capsys)] == ["SEALANE_PEER"]


@pytest.mark.parametrize(
    "endpoint", ["collector:4317", "http://", "grpc://h:1", "http://h:1/v1/traces", "http://u@h:1"]
)
def test_what_can_be_no_collector_is_a_fault(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], endpoint: str
) -> None:
    environment.setenv("SEALANE_TRACES_ENDPOINT", endpoint)
    [line] = faults(capsys)
    assert line.startswith("SEALANE_TRACES_ENDPOINT: expected http://host:port")


def test_traces_without_their_extra_are_a_fault_that_says_what_to_install(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("SEALANE_TRACES_ENDPOINT", "http://collector:4317")
    environment.setattr(tracing, "installed", lambda: False)
    [line] = faults(capsys)
    assert "pip install 'sealane[otel]'" in line
