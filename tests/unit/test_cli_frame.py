"""The command line's frame: help, exit codes, one shape of failure, where the services are found."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from sealane import __version__, cluster_file
from sealane.cli import endpoints, security
from sealane.cli.__main__ import COMMANDS, run
from sealane.cli.exit_codes import BY_REASON, MEANINGS, ExitCode
from sealane.cli.failures import from_sealane
from sealane.client import Tls
from sealane.cluster_file import ClusterInfo, ServiceInfo, StoreInfo
from sealane.domain.errors import InternalError, PeerUnavailable, Reason
from sealane.rpc.status import TABLE

INFO = ClusterInfo(
    pid=1,
    tenant="default",
    store=StoreInfo("http://127.0.0.1:8333", "sealane", "us-east-1", "key", "secret"),
    services=(
        ServiceInfo("ingest-1", "ingest", "127.0.0.1:11", "127.0.0.1:12", "127.0.0.1:17", "a.log"),
        ServiceInfo("ingest-2", "ingest", "127.0.0.1:13", "127.0.0.1:14", "127.0.0.1:18", "b.log"),
        ServiceInfo("assembly-1", "assembly", "127.0.0.1:15", "127.0.0.1:16", "127.0.0.1:19", "c.log"),
    ),
)


@pytest.fixture(autouse=True)
def _no_endpoints_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEALANE_INGEST", raising=False)
    monkeypatch.delenv("SEALANE_ASSEMBLY", raising=False)


def test_every_reason_has_the_wires_code_and_an_exit_code() -> None:
    """The command line's table says what the wire's says (protocol.md section 10)."""
    assert {reason: code for reason, (code, _) in BY_REASON.items()} == {
        reason: row.code.name for reason, row in TABLE.items()
    }
    assert set(BY_REASON) == set(Reason)
    assert {exit_code for _, exit_code in BY_REASON.values()} <= set(MEANINGS)


def test_the_help_page_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(f"  {name} " in page for name in COMMANDS)
    assert all(f"{int(code):>3}  {meaning}" in page for code, meaning in MEANINGS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_page_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    page = capsys.readouterr().out
    assert f"Usage: sealane {name}" in page
    assert "--json" in page


def test_help_imports_nothing_that_is_slow() -> None:
    """`sealane --help` and a command's own help load neither gRPC nor numba, minio, blake3 or rich."""
    program = (
        "import sys; from sealane.cli.__main__ import run\n"
        "run(['--help']); run(['put', '--help']); run(['dev', '--help']); run(['doctor', '--help'])\n"
        "slow = {'grpc', 'google.protobuf', 'numba', 'numpy', 'minio', 'urllib3', 'blake3', 'rich', 'pydantic'}\n"
        "sys.exit(', '.join(sorted(slow & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["status"],
        ["ls", "--limit", "many"],
        ["put", "/no/such/file"],
        ["put", "-", "--overwrite"],
        ["put", "-", "--if-generation", "1"],
        ["put", "-", "--key", "k", "--overwrite", "--if-generation", "1"],
        ["put", "-", "--key", "k", "--if-generation", "-1"],
        ["put", "-", "--limit-rate", "1K"],
        ["put", "-", "--limit-rate", "fast"],
        ["rm"],
        ["rm", "0" * 32, "--key", "k"],
        ["audit", "--min-age", "old"],
        ["explain", "0" * 32, "--logs", "/no/such/file"],
        ["explain", "0" * 32, __file__],
    ],
)
def test_a_wrong_command_line_is_exit_2_also_as_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == ExitCode.USAGE
    assert "Error" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    error = json.loads(said.err)["error"]
    assert (error["reason"], error["code"], error["exit_code"]) == ("USAGE", "INVALID_ARGUMENT", 2)


def test_a_failure_names_the_error_id_for_the_report() -> None:
    failure = from_sealane(InternalError(private="error_id=abc123 request_id=r"))
    assert failure.data == {"error_id": "abc123"}
    assert failure.exit_code is ExitCode.FAILED
    assert from_sealane(PeerUnavailable()).data == {}


def test_a_program_that_stops_reading_gets_no_traceback() -> None:
    program = (
        "import sys, click; from sealane.cli import __main__ as m\n"
        "@click.command()\n"
        "def flood():\n"
        "    while True: print('x' * 4096)\n"
        "m.cli.add_command(flood, 'flood'); m.COMMANDS = {}\n"
        "m._Lazy.get_command = lambda *_: flood\n"
        "sys.exit(m.run(['flood']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(timeout=30) == ExitCode.FAILED
        assert child.stderr.read() == ""


# --- where the services are ---


def test_without_anything_the_default_ports_are_asked(tmp_path: Path) -> None:
    found = endpoints.resolve(None, None, directory=tmp_path)
    assert (found.ingest, found.assembly) == ("127.0.0.1:7301", "127.0.0.1:7302")
    assert (found.ingest_source, found.assembly_source) == ("default", "default")


def test_a_flag_wins_over_the_environment_and_that_over_a_running_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_file.held(tmp_path):
        cluster_file.write(tmp_path, INFO)
        assert endpoints.resolve(None, None, directory=tmp_path) == endpoints.Endpoints(
            "ipv4:127.0.0.1:11,127.0.0.1:13", "127.0.0.1:15", "sealane dev", "sealane dev"
        )
        monkeypatch.setenv("SEALANE_INGEST", "far:1")
        found = endpoints.resolve(None, "near:2", directory=tmp_path)
        assert found == endpoints.Endpoints("far:1", "near:2", "environment", "flag")


def test_the_authority_of_a_running_cluster_is_for_its_own_services_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster_file.held(tmp_path):
        cluster_file.write(tmp_path, replace(INFO, ca_file="/a/ca.pem"))
        assert endpoints.resolve(None, None, directory=tmp_path).ca_file == "/a/ca.pem"
        assert endpoints.resolve(None, "elsewhere:2", directory=tmp_path).ca_file == ""
        monkeypatch.setenv("SEALANE_INGEST", "far:1")
        assert endpoints.resolve(None, None, directory=tmp_path).ca_file == ""


@pytest.mark.parametrize("given", [[], ["--tls"]])
def test_tls_asked_for_by_name_is_that_of_the_running_cluster_too(given: list[str]) -> None:
    """No authority of the system signs its certificates: SEALANE_TLS=1 in a shell, say, must not lock it out."""
    found = endpoints.Endpoints("127.0.0.1:11,127.0.0.1:13", "127.0.0.1:15", ca_file="/a/ca.pem")
    with click.Context(click.Command("ls"), obj=None) as ctx:
        ctx.meta["sealane.security"] = {"tls": bool(given)}
        shown = security.shown(found)
    assert shown.tls == Tls(Path("/a/ca.pem"), server_name="localhost")


def test_a_cluster_that_was_killed_is_not_found(tmp_path: Path) -> None:
    """Its file is still there; the kernel has let go of its lock."""
    with cluster_file.held(tmp_path):
        cluster_file.write(tmp_path, INFO)
        left = (tmp_path / "cluster.json").read_bytes()
        assert cluster_file.read(tmp_path) == INFO
    (tmp_path / "cluster.json").write_bytes(left)
    assert cluster_file.read(tmp_path) is None


def test_the_file_with_the_stores_keys_is_its_owners_alone(tmp_path: Path) -> None:
    with cluster_file.held(tmp_path):
        cluster_file.write(tmp_path, INFO)
        assert (tmp_path / "cluster.json").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "cluster.json").exists()


def test_two_clusters_never_share_a_folder(tmp_path: Path) -> None:
    with cluster_file.held(tmp_path), pytest.raises(cluster_file.AlreadyRunning), cluster_file.held(tmp_path):
        pass


def _garbage(directory: Path, body: bytes) -> ClusterInfo | None:
    with cluster_file.held(directory):
        (directory / "cluster.json").write_bytes(body)
        return cluster_file.read(directory)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"version":2}', b'{"version":1,"store":{},"services":3}'])
def test_a_cluster_file_that_is_not_understood_is_not_there(tmp_path: Path, body: bytes) -> None:
    assert _garbage(tmp_path, body) is None


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("host:1", "host:1"),
        ("10.0.0.1:1, 10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        ("dns:///ingest:7301", "dns:///ingest:7301"),
        ("[::1]:1,[::2]:2", "ipv6:[::1]:1,[::2]:2"),
    ],
)
def test_several_addresses_become_one_target(text: str, target: str) -> None:
    assert endpoints.grpc_target(text) == target


@pytest.mark.parametrize("text", ["http://127.0.0.1:7301", "https://x:1", "a:1,b:2", "10.0.0.1:1,[::1]:2"])
def test_what_no_channel_could_reach_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.UsageError):
        endpoints.grpc_target(text)


def test_version_is_an_option_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"sealane {__version__}\n"


SECRET = "a-secret-token-of-somebody"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--ingest", "ingest.example:7301"], "--tls or --ca-file FILE"),
        (["--assembly", "10.0.0.7:7302"], "the token would go to 10.0.0.7:7302 without TLS"),
        (["--cert-file", __file__], "--cert-file and --key-file go together"),
        (["--ingest", "127.0.0.1:1,127.0.0.1:2", "--tls"], "several addresses with TLS need --server-name"),
        (["--key-file", __file__], "--cert-file and --key-file go together"),
        (["--ca-file", "/nowhere"], "'/nowhere' does not exist"),
        (["--token-file", "/nowhere"], "'/nowhere' does not exist"),
    ],
)
def test_credentials_that_do_not_fit_together_are_a_usage_error(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent, and no token is shown."""
    monkeypatch.setenv("SEALANE_TOKEN", SECRET)
    assert run(["ls", *words]) == ExitCode.USAGE
    page = capsys.readouterr().err
    assert told in page.replace("\n", " ")
    assert SECRET not in page


@pytest.mark.parametrize("content", ["no certificate", ""])
def test_files_that_are_no_certificates_are_said(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").write_text(content)
    assert run(["ls", "--ca-file", str(tmp_path / "ca.pem"), "--json"]) == ExitCode.FAILED
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["reason"], error["message"]) == ("LOCAL_IO", f"{tmp_path / 'ca.pem'}: no certificates in PEM")
