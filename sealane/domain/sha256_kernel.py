"""SHA-256 of several buffers side by side, for processors that have no instructions for it ("multi-buffer hashing").

SHA-256 is a chain: one message can't be spread over the lanes of a vector, but eight messages can, one in each lane
of vectors of eight 32-bit words. Measured on a Xeon with AVX-512 and no SHA extensions: 0.50 CPU s/GiB with eight
buffers, 1.0 with four, 2.0 with two; `hashlib` (OpenSSL) 2.7, whatever there is to do (docs/capacity.md).

The block function is emitted as LLVM vector code, as in `blake3_vectors`; as there, importing this module loads numba,
so only ingest does, and only `compile_kernel` compiles. The algorithm: FIPS 180-4, 6.2. Processors that do have the
instructions: `sha256_extensions`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import isqrt
from typing import Any, Final

import llvmlite.binding as llvm  # type: ignore[import-untyped]  # llvmlite ships no types
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sealane.domain.blake3_vectors import emit_transpose

LANES: Final = 8
"""Buffers side by side, at most. Sixteen are hardly faster (memory is the bound by then), and harder to come by."""

BLOCK_BYTES: Final = 64
_BLOCK_WORDS: Final = 16
_ROUNDS: Final = 64
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_ROW: Final = ir.VectorType(_I32, LANES)

Buffer = bytes | bytearray | memoryview


def _primes() -> Iterator[int]:
    candidate = 2
    while True:
        if all(candidate % divisor for divisor in range(2, isqrt(candidate) + 1)):
            yield candidate
        candidate += 1


def _cube_root(number: int) -> int:
    """Rounded down; Newton's method from above."""
    root = 1 << (number.bit_length() + 2) // 3
    while (better := (2 * root + number // root**2) // 3) < root:
        root = better
    return root


# FIPS 180-4, 4.2.2 and 5.3.3: the first 32 bits of the fractions of the roots of the first primes.
ROUND_CONSTANTS: Final = [_cube_root(prime << 96) & 0xFFFFFFFF for prime in islice(_primes(), _ROUNDS)]
START: Final = [isqrt(prime << 64) & 0xFFFFFFFF for prime in islice(_primes(), 8)]


def fewest_worthwhile() -> int | None:
    """From how many buffers on this processor is faster side by side than with `hashlib` one by one; None: never.

    With SHA extensions there is something better. Nothing is timed: on a busy machine that would be a throw of dice.
    """
    features = llvm.get_host_cpu_features()
    if features.get("sha", False) or not features.get("avx2", False):
        return None
    return 2 if features.get("avx512vl", False) else 3


def compile_kernel() -> None:
    """Compile the kernel (2 s, once) and check it against `hashlib`; again is free. As `blake3_kernel.compile_kernel`.

    Raises RuntimeError if the compiled code is wrong on this processor: the store would refuse every part.
    """
    if not _kernel.signatures:
        if numba.config.CACHE_DIR:  # type: ignore[attr-defined]  # numba sets its options one by one
            _kernel.enable_caching()
        _kernel.compile(_SIGNATURE)
        _kernel.disable_compile()
    for length in _CHECKED_LENGTHS:
        buffers = [bytes((lane + i) % 251 for i in range(length)) for lane in range(LANES)]
        if sha256_of_each(buffers) != [hashlib.sha256(buffer).digest() for buffer in buffers]:
            raise RuntimeError("the compiled SHA-256 kernel gives wrong answers on this processor")


def sha256_of_each(buffers: Sequence[Buffer]) -> list[bytes]:
    """The SHA-256, 32 bytes, of each of 1 to `LANES` buffers of equal length, in their order.

    The buffers (C-contiguous) are read in place and must not change meanwhile; the interpreter lock is free meanwhile,
    and any number of threads may be here at once. What it costs hardly depends on how many buffers there are. Raises
    ValueError for too many or unequal ones, RuntimeError before `compile_kernel`.
    """
    if not _kernel.signatures:
        raise RuntimeError("compile_kernel() comes first")
    views = equal_views(buffers, LANES)
    length = views[0].nbytes
    state = np.repeat(np.array(START, dtype=np.uint32), LANES)
    whole = length // BLOCK_BYTES * BLOCK_BYTES
    if whole:
        _advance([np.frombuffer(view, dtype=np.uint8) for view in views], whole, state)
    tails = [np.frombuffer(padded_tail(view), dtype=np.uint8) for view in views]
    _advance(tails, tails[0].nbytes, state)
    digests = state.reshape(8, LANES).T.astype(">u4")
    return [digests[lane].tobytes() for lane in range(len(views))]


def equal_views(buffers: Sequence[Buffer], most: int) -> list[memoryview]:
    """Views of bytes. ValueError unless they are 1 to `most`, of equal length."""
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    if not 1 <= len(views) <= most:
        raise ValueError(f"{len(views)} buffers; 1 to {most} fit side by side")
    if any(view.nbytes != views[0].nbytes for view in views):
        raise ValueError("buffers of different lengths")
    return views


def padded_tail(view: memoryview) -> bytes:
    """What is left behind the last whole block, and the padding: one block or two (FIPS 180-4, 5.1.1)."""
    length = view.nbytes
    zeros = bytes((BLOCK_BYTES - 9 - length) % BLOCK_BYTES)
    # A one bit, zeros, and the length in bits, to the end of a block.
    return bytes(view[length // BLOCK_BYTES * BLOCK_BYTES :]) + b"\x80" + zeros + (8 * length).to_bytes(8, "big")


def _advance(pieces: list[Any], length: int, state: Any) -> None:
    """Take `length` bytes, whole blocks, of each piece into `state`, which is words of the digests by lane."""
    addresses = np.array([piece.ctypes.data for piece in pieces], dtype=np.int64)
    idle = np.repeat(addresses[:1], LANES - len(pieces))  # lanes without a buffer hash the first one once more
    _kernel(np.concatenate((addresses, idle)), length // BLOCK_BYTES, state)


def _emit_blocks(module: ir.Module) -> ir.Function:
    """The LLVM function `void sha256_blocks(addresses, count, state)`: `count` (1 at least) blocks of each lane."""
    arguments = [_I64.as_pointer(), _I64, _I32.as_pointer()]
    function = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), arguments), "sha256_blocks")  # type: ignore[no-untyped-call]  # numba is untyped
    if not function.is_declaration:
        return function
    function.linkage = "internal"
    function.attributes.add("noinline")
    rotate_right = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
        module, ir.FunctionType(_ROW, [_ROW] * 3), f"llvm.fshr.v{LANES}i32"
    )
    swap_bytes = cgutils.get_or_insert_function(module, ir.FunctionType(_ROW, [_ROW]), f"llvm.bswap.v{LANES}i32")  # type: ignore[no-untyped-call]
    addresses, count, state = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))

    builder = ir.IRBuilder(entry)
    lanes = [
        builder.inttoptr(builder.load(builder.gep(addresses, [_I64(lane)])), _I32.as_pointer()) for lane in range(LANES)
    ]
    rows = [builder.bitcast(builder.gep(state, [_I64(word * LANES)]), _ROW.as_pointer()) for word in range(8)]
    first = [builder.load(row, align=4) for row in rows]
    builder.branch(loop)

    builder.position_at_end(loop)
    block = builder.phi(_I64)
    block.add_incoming(_I64(0), entry)
    before = [builder.phi(_ROW) for _ in rows]
    for phi, value in zip(before, first, strict=True):
        phi.add_incoming(value, entry)
    after = _emit_rounds(builder, _emit_message(builder, lanes, block, swap_bytes), before, rotate_right)
    following = builder.add(block, _I64(1))
    block.add_incoming(following, loop)
    for phi, value in zip(before, after, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, count), loop, end)

    builder.position_at_end(end)
    for row, value in zip(rows, after, strict=True):
        builder.store(value, row, align=4)
    builder.ret_void()
    return function


def _emit_message(builder: ir.IRBuilder, lanes: list[ir.Value], block: ir.Value, swap_bytes: ir.Function) -> Any:
    """The block's sixteen words, each as a vector over the lanes: squares of 8 × 8 words, transposed."""
    message: list[ir.Value] = []
    for start in range(0, _BLOCK_WORDS, LANES):
        offset = builder.add(builder.mul(block, _I64(_BLOCK_WORDS)), _I64(start))
        rows = [
            builder.load(builder.bitcast(builder.gep(lane, [offset]), _ROW.as_pointer()), align=1) for lane in lanes
        ]
        message += [builder.call(swap_bytes, [row]) for row in emit_transpose(builder, rows)]
    return message


def _emit_rounds(
    builder: ir.IRBuilder, message: list[ir.Value], before: list[ir.Value], rotate_right: ir.Function
) -> list[ir.Value]:
    def constant(word: int) -> ir.Constant:
        return ir.Constant(_ROW, [word] * LANES)

    def rotated(value: ir.Value, *by: int) -> ir.Value:
        turned = [builder.call(rotate_right, [value, value, constant(bits)]) for bits in by]
        return turned[0] if len(turned) == 1 else builder.xor(*turned)

    def add(*values: ir.Value) -> ir.Value:
        total = values[0]
        for value in values[1:]:
            total = builder.add(total, value)
        return total

    w = list(message)
    a, b, c, d, e, f, g, h = before
    for number in range(_ROUNDS):
        at = number % _BLOCK_WORDS
        if number >= _BLOCK_WORDS:
            early, late = w[(number - 15) % _BLOCK_WORDS], w[(number - 2) % _BLOCK_WORDS]
            small_0 = builder.xor(rotated(early, 7, 18), builder.lshr(early, constant(3)))
            small_1 = builder.xor(rotated(late, 17, 19), builder.lshr(late, constant(10)))
            w[at] = add(w[at], small_0, w[(number - 7) % _BLOCK_WORDS], small_1)
        choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
        big_1 = builder.xor(rotated(e, 6, 11), rotated(e, 25))
        big_0 = builder.xor(rotated(a, 2, 13), rotated(a, 22))
        change = add(h, builder.add(w[at], constant(ROUND_CONSTANTS[number])), big_1, choice)
        a, b, c, d, e, f, g, h = add(change, big_0, majority), a, b, c, builder.add(d, change), e, f, g
    return [builder.add(old, new) for old, new in zip(before, (a, b, c, d, e, f, g, h), strict=True)]


def _typed_blocks(_context: Any, addresses: Any, count: Any, state: Any) -> tuple[Any, Callable[..., Any]]:
    """`_blocks(addresses, count, state)` for numba code: arrays of int64 and of uint32, bounds unchecked."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        addresses, count, state = arguments
        data = [
            context.make_array(kind)(context, builder, value=array).data
            for kind, array in ((signature.args[0], addresses), (signature.args[2], state))
        ]
        builder.call(_emit_blocks(builder.module), [data[0], count, data[1]])
        return context.get_dummy_value()

    return types.void(addresses, types.int64, state), emit


_blocks: Final[Any] = intrinsic(_typed_blocks)


def _all_blocks(addresses: Any, count: int, state: Any) -> None:
    _blocks(addresses, count, state)


_SIGNATURE: Final = types.void(types.int64[::1], types.int64, types.uint32[::1])
_kernel: Final = numba.njit(nogil=True)(_all_blocks)

_CHECKED_LENGTHS: Final = (0, 55, 56, 1_000)
