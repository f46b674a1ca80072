"""The only access to compiled code: each name here is compiled where it was built, and plain Python where not.

Both keep the same contract. The compiled functions know the common case and answer ``None`` (``decode`` and ``encode``:
``NotImplemented``) for all else, errors included; the caller then does the whole thing in plain Python, which is the
reference. The plain functions here know nothing, but for :func:`spell_id`.

It is built when jobwire is installed, where there is a C compiler (setup.py). ``JOBWIRE_SEREAL_PURE=1`` and
``JOBWIRE_WIRE_PURE=1`` in the environment turn a part off for the process, :func:`turn_off` and :func:`turn_on` both at
run time, for later calls and objects.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

from jobwire.version import __version__

__all__ = [
    "PARTS",
    "Shape",
    "available",
    "completion",
    "decode",
    "encode",
    "gather",
    "hash_fields",
    "is_flat",
    "jobs",
    "joined",
    "members",
    "missing",
    "outbox",
    "scalar_results",
    "shape",
    "spell_id",
    "turn_off",
    "turn_on",
]

Part = Literal["sereal", "wire"]
PARTS: tuple[Part, ...] = ("sereal", "wire")

_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}

_FLAT = frozenset({str, bytes, int, float, bool, type(None)})


def _not_implemented(*_: Any) -> Any:
    return NotImplemented


def _none(*_: Any) -> Any:
    return None


def _spell_id(pool: bytes, at: int) -> str:
    if not 0 <= at <= len(pool) - 16:
        raise ValueError("there are no sixteen bytes there")
    digits = pool[at : at + 16].hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def _gather(gets: Callable[[], Any], replies: list[Any], count: int) -> bool:
    while len(replies) < count:
        reply = gets()
        if reply is False:
            return False
        replies.append(reply)
    return True


def _is_flat(data: object) -> bool:
    return type(data) is dict and _FLAT.issuperset(map(type, data.values()))


def _built(part: Part) -> tuple[ModuleType | None, str | None]:
    """The compiled code of ``part``, or why it is not in use."""
    variable = f"JOBWIRE_{part.upper()}_PURE"
    if os.environ.get(variable):
        return None, f"{variable} is set"
    # By its file: the package around it would bring all that it needs, and needs this module.
    spec = PathFinder.find_spec(f"jobwire.{part}._speedups", [str(Path(__file__).parent / part)])
    if spec is None or spec.loader is None:
        return None, "it was not built when jobwire was installed"
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        return None, f"it cannot be loaded: {error}"
    # An upgrade may leave a file behind that no installer knows of.
    version = getattr(module, "version", "another version")
    if version != __version__:
        return None, f"{spec.origin} is of jobwire {version}, this is {__version__}: install jobwire again"
    sys.modules[spec.name] = module
    return module, None


(_sereal, _no_sereal), (_wire, _no_wire) = _built("sereal"), _built("wire")

decode: Any = _not_implemented
"""``decode(data, start, base, policy, max_depth, max_items)`` → (value, index behind it): a Sereal body."""
encode: Any = _not_implemented
"""``encode(value, head, base, share_keys, true_tag, false_tag, max_depth)`` → ``head`` and the body behind it."""
hash_fields: Any = _none
"""``hash_fields(head, queued, meta, data, kept_meta, text_field, reserved)`` → the command for a job's hash."""
jobs: Any = _none
"""``jobs(make, names, entries, dialect, replies, plans, max_fields, max_bytes, needs_queued)`` → for each what ``make``
makes of a job's hash; NotImplemented for any other."""
scalar_results: Any = _none
"""``scalar_results(replies, max_bytes)`` → for each its value, of the tags T and V; NotImplemented for any other."""
completion: Any = _none
"""``completion(head, key, entry, channel, value, accept, started, processed)`` → the command that completes a job."""
is_flat: Any = _is_flat
"""``is_flat(data)``: whether it is a dict, and no subclass of that, whose values are all scalars."""
members: Any = _none
"""``members(value, reads)`` → ``value``, or a copy with the members that ``reads`` reads: ``codec.typed``."""
joined: Any = _none
"""``joined(head, own, calls, at, most, max_bytes)`` → (command, count): completions in one call."""
gather: Any = _gather
"""``gather(gets, replies, count)``: append what ``gets()`` returns up to ``count``; False where it returns False."""
_shape: Any = _none
outbox: Any = _none
"""``outbox()`` → an empty ``jobwire.transport.outbox.Outbox``."""
spell_id: Any = _spell_id
"""``spell_id(pool, at)`` → sixteen bytes of ``pool`` as a version 4 UUID; ``ValueError`` where there are fewer."""


class Shape(NamedTuple):
    """The size and depth of a nested value, every shared part counted in each of its places."""

    levels: int
    """Containers within one another; 0 for a scalar."""
    pairs: int
    """Pairs of all dicts together."""
    is_json: bool
    """Only values with a JSON form of their own: no bytes, no NaN, text keys alone, no integer of more than 64 bits."""


def shape(
    value: object, *, max_levels: int = sys.maxsize, max_items: int = sys.maxsize, max_size: int = sys.maxsize
) -> Shape | None:
    """Return the shape of a value made of dicts, lists, texts, bytes, numbers, booleans and None.

    None for other values, for one of more than ``max_levels``, ``max_items`` (a pair is two) or ``max_size`` characters
    and bytes in all texts, and without compiled code.
    """
    found = _shape(value, max_levels, max_items, max_size)
    return None if found is None else Shape(*found)


def available(part: Part) -> bool:
    """Return whether the compiled code of ``part`` was built, found, and not turned off by the environment."""
    return (_sereal if part == "sereal" else _wire) is not None


def missing(part: Part) -> str | None:
    """Return why the compiled code of ``part`` is not there, for people; None where it is."""
    return _no_sereal if part == "sereal" else _no_wire


def turn_on() -> None:
    """Use the compiled code; does nothing where there is none."""
    global decode, encode
    global hash_fields, jobs, scalar_results, completion, is_flat, members, joined, gather, _shape, outbox, spell_id
    if _sereal is not None:
        decode, encode = _sereal.decode, _sereal.encode
    if _wire is not None:
        hash_fields, jobs, scalar_results = _wire.hash_fields, _wire.jobs, _wire.scalar_results
        completion, is_flat, members = _wire.completion, _wire.is_flat, _wire.members
        joined, gather = _wire.joined, _wire.gather
        _shape, outbox, spell_id = _wire.shape, _wire.Outbox, _wire.spell_id


def turn_off() -> None:
    """Use plain Python alone."""
    global decode, encode  # noqa: PLW0603 - one switch a process
    global hash_fields, jobs, scalar_results, completion, is_flat, members, joined  # noqa: PLW0603
    global gather, _shape, outbox, spell_id  # noqa: PLW0603
    decode = encode = _not_implemented
    hash_fields = jobs = scalar_results = completion = members = joined = _shape = outbox = _none
    spell_id, gather, is_flat = _spell_id, _gather, _is_flat


turn_on()
