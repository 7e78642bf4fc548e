"""A change of a source file, made in a process that has imported the file already.

A fork of a process that holds every module and every test starts in no time; so the functions that a mutant changes get
their new code in the fork, and nothing is imported again. What is not inside of a function can't be changed like this.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import CodeType, FunctionType


def swap(path: str, original: str, changed: str) -> bool:
    """Give the functions of the module at ``path`` the code of ``changed``. False if that takes a new import.

    ``original`` is what was imported.
    """
    old = compile(original, path, "exec", dont_inherit=True)
    new = compile(changed, path, "exec", dont_inherit=True)
    pairs = list(_functions(old, new))
    if not pairs or None in pairs:
        return False
    wanted = {before: after for pair in pairs if pair for before, after in [pair] if before != after}
    live = [each for each in gc.get_objects() if isinstance(each, FunctionType) and each.__code__ in wanted]
    if {function.__code__ for function in live} != set(wanted):
        return False  # a function that lives in none: of a class that a decorator made anew, or of a deleted name
    try:
        for function in live:
            function.__code__ = wanted[function.__code__]
    except ValueError:  # it closes over something else
        return False
    return True


def _functions(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType] | None]:
    """The outermost functions of two modules (or class bodies), pairwise; None where anything else differs."""
    before, after = _nested(old), _nested(new)
    if _frame(old) != _frame(new) or [each.co_name for each in before] != [each.co_name for each in after]:
        yield None
        return
    for one, other in zip(before, after, strict=True):
        if one.co_flags & 0x2:  # CO_NEWLOCALS: a function's; a class body has none
            yield one, other
        else:
            yield from _functions(one, other)


def _nested(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _frame(code: CodeType) -> tuple[object, ...]:
    """A body without the bodies in it, and without its lines (a class body stores the first of its own: 3.13)."""
    constants = tuple(None if isinstance(each, CodeType) else (type(each), each) for each in code.co_consts)
    return code.co_code, code.co_names, constants
