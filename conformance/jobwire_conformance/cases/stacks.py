"""Facts of the library stacks under Perl peers: data (``conformance/stacks/perl.toml``), decided by a peer's hello.

A condition compares a version in that answer: ``Cpanel::JSON::XS >= 4.38`` one of ``libraries``, ``runtime < 5.40`` the
first number in ``runtime``.
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Callable
from functools import cache
from typing import Annotated

import msgspec

from jobwire_conformance.cases.places import STACKS
from jobwire_conformance.driver.protocol import HelloAnswer

__all__ = ["Condition", "Fact", "facts_of_stack", "is_condition", "known_facts", "load_facts", "meets"]

_CONDITION = re.compile(r"(?P<name>\S.*?) *(?P<sign>>=|<=|==|<|>) *v?(?P<version>\d+(\.\d+)*)")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
Condition = Annotated[str, msgspec.Meta(pattern=f"^{_CONDITION.pattern}$")]


class Fact(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One fact: it holds where all conditions of one of the lists in ``holds`` do."""

    name: Annotated[str, msgspec.Meta(pattern="^(?!no-)[a-z][a-z0-9-]*$")]
    about: str
    holds: list[list[Condition]]
    seen: str


class _File(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    fact: list[Fact]


@cache
def load_facts() -> tuple[Fact, ...]:
    """The facts that come with the suite."""
    return tuple(msgspec.convert(tomllib.loads(STACKS.read_text(encoding="utf-8")), _File).fact)


def known_facts() -> frozenset[str]:
    """Every name that a case or a list may ask for: each fact, and ``no-`` in front of it."""
    return frozenset(f"{sign}{fact.name}" for fact in load_facts() for sign in ("", "no-"))


def facts_of_stack(hello: HelloAnswer) -> frozenset[str]:
    """Each fact, or ``no-<fact>``, of the peer that said ``hello``.

    None of a peer that is not Perl, or names no library: nothing is known of its stack, and nothing is left out for it.
    """
    if hello.language.lower() != "perl" or not hello.libraries:
        return frozenset()
    return frozenset(fact.name if _holds(fact, hello) else f"no-{fact.name}" for fact in load_facts())


def _holds(fact: Fact, hello: HelloAnswer) -> bool:
    return any(all(meets(condition, hello) for condition in conditions) for conditions in fact.holds)


def is_condition(text: str) -> bool:
    """Whether ``text`` is of the form NAME >= VERSION."""
    return _CONDITION.fullmatch(text) is not None


def meets(condition: str, hello: HelloAnswer) -> bool:
    """Whether the condition holds; not where the peer does not name that library."""
    parts = _CONDITION.fullmatch(condition)
    if parts is None:
        return False
    said = hello.runtime if parts["name"] == "runtime" else hello.libraries.get(parts["name"], "")
    found = re.search(r"\d+(\.\d+)*", said)
    # Modules of Perl number themselves in decimals; Perl itself is said to be 5.36.0.
    perl = hello.language.lower() == "perl" and parts["name"] != "runtime"
    return found is not None and _COMPARE[parts["sign"]](
        _version(found.group(), perl=perl), _version(parts["version"], perl=perl)
    )


def _version(text: str, *, perl: bool) -> tuple[int, ...]:
    """Numbers to compare. In Perl, a version with one point is a decimal number: 4.4 is 4.400, and later than 4.38."""
    head, *rest = text.split(".")
    if perl and len(rest) == 1:
        digits = rest[0] + "0" * (-len(rest[0]) % 3)
        rest = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    numbers = [int(head), *map(int, rest)]
    while numbers[-1:] == [0]:
        numbers.pop()
    return tuple(numbers)
