"""Bytes that a hostile client may send: from almost right to noise. Everything comes from one seeded ``Random``."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

NASTY_INTS = (
    0,
    1,
    -1,
    2,
    31,
    32,
    1023,
    1024,
    1025,
    9_999,
    10_000,
    10_001,
    2**31 - 1,
    2**31,
    -(2**31),
    2**63 - 1,
    -(2**63),
)
NASTY_TEXTS = (
    "",
    "a",
    "0" * 32,
    "../" * 10,
    "0" * 31 + "\n",
    "%2e%2e/",
    "a/b",
    ".",
    "..",
    "a\0b",
    "\u202egpj.exe",
    "e\u0301",
    "\ud7ff\ue000",
    "x" * 255,
    "x" * 256,
    "é" * 600,
    "A" * 10_240,
    "by-session/x",
    ".sealane/default/sessions",
    "//",
    "a\\b",
    "\u0000",
    "{}",
    "' OR 1=1 --",
    "\r\nx-amz-meta-y: z",
    "z" * 60_000,
)
_NUMBERS = {
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT32,
    FieldDescriptor.TYPE_SINT64,
}


def varint(value: int, pad: int = 0) -> bytes:
    """``value`` as an unsigned varint, with ``pad`` bytes more than it needs."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while True:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
        if not value:
            break
    encoded += b"\x80" * pad
    encoded[-1] &= 0x7F
    return bytes(encoded)


def wire_noise(rng: random.Random, depth: int = 0) -> bytes:
    """Fields of every wire type, with lengths that are true, false, huge or cut off; groups and nesting."""
    out = bytearray()
    for _ in range(rng.randrange(1, 6)):
        number = rng.choice((0, 1, 2, 3, 4, 5, 10, 15, 16, 2047, 18_999, 2**29 - 1, 2**31))
        kind = rng.randrange(8)
        out += varint(number << 3 | kind, rng.choice((0, 0, 0, 1, 5)))
        match kind:
            case 0:
                out += rng.choice(
                    (
                        varint(rng.choice(NASTY_INTS), rng.choice((0, 0, 3))),
                        b"\xff" * rng.randrange(1, 20),
                        b"\x80" * 10,
                    )
                )
            case 1:
                out += struct.pack("<q", rng.choice(NASTY_INTS))[: rng.choice((8, 8, 3))]
            case 2:
                inner = (
                    wire_noise(rng, depth + 1) if depth < 6 and rng.random() < 0.4 else rng.randbytes(rng.randrange(40))
                )
                length = rng.choice((len(inner), len(inner), len(inner) + 1, 2**31 - 1, 2**31, 2**63, 0))
                out += varint(length) + inner
            case 5:
                out += rng.randbytes(rng.choice((4, 4, 1)))
            case _:
                pass  # groups that never end, ends without a group, and types that are none
    return bytes(out)


def spoilt(rng: random.Random, message: bytes) -> bytes:
    """``message`` with something done to it: flipped, cut, doubled, put together with noise."""
    body = bytearray(message)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(7):
            case 0 if body:
                body[at % len(body)] ^= 1 << rng.randrange(8)
            case 1:
                del body[at:]
            case 2:
                body[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                body += body[:at]
            case 4:
                body += wire_noise(rng)
            case 5:
                body[at:at] = varint(rng.choice(NASTY_INTS), rng.randrange(4))
            case _:
                body[at : at + rng.randrange(8)] = b""
    return bytes(body)


def filled(rng: random.Random, message: Message, known: Sequence[str], depth: int = 0) -> Message:
    """``message`` with its fields set to what no friend would send, and sometimes to what one would (``known``)."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.3:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for _ in range(rng.choice((1, 2, 50))):
                getattr(message, field.name)[_text(rng, known)] = _text(rng, known)
        elif field.is_repeated:
            continue
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            if depth < 3:
                filled(rng, getattr(message, field.name), known, depth + 1)
        else:
            _set(message, field, _scalar(rng, field, known))
    return message


def _set(message: Message, field: Any, value: object) -> None:
    try:
        setattr(message, field.name, value)
    except (ValueError, TypeError):
        message.ClearField(field.name)  # what the type can't hold goes over the wire as noise instead


def _scalar(rng: random.Random, field: Any, known: Sequence[str]) -> object:
    if field.type in _NUMBERS or field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice(NASTY_INTS) if rng.random() < 0.5 else rng.randrange(-3, 20)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 31, 32, 32, 32, 33, 64, 4096)))
    return _text(rng, known)


def _text(rng: random.Random, known: Sequence[str]) -> str:
    if known and rng.random() < 0.45:
        return rng.choice(known)
    return rng.choice(NASTY_TEXTS)


def metadata(rng: random.Random) -> tuple[tuple[str, str | bytes], ...]:
    """Headers: none, odd, many, and as large as gRPC lets them through or just not."""
    makes: tuple[Callable[[], tuple[tuple[str, str | bytes], ...]], ...] = (
        lambda: (),
        lambda: (("x-request-id", rng.choice(("", "a" * 129, "ok", "with space", "\x7f"))),),
        lambda: (("x-sealane-tenant", "another"), ("authorization", "Bearer " + "x" * rng.randrange(500))),
        lambda: tuple((f"x-{number}", "y" * 20) for number in range(rng.randrange(60))),
        lambda: (("blob-bin", rng.randbytes(rng.choice((0, 10, 4000)))),),
        lambda: (("large", "z" * rng.choice((4_000, 7_900, 8_200, 20_000))),),
    )
    return rng.choices(makes, (8, 2, 2, 1, 1, 1))[0]()
