"""What a manifest's variables are to the services: every name a setting, every setting in a place, every value good.

The services' own settings classes judge, so a manifest that passes is one that a service starts with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from pydantic import ValidationError

from assembly_service.settings import AssemblySettings
from deploy.kubernetes.mounts import file_faults, with_files
from deploy.kubernetes.workloads import Manifest, ours
from ingest_service.settings import IngestSettings
from sealane.config import CommonSettings

SETTINGS: dict[str, type[CommonSettings]] = {"ingest": IngestSettings, "assembly": AssemblySettings}
ELSEWHERE = {
    "NUMBA_CACHE_DIR": "where the compiled hash kernel is kept, if it is to be kept",
    "AWS_ROLE_ARN": "web identity in place of the two S3 keys",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "web identity in place of the two S3 keys",
}
"""Variables that are no settings of ours, and what for a service may be given them."""
SECRET_VALUE = "by-reference"


def names_for(service: str) -> set[str]:
    """Every variable that the service reads: the shared spelling and its own."""
    fields = [name.upper() for name in SETTINGS[service].model_fields]
    return {f"SEALANE_{name}" for name in fields} | {f"SEALANE_{service.upper()}_{name}" for name in fields}


def known_to(service: str, name: str) -> bool:
    """Whether the variable means something to the service, or is spelt as the other's own."""
    others = {n for other in SETTINGS for n in names_for(other) if n.startswith(f"SEALANE_{other.upper()}_")}
    return name in names_for(service) or name in others or name in ELSEWHERE


def given(container: Manifest, maps: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The container's environment; a secret's value is a stand-in. KeyError for a ConfigMap that is not there."""
    values: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        values |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env") or []:
        values[variable["name"]] = str(variable.get("value", SECRET_VALUE))
    return values


def config_maps(manifests: list[Manifest]) -> dict[str, dict[str, str]]:
    return {m["metadata"]["name"]: m.get("data") or {} for m in manifests if m["kind"] == "ConfigMap"}


def settings_from(service: str, environment: Mapping[str, str]) -> CommonSettings:
    """The service's settings in this environment and no other. ValidationError."""
    with mock.patch.dict(os.environ, environment, clear=True):
        return SETTINGS[service]()


def name_faults(service: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Variables that nobody reads."""
    for name in sorted(environment):
        if not known_to(service, name):
            yield f"{service}: {name} is no setting"


def value_faults(service: str, environment: Mapping[str, str]) -> Iterator[str]:
    """What the service would say, and end with code 78."""
    try:
        settings_from(service, environment)
    except ValidationError as error:
        for fault in error.errors():
            yield f"{service}: {'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}"


def started_with(deployment: Manifest, container: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """The container's environment, each file that it names at a place where it can be read here."""
    environment = given(container, config_maps(manifests))
    return with_files(environment, deployment["spec"]["template"]["spec"], container, manifests)


def environment_faults(manifests: list[Manifest]) -> Iterator[str]:
    """Of both services, as the manifests start them."""
    for service, deployment, container in ours(manifests):
        environment = given(container, config_maps(manifests))
        yield from name_faults(service, environment)
        yield from file_faults(environment, deployment["spec"]["template"]["spec"], container, manifests)
        yield from value_faults(service, started_with(deployment, container, manifests))


def unplaced(env_file: Path, manifests: list[Manifest]) -> Iterator[str]:
    """Settings that neither a Deployment sets nor the settings file lists (set, or as a comment with its default)."""
    listed = set(re.findall(r"^#?(SEALANE_[A-Z0-9_]+)=", env_file.read_text(encoding="utf-8"), re.MULTILINE))
    for service, _, container in ours(manifests):
        places = listed | {variable["name"] for variable in container.get("env") or []}
        for field in SETTINGS[service].model_fields:
            if not {f"SEALANE_{field.upper()}", f"SEALANE_{service.upper()}_{field.upper()}"} & places:
                yield f"{service}: SEALANE_{field.upper()} is neither in a manifest nor in {env_file.name}: make docs"
