"""SHA-256 of two or three buffers in step, by the processor's own instructions for it (x86's SHA extensions).

One message is a chain: each `sha256rnds2` waits four cycles for the one before, and the unit that computes them is
idle for half of that. So the chains of several messages take turns in one instruction stream. Measured on Zen 4, CPU
s/GiB: one buffer 0.61 (`hashlib` the same), two 0.36, three 0.29; four do not fit in the registers (0.38).

Importing this module loads numba, so only ingest does, and only `compile_kernel` compiles. Instructions: Intel's
Software Developer's Manual, SHA256RNDS2, SHA256MSG1 and SHA256MSG2; the algorithm: FIPS 180-4, 6.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import llvmlite.binding as llvm  # type: ignore[import-untyped]  # llvmlite ships no types
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sealane.domain.sha256_kernel import BLOCK_BYTES, ROUND_CONSTANTS, START, Buffer, equal_views, padded_tail

LANES: Final = 3
"""Buffers in step, at most."""
FEWEST: Final = 2
"""From how many on it is faster than `hashlib` one by one."""

_QUADS: Final = 16
"""Of rounds: four rounds take four words."""
_BLOCK_QUADS: Final = BLOCK_BYTES // 16
_STATE_WORDS: Final = 8
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_QUAD: Final = ir.VectorType(_I32, 4)


def available() -> bool:
    """Whether this processor has the instructions."""
    features = llvm.get_host_cpu_features()
    return all(features.get(name, False) for name in ("sha", "sse4.1", "ssse3"))


def compile_kernel() -> None:
    """Compile the kernel (1 s, once) and check it against `hashlib`; again is free. As `blake3_kernel.compile_kernel`.

    Only where it is :func:`available`: elsewhere LLVM ends the process. Raises RuntimeError if the compiled code is
    wrong on this processor: the store would refuse every part.
    """
    if not _kernel.signatures:
        if numba.config.CACHE_DIR:  # type: ignore[attr-defined]  # numba sets its options one by one
            _kernel.enable_caching()
        _kernel.compile(_SIGNATURE)
        _kernel.disable_compile()
    for count in range(1, LANES + 1):
        buffers = [bytes((lane + i) % 251 for i in range(1_000)) for lane in range(count)]
        if sha256_of_each(buffers) != [hashlib.sha256(buffer).digest() for buffer in buffers]:
            raise RuntimeError("the compiled SHA-256 kernel gives wrong answers on this processor")


def sha256_of_each(buffers: Sequence[Buffer]) -> list[bytes]:
    """The SHA-256, 32 bytes, of each of 1 to `LANES` buffers of equal length, in their order.

    The buffers (C-contiguous) are read in place and must not change meanwhile; the interpreter lock is free meanwhile,
    and any number of threads may be here at once. Raises ValueError for too many or unequal ones, RuntimeError before
    `compile_kernel`.
    """
    if not _kernel.signatures:
        raise RuntimeError("compile_kernel() comes first")
    views = equal_views(buffers, LANES)
    states = np.tile(np.array(START, dtype=np.uint32), len(views))
    whole = views[0].nbytes // BLOCK_BYTES
    if whole:
        _advance([np.frombuffer(view, dtype=np.uint8) for view in views], whole, states)
    tails = [np.frombuffer(padded_tail(view), dtype=np.uint8) for view in views]
    _advance(tails, tails[0].nbytes // BLOCK_BYTES, states)
    digests = states.reshape(-1, _STATE_WORDS).astype(">u4")
    return [digest.tobytes() for digest in digests]


def _advance(pieces: list[Any], blocks: int, states: Any) -> None:
    """Take `blocks` blocks of each piece into its state, 8 words each."""
    _kernel(np.array([piece.ctypes.data for piece in pieces], dtype=np.int64), blocks, states)


def _emit_blocks(chains: int, module: ir.Module) -> ir.Function:
    """The LLVM function `void sha256_in_step(addresses, count, states)`: `count` (1 at least) blocks of each chain."""
    arguments = [_I64.as_pointer(), _I64, _I32.as_pointer()]
    kind = ir.FunctionType(ir.VoidType(), arguments)
    function = cgutils.get_or_insert_function(module, kind, f"sha256_in_step_{chains}")  # type: ignore[no-untyped-call]  # numba is untyped
    if not function.is_declaration:
        return function
    function.linkage = "internal"
    function.attributes.add("noinline")
    addresses, count, states = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))

    builder = ir.IRBuilder(entry)
    sources = [
        builder.inttoptr(builder.load(builder.gep(addresses, [_I64(chain)])), _QUAD.as_pointer())
        for chain in range(chains)
    ]
    halves = [builder.bitcast(builder.gep(states, [_I64(4 * half)]), _QUAD.as_pointer()) for half in range(2 * chains)]
    loaded = [builder.load(half, align=4) for half in halves]
    # The instructions want the words as F E B A and H G D C, from the lowest on.
    first = [
        _picked(builder, loaded[2 * chain], loaded[2 * chain + 1], picks)
        for chain in range(chains)
        for picks in ((5, 4, 1, 0), (7, 6, 3, 2))
    ]
    builder.branch(loop)

    builder.position_at_end(loop)
    block = builder.phi(_I64)
    block.add_incoming(_I64(0), entry)
    before = [builder.phi(_QUAD) for _ in first]
    for phi, value in zip(before, first, strict=True):
        phi.add_incoming(value, entry)
    at = builder.mul(block, _I64(_BLOCK_QUADS))
    after = _emit_rounds(builder, [_Message(builder, source, at) for source in sources], before)
    following = builder.add(block, _I64(1))
    block.add_incoming(following, loop)
    for phi, value in zip(before, after, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, count), loop, end)

    builder.position_at_end(end)
    for chain in range(chains):
        feba, hgdc = after[2 * chain : 2 * chain + 2]
        builder.store(_picked(builder, feba, hgdc, (3, 2, 7, 6)), halves[2 * chain], align=4)
        builder.store(_picked(builder, feba, hgdc, (1, 0, 5, 4)), halves[2 * chain + 1], align=4)
    builder.ret_void()
    return function


def _picked(builder: ir.IRBuilder, low: ir.Value, high: ir.Value, picks: Sequence[int]) -> ir.Value:
    """Words of two quads end to end."""
    return builder.shuffle_vector(low, high, ir.Constant(_QUAD, list(picks)))


def _intrinsic(builder: ir.IRBuilder, name: str, *values: ir.Value) -> ir.Value:
    kind = ir.FunctionType(_QUAD, [_QUAD] * len(values))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), values)  # type: ignore[no-untyped-call]


class _Message:
    """The message schedule of a block, four words at a time."""

    def __init__(self, builder: ir.IRBuilder, source: ir.Value, at: ir.Value) -> None:
        self._builder = builder
        self._quads = [
            _intrinsic(
                builder,
                "llvm.bswap.v4i32",
                builder.load(builder.gep(source, [builder.add(at, _I64(number))]), align=1),
            )
            for number in range(_BLOCK_QUADS)
        ]

    def quad(self, number: int) -> ir.Value:
        """Ask for each once, in ascending order."""
        if number < _BLOCK_QUADS:
            return self._quads[number]
        builder, (oldest, second, third, newest) = self._builder, self._quads
        sum_0 = _intrinsic(builder, "llvm.x86.sha256msg1", oldest, second)
        sum_7 = builder.add(sum_0, _picked(builder, third, newest, (1, 2, 3, 4)))
        self._quads = [second, third, newest, _intrinsic(builder, "llvm.x86.sha256msg2", sum_7, newest)]
        return self._quads[-1]


def _emit_rounds(builder: ir.IRBuilder, messages: list[_Message], before: list[ir.Value]) -> list[ir.Value]:
    """A block of each chain; states as pairs of quads."""
    states = list(before)
    for number in range(_QUADS):
        constants = ir.Constant(_QUAD, ROUND_CONSTANTS[4 * number : 4 * number + 4])
        words = [builder.add(message.quad(number), constants) for message in messages]
        for chain, four in enumerate(words):
            feba, hgdc = 2 * chain, 2 * chain + 1
            states[hgdc] = _intrinsic(builder, "llvm.x86.sha256rnds2", states[hgdc], states[feba], four)
        for chain, four in enumerate(words):
            feba, hgdc = 2 * chain, 2 * chain + 1
            upper = _picked(builder, four, four, (2, 3, 2, 3))
            states[feba] = _intrinsic(builder, "llvm.x86.sha256rnds2", states[feba], states[hgdc], upper)
    return [builder.add(old, new) for old, new in zip(before, states, strict=True)]


def _typed_blocks(chains: int) -> Any:
    """`blocks(addresses, count, states)` for numba code: arrays of int64 and of uint32, bounds unchecked."""

    def blocks(_context: Any, addresses: Any, count: Any, states: Any) -> tuple[Any, Callable[..., Any]]:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
            addresses, count, states = arguments
            data = [
                context.make_array(kind)(context, builder, value=array).data
                for kind, array in ((signature.args[0], addresses), (signature.args[2], states))
            ]
            builder.call(_emit_blocks(chains, builder.module), [data[0], count, data[1]])
            return context.get_dummy_value()

        return types.void(addresses, types.int64, states), emit

    return intrinsic(blocks)


_one: Final[Any] = _typed_blocks(1)
_two: Final[Any] = _typed_blocks(2)
_three: Final[Any] = _typed_blocks(3)


def _all_blocks(addresses: Any, count: int, states: Any) -> None:
    if len(addresses) == 1:
        _one(addresses, count, states)
    elif len(addresses) == 2:
        _two(addresses, count, states)
    else:
        _three(addresses, count, states)


_SIGNATURE: Final = types.void(types.int64[::1], types.int64, types.uint32[::1])
_kernel: Final = numba.njit(nogil=True)(_all_blocks)
