"""BLAKE3's compression as LLVM vector code: what `blake3_kernel` is made of. Loads numba, and compiles nothing.

Sixteen blocks are compressed side by side, one in each lane of vectors of sixteen 32-bit words; LLVM splits the vectors
into what the processor has (AVX-512, AVX2, NEON, …). It does not vectorise the equivalent loops by itself, hence
numba's `intrinsic`. Whole leaves have a function of their own, which keeps the chaining values in registers from a
leaf's first block to its last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]  # llvmlite ships no types
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sealane.domain.blake3_tree import BLOCK_LENGTH, CHUNK_END, CHUNK_START, IV, LEAF_LENGTH, MESSAGE_SCHEDULE

LANES: Final = 16
CV_WORDS: Final = 8
BLOCK_WORDS: Final = BLOCK_LENGTH // 4
LEAF_WORDS: Final = LEAF_LENGTH // 4
LEAF_BLOCKS: Final = LEAF_LENGTH // BLOCK_LENGTH

_I8: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_AHEAD: Final = LANES * LEAF_WORDS
"""Words from what is being hashed to what is fetched meanwhile: the next sixteen leaves, which no processor sees coming
by itself, as they are read in steps of 1 KiB. Measured on 8 MiB that are in no cache: 0.39 CPU s/GiB becomes 0.29."""
_READ, _KEEP_IN_L2, _DATA = 0, 2, 1
"""Arguments of `llvm.prefetch`."""


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


class _Lanes:
    """Building blocks for vectors of `lanes` words."""

    def __init__(self, builder: ir.IRBuilder, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.row = ir.VectorType(_I32, lanes)
        self._rotate = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]  # numba is untyped
            builder.module, ir.FunctionType(self.row, [self.row] * 3), f"llvm.fshr.v{lanes}i32"
        )

    def constant(self, word: int) -> ir.Constant:
        return ir.Constant(self.row, [word] * self.lanes)

    def splat(self, word: ir.Value) -> ir.Value:
        one = self.builder.insert_element(ir.Constant(self.row, ir.Undefined), word, _I32(0))
        return self.builder.shuffle_vector(one, one, self.constant(0))

    def at(self, start: ir.Value, offset: ir.Value) -> ir.Value:
        """The address of a row, `offset` words behind `start`."""
        return self.builder.bitcast(self.builder.gep(start, [offset]), self.row.as_pointer())

    def load(self, address: ir.Value) -> ir.Value:
        value = self.builder.load(address)
        value.align = 1
        return value

    def store(self, value: ir.Value, address: ir.Value) -> None:
        self.builder.store(value, address).align = 1

    def message(self, words: ir.Value, stride: ir.Value) -> list[ir.Value]:
        """The sixteen words, each as a vector over the lanes, of the blocks at `words + lane * stride`."""
        if self.lanes == 1:
            return [self.load(self.at(words, _I64(word))) for word in range(BLOCK_WORDS)]
        starts = [self.builder.mul(stride, _I64(lane)) for lane in range(self.lanes)]
        return emit_transpose(self.builder, [self.load(self.at(words, start)) for start in starts])

    def store_by_lane(self, rows: list[ir.Value], cvs: ir.Value) -> None:
        """Chaining values, held by word, to `cvs` one after the other."""
        nothing = ir.Constant(self.row, ir.Undefined)
        half = ir.Constant(ir.VectorType(_I32, CV_WORDS), list(range(CV_WORDS)))
        for lane, cv in enumerate(emit_transpose(self.builder, rows + [nothing] * (self.lanes - CV_WORDS))):
            value = self.builder.shuffle_vector(cv, nothing, half)
            place = self.builder.gep(cvs, [_I64(lane * CV_WORDS)])
            self.store(value, self.builder.bitcast(place, value.type.as_pointer()))

    def counters(self, first: ir.Value) -> tuple[ir.Value, ir.Value]:
        """`first + lane`, its low and its high words."""
        low = high = ir.Constant(self.row, ir.Undefined)
        for lane in range(self.lanes):
            value = self.builder.add(first, _I64(lane))
            low = self.builder.insert_element(low, self.builder.trunc(value, _I32), _I32(lane))
            upper = self.builder.trunc(self.builder.lshr(value, _I64(32)), _I32)
            high = self.builder.insert_element(high, upper, _I32(lane))
        return low, high

    def compress(
        self,
        chained: list[ir.Value],
        message: list[ir.Value],
        counter: tuple[ir.Value, ir.Value],
        length: ir.Value,
        flags: ir.Value,
    ) -> list[ir.Value]:
        """The next chaining values."""
        builder = self.builder
        v = [*chained, *(self.constant(word) for word in IV[:4]), *counter, length, flags]

        def rotated(value: ir.Value, by: int) -> ir.Value:
            return builder.call(self._rotate, [value, value, self.constant(by)])

        def quarter_rounds(quarters: list[tuple[int, int, int, int, ir.Value, ir.Value]]) -> None:
            # Four at once, step by step: LLVM leaves the order as it is, and nothing then waits for the step before.
            for half, (rotate_d, rotate_b) in enumerate(((16, 12), (8, 7))):
                for a, _, _, _, *words in quarters:
                    v[a] = builder.add(v[a], words[half])
                for a, b, *_ in quarters:
                    v[a] = builder.add(v[a], v[b])
                for a, _, _, d, *_ in quarters:
                    v[d] = rotated(builder.xor(v[d], v[a]), rotate_d)
                for _, _, c, d, *_ in quarters:
                    v[c] = builder.add(v[c], v[d])
                for _, b, c, *_ in quarters:
                    v[b] = rotated(builder.xor(v[b], v[c]), rotate_b)

        for schedule in MESSAGE_SCHEDULE:
            m = [message[word] for word in schedule]
            quarter_rounds([(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]) for i in range(4)])
            turned = [(4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
            quarter_rounds([(i, *turned[i], m[8 + 2 * i], m[9 + 2 * i]) for i in range(4)])
        return [builder.xor(v[word], v[word + 8]) for word in range(CV_WORDS)]


def _internal(module: ir.Module, name: str, arguments: list[Any]) -> ir.Function:
    """One copy a module."""
    kind = ir.FunctionType(ir.VoidType(), arguments)
    function = cgutils.get_or_insert_function(module, kind, name)  # type: ignore[no-untyped-call]  # numba is untyped
    if function.is_declaration:
        function.linkage = "internal"
        function.attributes.add("noinline")
    return function


def _emit_block(module: ir.Module) -> ir.Function:
    """The LLVM function `void block(words, state, length, flags, counter)`: a block into a chaining value, in place."""
    function = _internal(module, "blake3_block", [_I32.as_pointer(), _I32.as_pointer(), _I32, _I32, _I64])
    if not function.is_declaration:
        return function
    words, state, length, flags, counter = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    vectors = _Lanes(builder, 1)
    places = [vectors.at(state, _I64(word)) for word in range(CV_WORDS)]
    after = vectors.compress(
        [vectors.load(place) for place in places],
        vectors.message(words, _I64(0)),
        vectors.counters(counter),
        vectors.splat(length),
        vectors.splat(flags),
    )
    for place, value in zip(places, after, strict=True):
        vectors.store(value, place)
    builder.ret_void()
    return function


def _emit_parents(module: ir.Module) -> ir.Function:
    """The LLVM function `void parents(children, cvs, flags)`: sixteen parents of 32 chaining values in a row.

    `cvs` may be where the children are, or before.
    """
    function = _internal(module, "blake3_parents", [_I32.as_pointer(), _I32.as_pointer(), _I32])
    if not function.is_declaration:
        return function
    children, cvs, flags = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    vectors = _Lanes(builder, LANES)
    after = vectors.compress(
        [vectors.constant(word) for word in IV],
        vectors.message(children, _I64(BLOCK_WORDS)),
        (vectors.constant(0), vectors.constant(0)),
        vectors.constant(BLOCK_LENGTH),
        vectors.splat(flags),
    )
    vectors.store_by_lane(after, cvs)
    builder.ret_void()
    return function


def _emit_leaves(module: ir.Module) -> ir.Function:
    """The LLVM function `void leaves(words, cvs, counter)`: sixteen whole leaves in a row from `words`.

    `counter` is the first one's.
    """
    function = _internal(module, "blake3_leaves", [_I32.as_pointer(), _I32.as_pointer(), _I64])
    if not function.is_declaration:
        return function
    words, cvs, counter = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    builder = ir.IRBuilder(entry)
    vectors = _Lanes(builder, LANES)
    counted = vectors.counters(counter)
    prefetch = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]  # numba is untyped
        module, ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32]), "llvm.prefetch.p0"
    )
    builder.branch(loop)

    builder.position_at_end(loop)
    block = builder.phi(_I64)
    block.add_incoming(_I64(0), entry)
    before = [builder.phi(vectors.row) for _ in range(CV_WORDS)]
    for phi, word in zip(before, IV, strict=True):
        phi.add_incoming(vectors.constant(word), entry)
    here = builder.gep(words, [builder.mul(block, _I64(BLOCK_WORDS))])
    for lane in range(LANES):  # at the end of the data it is no fault, and fetches nothing of use
        ahead = builder.bitcast(builder.gep(here, [_I64(_AHEAD + lane * LEAF_WORDS)]), _I8.as_pointer())
        builder.call(prefetch, [ahead, _I32(_READ), _I32(_KEEP_IN_L2), _I32(_DATA)])
    first = builder.select(builder.icmp_unsigned("==", block, _I64(0)), _I32(CHUNK_START), _I32(0))
    last = builder.select(builder.icmp_unsigned("==", block, _I64(LEAF_BLOCKS - 1)), _I32(CHUNK_END), _I32(0))
    message = vectors.message(here, _I64(LEAF_WORDS))
    length, flags = vectors.constant(BLOCK_LENGTH), vectors.splat(builder.or_(first, last))
    after = vectors.compress(before, message, counted, length, flags)
    following = builder.add(block, _I64(1))
    block.add_incoming(following, loop)
    for phi, value in zip(before, after, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, _I64(LEAF_BLOCKS)), loop, end)

    builder.position_at_end(end)
    vectors.store_by_lane(after, cvs)
    builder.ret_void()
    return function


def _place(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value, index: ir.Value) -> ir.Value:
    """The address of an item of a numba array; no bounds are checked."""
    return builder.gep(context.make_array(kind)(context, builder, value=array).data, [index])


def _typed_block(
    _context: Any, words: Any, start: Any, state: Any, counter: Any, length: Any, flags: Any
) -> tuple[Any, Callable[..., Any]]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        words, start, state, counter, *small = arguments
        block = _place(context, builder, signature.args[0], words, start)
        chained = _place(context, builder, signature.args[2], state, _I64(0))
        short = [builder.trunc(value, _I32) for value in small]
        builder.call(_emit_block(builder.module), [block, chained, *short, counter])
        return context.get_dummy_value()

    return types.void(words, types.int64, state, *[types.int64] * 3), emit


def _typed_parents(_context: Any, cvs: Any, start: Any, to: Any, flags: Any) -> tuple[Any, Callable[..., Any]]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        cvs, start, to, flags = arguments
        children, place = (_place(context, builder, signature.args[0], cvs, index) for index in (start, to))
        builder.call(_emit_parents(builder.module), [children, place, builder.trunc(flags, _I32)])
        return context.get_dummy_value()

    return types.void(cvs, *[types.int64] * 3), emit


def _typed_leaves(
    _context: Any, words: Any, start: Any, cvs: Any, to: Any, counter: Any
) -> tuple[Any, Callable[..., Any]]:
    def emit(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
        words, start, cvs, to, counter = arguments
        leaves = _place(context, builder, signature.args[0], words, start)
        place = _place(context, builder, signature.args[2], cvs, to)
        builder.call(_emit_leaves(builder.module), [leaves, place, counter])
        return context.get_dummy_value()

    return types.void(words, types.int64, cvs, *[types.int64] * 2), emit


# For numba code. Arrays are of uint32 and are used from an index on, all else is int64; no bounds are checked.
one_block: Final[Any] = intrinsic(_typed_block)
"""(words, start, state, counter, length, flags): a block into the chaining value `state`, in place."""
sixteen_parents: Final[Any] = intrinsic(_typed_parents)
"""(cvs, start, to, flags): sixteen parents of the 32 chaining values from `start`, to `to` (not behind `start`)."""
sixteen_leaves: Final[Any] = intrinsic(_typed_leaves)
"""(words, start, cvs, to, counter): the chaining values of sixteen whole leaves, counted from `counter`, to `to`."""
