"""Quotas in files and in time: overrides that are read again, and a bucket of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from virtual_time import run

from ingest_service.usage import Figure
from sealane.config.quota_watch import watch_quotas
from sealane.config.quotas import QuotaFileError, QuotaSettings, read_quota_file
from sealane.domain.errors import Overloaded
from sealane.domain.ids import Tenant
from sealane.domain.quotas import Quota, Quotas
from sealane.rpc.rates import RequestRates

ACME, OTHER = Tenant("acme"), Tenant("other")


def _settings(**values: object) -> QuotaSettings:
    return QuotaSettings(**values)


def test_a_file_of_overrides_names_tenants_and_what_is_not_named_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "quotas.toml"
    path.write_text('[acme]\nopen_sessions = 5\nstored_bytes_per_day = "unlimited"\n\n[default]\nopen_sessions = 0\n')
    quotas = Quotas(Quota(open_sessions=1, stored_bytes_per_day=10, requests_per_second=2.0), read_quota_file(path))
    assert quotas.of("acme") == Quota(open_sessions=5, stored_bytes_per_day=None, requests_per_second=2.0)
    assert quotas.of("default").open_sessions == 0  # a tenant of that name, and nothing else
    assert quotas.of("other").open_sessions == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[acme", "quotas.toml: "),
        ("x = " + "[" * 20_000, "quotas.toml: "),
        ("[Acme]\nopen_sessions = 1", "Acme"),
        ("[acme]\nopen_session = 1", "acme.open_session: Extra inputs"),
        ("[acme]\nopen_sessions = -1", "acme.open_sessions: Input should be greater"),
        ("[acme]\nrequests_per_second = 0", "acme.requests_per_second: Input should be greater"),
        ("open_sessions = 1", "open_sessions: Input should be a valid dictionary"),
    ],
)
def test_a_file_that_is_wrong_is_a_fault_of_the_settings_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "quotas.toml"
    path.write_text(text)
    with pytest.raises(QuotaFileError) as raised:
        read_quota_file(path)
    assert said in str(raised.value)
    with pytest.raises(ValueError, match="SEALANE_QUOTA_FILE: "):
        _settings(quota_file=str(path))
    with pytest.raises(ValueError, match="No such file"):
        _settings(quota_file=str(tmp_path / "nowhere"))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a condition of the world
            await asyncio.sleep(0.005)


async def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quotas.toml"
    path.write_text("[acme]\nopen_sessions = 1\n")
    quotas = Quotas()
    watching = asyncio.ensure_future(watch_quotas(path, quotas, look_seconds=0.005))
    await _until(lambda: quotas.of("acme").open_sessions == 1)
    # As Kubernetes changes a mounted ConfigMap: another file under the same name.
    other = tmp_path / "new"
    other.write_text("[acme]\nopen_sessions = 2\n")
    other.replace(path)
    await _until(lambda: quotas.of("acme").open_sessions == 2)
    path.write_text("[acme]\nopen_sessions = 'many'\n")
    await _until(lambda: "quota_file_refused" in _said(capsys))
    assert quotas.of("acme").open_sessions == 2
    path.unlink()
    path.write_text("")
    await _until(lambda: quotas.of("acme").open_sessions is None)
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


_heard: list[str] = []


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    _heard.append(captured.out + captured.err)
    return "".join(_heard)


def test_a_tenant_has_its_rate_and_a_burst_of_two_seconds_and_is_told_when_to_come_back() -> None:
    async def play() -> None:
        rates = RequestRates(Quotas(Quota(requests_per_second=10.0), {"other": {"requests_per_second": None}}))
        loop = asyncio.get_running_loop()
        begun, made = loop.time(), 0
        pauses: list[float] = []
        while loop.time() < begun + 10:
            try:
                rates.admit(ACME)
                made += 1
            except Overloaded as error:
                pauses.append(error.retry_after)
                await asyncio.sleep(error.retry_after + 1e-9)
        assert all(0 < pause <= 0.1 + 1e-9 for pause in pauses)
        assert 20 + 100 - 1 <= made <= 20 + 100 + 1
        for _ in range(1000):
            rates.admit(OTHER)

    run(play())


def test_a_slow_rate_lets_one_call_through_at_a_time() -> None:
    async def play() -> None:
        rates = RequestRates(Quotas(Quota(requests_per_second=0.1)))
        for _ in range(3):
            rates.admit(ACME)
            with pytest.raises(Overloaded) as error:
                rates.admit(ACME)
            assert error.value.retry_after == pytest.approx(10.0)
            await asyncio.sleep(10.0)

    run(play())


def test_a_figure_counts_what_is_new_once_whether_a_walk_saw_it_or_not() -> None:
    async def play() -> None:
        loop = asyncio.get_running_loop()
        figure = Figure()
        with figure.adding("old", 5):
            pass
        await asyncio.sleep(1)
        began = loop.time()
        await asyncio.sleep(1)
        with figure.adding("new", 7):
            assert figure.total == 12
            assert figure.is_new("new", began)
            assert not figure.is_new("old", began)
            figure.counted(5 + 100, began)  # the walk saw the old one and others, and left the new one out
            assert figure.total == 112
        with pytest.raises(KeyError), figure.adding("failed", 1000):
            raise KeyError
        assert figure.total == 112

    run(play())


@pytest.mark.parametrize("first_fails", [True, False])
@pytest.mark.parametrize("first_ends_first", [True, False])
def test_two_that_write_one_chunk_at_once_count_once_whichever_fails(first_fails: bool, first_ends_first: bool) -> None:
    """Else a client makes its figure smaller at will: two streams, one index, and an abort between their parts."""

    async def play() -> None:
        figure = Figure()
        ends = asyncio.Event(), asyncio.Event()

        async def write(number: int) -> None:
            with figure.adding("chunk", 10):
                await ends[number].wait()
                if (number == 0) is first_fails:
                    raise KeyError

        writes = [asyncio.create_task(write(number)) for number in range(2)]
        await asyncio.sleep(1)
        assert figure.total == 10
        for number in (0, 1) if first_ends_first else (1, 0):
            ends[number].set()
            await asyncio.wait([writes[number]])
        assert figure.total == 10
        await asyncio.gather(*writes, return_exceptions=True)
        figure.counted(10, asyncio.get_running_loop().time() + 1)  # a later walk saw it
        assert figure.total == 10

    run(play())
