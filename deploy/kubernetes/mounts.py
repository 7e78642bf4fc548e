"""The files that a container finds, so that its settings can be judged here: what the build has of them, and stand-ins.

A ConfigMap of the build gives its own content; of a Secret, or a ConfigMap that somebody else makes, only the names are
known, so a certificate, a key or a token of the right kind stands in.
"""

from __future__ import annotations

import datetime
import functools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.kubernetes.workloads import Manifest


@functools.cache
def _certificate() -> dict[str, bytes]:
    """A certificate, its key, and the authority that it is itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begin).not_valid_after(begin.replace(year=2100))
    certificate = builder.sign(key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    return {
        ".crt": pem,
        ".key": key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain),
    }


def _stand_in(name: str) -> bytes:
    suffix = PurePosixPath(name).suffix
    return {**_certificate(), ".json": b'{"keys": []}', ".toml": b""}.get(suffix, b"stand-in")


def content(path: str, pod: Manifest, container: Manifest, manifests: list[Manifest]) -> bytes | None:
    """What the container reads at ``path``; None if nothing is mounted there, or not this file."""
    for mount in container.get("volumeMounts") or []:
        if not PurePosixPath(path).is_relative_to(mount["mountPath"]):
            continue
        name = str(PurePosixPath(path).relative_to(mount["mountPath"]))
        for volume in pod.get("volumes") or []:
            if volume["name"] == mount["name"]:
                return _in_volume(volume, name, manifests)
    return None


def _in_volume(volume: Manifest, name: str, manifests: list[Manifest]) -> bytes | None:
    if "secret" in volume:
        return _in_source("Secret", {"name": volume["secret"]["secretName"]}, name, manifests)
    if "configMap" in volume:
        return _in_source("ConfigMap", volume["configMap"], name, manifests)
    unknown: bytes | None = None
    for source in (volume.get("projected") or {}).get("sources") or []:
        if "serviceAccountToken" in source:
            if source["serviceAccountToken"]["path"] == name:
                return _stand_in("token")
            continue
        kind, told = ("Secret", source["secret"]) if "secret" in source else ("ConfigMap", source["configMap"])
        found = _in_source(kind, told, name, manifests)
        if found is not None and _made(kind, told["name"], manifests) is not None:
            return found
        unknown = unknown or found
    return unknown


def _in_source(kind: str, told: Manifest, name: str, manifests: list[Manifest]) -> bytes | None:
    made = _made(kind, told["name"], manifests)
    if made is None:
        return _stand_in(name)  # somebody else makes it
    if name not in made:
        return None
    return made[name].encode() if kind == "ConfigMap" else _stand_in(name)


def _made(kind: str, name: str, manifests: list[Manifest]) -> Mapping[str, str] | None:
    for manifest in manifests:
        if manifest["kind"] == kind and manifest["metadata"]["name"] == name:
            return dict(manifest.get("data") or {})
    return None


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="manifests-")


def files(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(variable, path) of those that name a file."""
    for name, value in environment.items():
        if name.endswith("_FILE") and value.startswith("/"):
            yield name, value


def with_files(
    environment: Mapping[str, str], pod: Manifest, container: Manifest, manifests: list[Manifest]
) -> dict[str, str]:
    """The environment with each file that it names put where it can be read; one that is not mounted stays unread."""
    found = dict(environment)
    for name, path in files(environment):
        body = content(path, pod, container, manifests)
        if body is not None:
            local = Path(_folder().name, container["name"], path.lstrip("/"))
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(body)
            found[name] = str(local)
    return found


def file_faults(
    environment: Mapping[str, str], pod: Manifest, container: Manifest, manifests: list[Manifest]
) -> Iterator[str]:
    """Files that a variable names and no volume brings."""
    for name, path in files(environment):
        if content(path, pod, container, manifests) is None:
            yield f"{container['name']}: {name}: no volume brings {path}"
