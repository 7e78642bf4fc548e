"""The real grpcurl, as someone at three in the morning uses it: JSON in, JSON out, no generated code."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blake3

PROGRAM = Path(sys.executable).parent / "grpcurl"
FRAME = 1 << 20


@dataclass(frozen=True)
class Answer:
    """One call's end: the messages it answered, or what it failed with."""

    code: int
    messages: list[dict[str, Any]]
    err: str

    @property
    def one(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        assert len(self.messages) == 1
        return self.messages[0]

    @property
    def reason(self) -> str:
        """The ErrorInfo's reason, as grpcurl prints the details."""
        assert self.code != 0
        for line in self.err.splitlines():
            if '"reason":' in line:
                return str(json.loads(line[line.index("{") :])["reason"])
        raise AssertionError(f"no ErrorInfo in: {self.err}")


def grpcurl(
    address: str, method: str, *messages: dict[str, Any], headers: Sequence[str] = (), ca_file: Path | None = None
) -> Answer:
    """Call ``method`` ("IngestService/GetSession") by reflection; several messages are a client stream.

    Plaintext without ``ca_file``.
    """
    line = ["-plaintext"] if ca_file is None else ["-cacert", str(ca_file)]
    told = [word for header in headers for word in ("-H", header)]
    done = subprocess.run(
        [str(PROGRAM), *line, "-max-time", "60", *told, "-d", "@", address, f"sealane.v1.{method}"],
        input="\n".join(json.dumps(message) for message in messages).encode(),
        capture_output=True,
        timeout=90,
        check=False,
    )
    decoder, text, answers = json.JSONDecoder(), done.stdout.decode().lstrip(), []
    while text:
        value, end = decoder.raw_decode(text)
        answers.append(value)
        text = text[end:].lstrip()
    return Answer(done.returncode, answers, done.stderr.decode())


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def chunk_messages(index: int, data: bytes, *, frame: int = FRAME) -> Iterable[dict[str, Any]]:
    """One chunk as ChunkFrames; the digest on the last of them ends it."""
    offsets = range(0, len(data), frame)
    for offset in offsets:
        message: dict[str, Any] = {
            "chunk_index": str(index),
            "offset": str(offset),
            "data": b64(data[offset : offset + frame]),
        }
        if offset == offsets[-1]:
            message["blake3"] = b64(blake3.blake3(data).digest())
        yield {"frame": message}


def upload_messages(session: str, *chunks: tuple[int, bytes]) -> list[dict[str, Any]]:
    """A whole UploadChunks stream."""
    return [
        {"header": {"session_id": session}},
        *(message for index, data in chunks for message in chunk_messages(index, data)),
    ]
