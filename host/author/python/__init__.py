"""What a policy in Python inherits from. Written by Ruleward; not to be edited.

componentize-py passes an answer value by value, which takes longer than all that a policy does. So `Policy` passes it in
one piece, and `ruleward policy build` makes of the component one that answers as the contract says.
"""

import gc
import marshal
import random  # noqa: F401  componentize-py imports both after the policy: see `_fill_gaps`
import sys
import weakref  # noqa: F401
from enum import Enum

from componentize_py_types import Err
from wit_world import WitWorld
from wit_world.imports import log

from . import types

# Numbers of what an answer is. No object has them.
_OK, _FAILURE = 0, 1
# The last form of marshal in which nothing refers to what came before.
_FORM = 2
# Bytes: longer than any gap, the longest object that fills one, and what an object of type `bytes` takes without content.
_BEHIND_ALL, _FILLER, _EMPTY = 1 << 20, 4096, bytes().__sizeof__() + 4
# What fills the gaps.
_filling: list[object] = []


class Policy(WitWorld):
    """A policy defines `describe` and `evaluate`. A failure is raised: `raise Err(types.Failure_Other("why"))`.

    It lives for one evaluation, so nothing is collected as garbage; `gc.enable()` in `evaluate` changes that.
    """

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        if sys.platform == "wasi":
            _fill_gaps()

    def describe(self) -> types.Description:
        """Says what this policy is. Called once after loading; must not depend on anything."""
        raise NotImplementedError("a policy defines describe(self)")

    def evaluate(self, facts: types.Facts, settings: str) -> types.Contribution:
        """Computes the contribution. `settings` is JSON that fits the schema of the description."""
        raise NotImplementedError("a policy defines evaluate(self, facts, settings)")

    def describe_packed(self) -> bytes:
        return _packed(self.describe)

    def evaluate_packed(self, facts: types.Facts, settings: str) -> bytes:
        return _packed(lambda: self._evaluate(facts, settings))

    def _evaluate(self, facts, settings):
        try:
            return (_OK, self.evaluate(facts, settings))
        except Err as refused:
            return (_FAILURE, refused.value)


def _fill_gaps():
    """Fills what is free between the objects that importing has left.

    Each evaluation begins with this memory and pays for the first write to a page with a copy of it. What it makes would
    lie in thousands of gaps, one on nearly every page. So it lies side by side, behind all of them.
    """
    gc.collect()
    gc.disable()
    end = id(bytes(_BEHIND_ALL))
    for size in range(_FILLER, 16, -16):  # the allocator's steps
        while id(one := bytes(size - _EMPTY)) < end:
            _filling.append(one)
    while id(one := object()) < end:  # takes 16 bytes
        _filling.append(one)


def _packed(answer):
    try:
        value = answer()
        try:
            return marshal.dumps(value, _FORM)
        except ValueError:
            return marshal.dumps(_plain(value), _FORM)
    except Exception as error:
        for line in _told(error):
            log.emit(log.Level.ERROR, line)
        raise


def _told(error):
    """What went wrong, and where; without the source's lines, for there are no files."""
    yield f"{type(error).__name__}: {error}"
    place = error.__traceback__
    while place is not None:
        code = place.tb_frame.f_code
        if code.co_filename != __file__:
            yield f"in {code.co_qualname}, {code.co_filename.rpartition('/')[2]} line {place.tb_lineno}"
        place = place.tb_next


def _plain(value):
    """With what `types` makes in place of objects of componentize-py's classes."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, tuple):
        return tuple(_plain(one) for one in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, Enum)):
        return value
    make = getattr(types, type(value).__name__, None)
    if make is None or not hasattr(value, "__dataclass_fields__"):
        raise TypeError(f"{value!r} can't be in an answer")
    fields = (getattr(value, field) for field in value.__dataclass_fields__)
    return make(*(_plain(field) for field in fields))
