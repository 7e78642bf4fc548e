"""The chaining value of one chunk, at gigabytes a second: the one part of BLAKE3 that its library does not export.

What BLAKE3's own assembly does, written down once for every processor: sixteen leaves are hashed side by side, one
in each lane of a vector of sixteen 32-bit words, and then sixteen parents, level by level. The compression function
is emitted as LLVM vector code (numba's `intrinsic`), because LLVM does not vectorise the equivalent loops by itself;
LLVM splits the vectors into what the processor has (AVX-512, AVX2, NEON, …). What does not fill sixteen lanes goes
through the same emitted function with one lane.

Importing this module loads numba (150 MiB), so only ingest does; it compiles nothing. `compile_kernel` does, once,
before the service is ready. There is one compiled signature, of read-only arrays that need not be aligned: numba
passes every other kind as that (left to itself, it would compile once more for each, on the request path). The
kernel is not cached on disk: numba's cache refuses to import on a read-only root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # llvmlite ships no types
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sealane.domain.blake3_tree import (
    BLOCK_LENGTH,
    CHUNK_END,
    CHUNK_START,
    IV,
    LEAF_LENGTH,
    MESSAGE_SCHEDULE,
    PARENT,
    leaf_counter,
    root_digest,
)

_LANES: Final = 16
_BLOCK_WORDS: Final = BLOCK_LENGTH // 4
_LEAF_WORDS: Final = LEAF_LENGTH // 4
_LEAF_BLOCKS: Final = LEAF_LENGTH // BLOCK_LENGTH
_CV_WORDS: Final = 8

_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)


def compile_kernel() -> None:
    """Compile the kernel (2 s, once) and check it against official test vectors; again is free.

    Call it before the service is ready; blocking, so off the event loop. Raises RuntimeError if the compiled code is
    wrong on this processor: a wrong chaining value would be stored, and found only at commit.

    With numba's own NUMBA_CACHE_DIR set, the compiled code is kept in that folder and loaded from it: nobody else may
    be able to write there. Without it nothing is written, for the root of a container may be read-only.
    """
    if not _kernel.signatures:
        if numba.config.CACHE_DIR:  # type: ignore[attr-defined]  # numba sets its options one by one
            _kernel.enable_caching()
        _kernel.compile(_SIGNATURE)
        _kernel.disable_compile()  # or a writable buffer's first call would compile a signature of its own
    if any(_known_answer(length, size).hex() != digest for length, size, digest in _KNOWN_ANSWERS):
        raise RuntimeError("the compiled BLAKE3 kernel gives wrong answers on this processor")


def chunk_cv(data: bytes | bytearray | memoryview, index: int, chunk_size: int) -> bytes:
    """The chaining value, 32 bytes, of chunk `index` of an object cut into chunks of `chunk_size` bytes.

    `data` (C-contiguous) is read in place and must not change meanwhile; the interpreter lock is free meanwhile, and
    any number of threads may be here at once. Scratch: 1/32 of the data. Raises ValueError as `leaf_counter` does,
    TypeError if `data` is not contiguous, RuntimeError before `compile_kernel`.
    """
    if not _kernel.signatures:
        raise RuntimeError("compile_kernel() comes first")
    view = memoryview(data).cast("B")
    counter = leaf_counter(view.nbytes, index, chunk_size)
    # The last block is 1 to 64 bytes (0 for no data), zero-padded: the kernel then sees whole words only.
    before_last = max(0, view.nbytes - 1) // BLOCK_LENGTH * BLOCK_LENGTH
    last_block = np.frombuffer(bytes(view[before_last:]).ljust(BLOCK_LENGTH, b"\0"), dtype=np.uint32)
    words = np.frombuffer(view, dtype=np.uint32, count=view.nbytes // 4)
    cv = np.empty(_CV_WORDS, dtype=np.uint32)
    _kernel(words, last_block, view.nbytes, counter, cv)
    return cv.tobytes()


def _emit_compress(lanes: int, module: ir.Module) -> ir.Function:
    """The LLVM function `void compress(words, stride, state, counter, step, length, flags)`, one copy a module.

    It compresses, in each lane, the 16-word block at `words + lane * stride` (no alignment needed) into that lane's
    chaining value. `state` is the chaining values by word: 8 rows of `lanes` words. Lane `i` counts
    `counter + i * step`; `length` and `flags` are every lane's.
    """
    row = ir.VectorType(_I32, lanes)
    words_type, state_type = _I32.as_pointer(), _I32.as_pointer()
    function_type = ir.FunctionType(ir.VoidType(), [words_type, _I64, state_type, _I64, _I64, _I32, _I32])
    function = cgutils.get_or_insert_function(module, function_type, f"blake3_compress_{lanes}")  # type: ignore[no-untyped-call]  # numba is untyped
    if not function.is_declaration:
        return function
    function.linkage = "internal"
    function.attributes.add("noinline")
    words, stride, state, counter, step, length, flags = function.args
    builder = ir.IRBuilder(function.append_basic_block())

    def constant(word: int) -> ir.Constant:
        return ir.Constant(row, [word] * lanes)

    def splat(word: ir.Value) -> ir.Value:
        one = builder.insert_element(ir.Constant(row, ir.Undefined), word, _I32(0))
        return builder.shuffle_vector(one, one, constant(0))

    def row_at(start: ir.Value, offset: ir.Value, length: int) -> ir.Value:
        """The address of `length` words, `offset` words behind `start`."""
        return builder.bitcast(builder.gep(start, [offset]), ir.VectorType(_I32, length).as_pointer())

    def load(address: ir.Value) -> ir.Value:
        value = builder.load(address)
        value.align = 1
        return value

    def rotate(value: ir.Value, right: int) -> ir.Value:
        return builder.or_(builder.lshr(value, constant(right)), builder.shl(value, constant(32 - right)))

    def quarter_round(a: int, b: int, c: int, d: int, x: ir.Value, y: ir.Value) -> None:
        for operand, rotate_d, rotate_b in ((x, 16, 12), (y, 8, 7)):
            v[a] = builder.add(builder.add(v[a], v[b]), operand)
            v[d] = rotate(builder.xor(v[d], v[a]), rotate_d)
            v[c] = builder.add(v[c], v[d])
            v[b] = rotate(builder.xor(v[b], v[c]), rotate_b)

    if lanes == 1:
        message = [load(row_at(words, _I64(word), 1)) for word in range(_BLOCK_WORDS)]
    else:
        blocks = [load(row_at(words, builder.mul(stride, _I64(lane)), _BLOCK_WORDS)) for lane in range(lanes)]
        message = emit_transpose(builder, blocks)
    cv_rows = [row_at(state, _I64(word * lanes), lanes) for word in range(_CV_WORDS)]
    counters = [builder.add(counter, builder.mul(step, _I64(lane))) for lane in range(lanes)]
    low = high = ir.Constant(row, ir.Undefined)
    for lane, value in enumerate(counters):
        low = builder.insert_element(low, builder.trunc(value, _I32), _I32(lane))
        high = builder.insert_element(high, builder.trunc(builder.lshr(value, _I64(32)), _I32), _I32(lane))

    v = [load(address) for address in cv_rows]
    v += [*map(constant, IV[:4]), low, high, splat(length), splat(flags)]
    for schedule in MESSAGE_SCHEDULE:
        m = [message[word] for word in schedule]
        for column in range(4):
            quarter_round(column, 4 + column, 8 + column, 12 + column, m[2 * column], m[2 * column + 1])
        for diagonal in range(4):
            b, c, d = (4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4)
            quarter_round(diagonal, b, c, d, m[8 + 2 * diagonal], m[9 + 2 * diagonal])
    for word, address in enumerate(cv_rows):
        builder.store(builder.xor(v[word], v[word + 8]), address).align = 1
    builder.ret_void()
    return function


def emit_transpose(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Transpose a square of words held as row vectors: swap off-diagonal squares of side 1, 2, 4, …"""
    side = len(rows)
    step = 1
    while step < side:
        # Positions in the two rows end to end: what the upper row takes from the lower, and the reverse.
        upper = [i if not i & step else side + i - step for i in range(side)]
        lower = [i + step if not i & step else side + i for i in range(side)]
        masks = [ir.Constant(ir.VectorType(_I32, side), mask) for mask in (upper, lower)]
        swapped = list(rows)
        for i in range(side):
            if not i & step:
                swapped[i] = builder.shuffle_vector(rows[i], rows[i + step], masks[0])
                swapped[i + step] = builder.shuffle_vector(rows[i], rows[i + step], masks[1])
        rows = swapped
        step *= 2
    return rows


def _compress_intrinsic(lanes: int) -> Any:
    """`compress(words, start, stride, state, counter, step, length, flags)` for numba code; see `_emit_compress`.

    `words` and `state` are arrays of uint32 (`words` is read from index `start`), all else is int64.
    Bounds are not checked.
    """

    def compress(
        _context: Any, words: Any, start: Any, stride: Any, state: Any, counter: Any, step: Any, length: Any, flags: Any
    ) -> tuple[Any, Callable[..., Any]]:
        scalars = [types.int64] * 4

        def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
            words, start, stride, state, counter, step, length, flags = arguments
            words_data = context.make_array(signature.args[0])(context, builder, value=words).data
            state_data = context.make_array(signature.args[3])(context, builder, value=state).data
            block = builder.gep(words_data, [start])
            small = [builder.trunc(value, _I32) for value in (length, flags)]
            function = _emit_compress(lanes, builder.module)
            builder.call(function, [block, stride, state_data, counter, step, *small])
            return context.get_dummy_value()

        return types.void(words, types.int64, types.int64, state, *scalars), emit

    return intrinsic(compress)


_compress_lanes: Final = _compress_intrinsic(_LANES)
_compress_one: Final = _compress_intrinsic(1)


def _start(state: Any, lanes: int) -> None:
    for word in range(_CV_WORDS):
        for lane in range(lanes):
            state[word * lanes + lane] = IV[word]


def _finish(state: Any, lanes: int, cvs: Any, first: int) -> None:
    for lane in range(lanes):
        for word in range(_CV_WORDS):
            cvs[(first + lane) * _CV_WORDS + word] = state[word * lanes + lane]


_start = numba.njit(_start)
_finish = numba.njit(_finish)


def _subtree_cv(words: Any, last_block: Any, length: int, counter: int, cv: Any) -> None:
    """Write to `cv` the chaining value of the `length` bytes in `words`, whose last block is also in `last_block`.

    The scratch is local, so any number of threads may run this at once.
    """
    whole_leaves = length // LEAF_LENGTH
    nodes = max(1, (length + LEAF_LENGTH - 1) // LEAF_LENGTH)
    cvs = np.empty(nodes * _CV_WORDS, dtype=np.uint32)
    state = np.empty(_LANES * _CV_WORDS, dtype=np.uint32)

    leaf = 0
    while leaf + _LANES <= whole_leaves:
        _start(state, _LANES)
        for block in range(_LEAF_BLOCKS):
            flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == _LEAF_BLOCKS - 1 else 0)
            at = leaf * _LEAF_WORDS + block * _BLOCK_WORDS
            _compress_lanes(words, at, _LEAF_WORDS, state, counter + leaf, 1, BLOCK_LENGTH, flags)
        _finish(state, _LANES, cvs, leaf)
        leaf += _LANES
    while leaf < nodes:
        left = min(LEAF_LENGTH, length - leaf * LEAF_LENGTH)
        blocks = max(1, (left + BLOCK_LENGTH - 1) // BLOCK_LENGTH)
        _start(state, 1)
        for block in range(blocks):
            flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if block == blocks - 1 else 0)
            block_length = min(BLOCK_LENGTH, left - block * BLOCK_LENGTH)
            if leaf == nodes - 1 and block == blocks - 1:
                _compress_one(last_block, 0, 0, state, counter + leaf, 0, block_length, flags)
            else:
                at = leaf * _LEAF_WORDS + block * _BLOCK_WORDS
                _compress_one(words, at, 0, state, counter + leaf, 0, block_length, flags)
        _finish(state, 1, cvs, leaf)
        leaf += 1

    # A parent's block is its two children's CVs in a row, and it is written over what has been read already.
    while nodes > 1:
        pairs = nodes // 2
        pair = 0
        while pair + _LANES <= pairs:
            _start(state, _LANES)
            _compress_lanes(cvs, pair * _BLOCK_WORDS, _BLOCK_WORDS, state, 0, 0, BLOCK_LENGTH, PARENT)
            _finish(state, _LANES, cvs, pair)
            pair += _LANES
        while pair < pairs:
            _start(state, 1)
            _compress_one(cvs, pair * _BLOCK_WORDS, 0, state, 0, 0, BLOCK_LENGTH, PARENT)
            _finish(state, 1, cvs, pair)
            pair += 1
        if nodes % 2:
            for word in range(_CV_WORDS):
                cvs[pairs * _CV_WORDS + word] = cvs[(nodes - 1) * _CV_WORDS + word]
        nodes = pairs + nodes % 2
    for word in range(_CV_WORDS):
        cv[word] = cvs[word]


_BYTES_AS_WORDS: Final = types.Array(types.uint32, 1, "C", readonly=True, aligned=False)
_WORDS: Final = types.Array(types.uint32, 1, "C")
_SIGNATURE: Final = types.void(_BYTES_AS_WORDS, _BYTES_AS_WORDS, types.int64, types.int64, _WORDS)
_kernel: Final = numba.njit(nogil=True)(_subtree_cv)

# The official test vectors: byte i is i mod 251. 102,400 bytes use every path for whole blocks, 8,193 the padded one.
_KNOWN_ANSWERS: Final = (
    (102_400, 65_536, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"),
    (8_193, 8_192, "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b"),
)


def _known_answer(length: int, chunk_size: int) -> bytes:
    data = bytes(i % 251 for i in range(length))
    return root_digest(chunk_cv(data[:chunk_size], 0, chunk_size), chunk_cv(data[chunk_size:], 1, chunk_size))
