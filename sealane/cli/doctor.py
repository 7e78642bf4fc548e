"""`sealane doctor`: does this store give what sealane needs? The same probe that both services run at start."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealane import cluster_file
from sealane.cli.asking import Asking
from sealane.cli.exit_codes import ExitCode
from sealane.cli.failures import CommandFailed
from sealane.cli.output import Output
from sealane.extras import needed

if TYPE_CHECKING:
    from sealane.store.probe import ProbeReport, Verdict
    from sealane.store.s3 import S3Settings


@click.command(name="doctor")
@click.option("--endpoint", envvar="SEALANE_S3_ENDPOINT", metavar="URL", help="http://host:port or https://host.")
@click.option("--bucket", envvar="SEALANE_S3_BUCKET", help="A bucket that exists.  [default: sealane]")
@click.option("--region", envvar="SEALANE_S3_REGION", help="Region to sign for.  [default: us-east-1]")
@click.option(
    "--ca-file",
    envvar="SEALANE_S3_CA_FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM file of the authorities to trust for https.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Seconds for the whole probe."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    endpoint: str | None, bucket: str | None, region: str | None, ca_file: str | None, timeout: float, as_json: bool
) -> int:
    """Try the guarantees R1 to R6 (docs/protocol.md, section 2) on an S3 store, and say what it gives.

    Keys come from SEALANE_S3_ACCESS_KEY and SEALANE_S3_SECRET_KEY, else from AWS's own places (AWS_ACCESS_KEY_ID …,
    ~/.aws/credentials, web identity, instance role). Without --endpoint, the store of a running `sealane dev` is
    asked. About 1,200 small objects and 10 MiB are written under .sealane/.probe/ in the bucket, and removed again.
    All six are tried side by side, and each has its row as it ends; on a terminal a line says what is still tried.

    Exit code 0: the store gives all. 7: it does not, and sealane's services would refuse it. 6: it can't be reached,
    which is no verdict.
    """
    settings = _settings(endpoint, bucket, region, ca_file)
    output = Output(as_json=as_json)
    if not as_json:
        output.line(f"{settings.endpoint}, bucket {settings.bucket}\n")
    with needed("cli,server"):
        from sealane import logs  # slow to load; --help does not need it

    logs.configure_command()
    report = asyncio.run(_probe(settings, timeout, output))
    if as_json:
        output.document(_shape(settings, report))
    if not report.cleaned:
        output.note(f"Something may be left under {report.prefix}: remove it by hand.")
    if not report.ok:
        missing = ", ".join(report.missing)
        raise CommandFailed(
            f"the store does not give {missing}: sealane's services refuse it",
            reason="STORE_REFUSED",
            code="FAILED_PRECONDITION",
            exit_code=ExitCode.STORE_REFUSED,
            hint="Use another store; docs/protocol.md, section 2, says what each guarantee protects.",
            data={"missing": list(report.missing)},
        )
    if not as_json:
        output.line("\nThe store gives all that sealane needs.")
    return ExitCode.OK


def _settings(endpoint: str | None, bucket: str | None, region: str | None, ca_file: str | None) -> S3Settings:
    with needed("cli,server"):
        from sealane.store.s3 import S3Settings

    values: dict[str, Any] = {
        "access_key": os.environ.get("SEALANE_S3_ACCESS_KEY") or None,
        "secret_key": os.environ.get("SEALANE_S3_SECRET_KEY") or None,
    }
    if endpoint is None:
        cluster = cluster_file.read(Path(cluster_file.DEFAULT_DIRECTORY))
        if cluster is None:
            raise click.UsageError("Which store? Give --endpoint or SEALANE_S3_ENDPOINT, or start `sealane dev` here.")
        store = cluster.store
        endpoint, bucket = store.endpoint, bucket or store.bucket
        values = {"access_key": store.access_key, "secret_key": store.secret_key}
    try:
        return S3Settings(
            endpoint=endpoint, bucket=bucket or "sealane", region=region or "us-east-1", ca_file=ca_file, **values
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


async def _probe(settings: S3Settings, timeout: float, output: Output) -> ProbeReport:
    from sealane.store.port import AccessDenied, NoSuchBucket, StoreError
    from sealane.store.probe import GUARANTEES, probe
    from sealane.store.s3 import S3Store

    def show(verdict: Verdict) -> None:
        asking.ended(verdict.guarantee)
        if not output.as_json:
            mark = "ok " if verdict.ok else "NO "
            output.line(f"{verdict.guarantee}  {mark}  {GUARANTEES[verdict.guarantee]}")
            seen = f"{verdict.detail}: {verdict.private}" if verdict.private else verdict.detail
            output.line(f"         {seen} ({verdict.duration:.1f} s)")
        asking.go_on()

    asking = Asking(output)
    store = S3Store(settings)
    try:
        with asking:
            return await probe(store, entropy=os.urandom, timeout=timeout, on_begin=asking.began, on_verdict=show)
    except AccessDenied as error:
        raise CommandFailed(
            f"the store refuses these keys: {error.detail}",
            reason="STORE_ACCESS_DENIED",
            code="PERMISSION_DENIED",
            exit_code=ExitCode.FAILED,
            hint="No verdict. Check the keys, their rights on the bucket, and the region.",
        ) from None
    except NoSuchBucket as error:
        raise CommandFailed(
            f"there is no bucket {settings.bucket!r}: {error.detail}",
            reason="NO_SUCH_BUCKET",
            code="NOT_FOUND",
            exit_code=ExitCode.FAILED,
            hint="No verdict. Make the bucket, for sealane alone, not versioned.",
        ) from None
    except StoreError as error:
        raise CommandFailed(
            f"the store does not answer: {error.detail}",
            reason="STORE_UNAVAILABLE",
            code="UNAVAILABLE",
            exit_code=ExitCode.UNAVAILABLE,
            hint="No verdict. Check --endpoint, the network, and https against http.",
        ) from None
    finally:
        await store.aclose()


def _shape(settings: S3Settings, report: ProbeReport) -> dict[str, Any]:
    from sealane.store.probe import GUARANTEES

    return {
        "endpoint": settings.endpoint,
        "bucket": settings.bucket,
        "accepted": report.ok,
        "missing": list(report.missing),
        "untried": list(report.untried),
        "rows": [
            {
                "guarantee": verdict.guarantee,
                "ok": verdict.ok,
                "what": GUARANTEES[verdict.guarantee],
                "detail": verdict.detail,
                "store_said": verdict.private,
                "seconds": round(verdict.duration, 3),
            }
            for verdict in report.verdicts
        ],
        "cleaned": report.cleaned,
    }
