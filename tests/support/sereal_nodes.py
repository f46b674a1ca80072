"""Values as nodes: JSON that says a Perl value exactly, identity included.

The notation is that of ``perl_fixtures/bin/sereal-peer.pl``. A node tree is generated, then built
on the one side, carried as Sereal, described on the other, and must be the same node again.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import Any

from hypothesis import strategies as st

from jobwire.sereal import PerlObject, PerlRegexp, ScalarRef

Node = dict[str, Any]


def perl_hex(text: str | bytes) -> str:
    """The characters of a Perl string, in Perl's UTF-8, as hex. Bytes are Latin-1 characters, as in Perl."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return text.encode("utf-8", "surrogatepass").hex()


def hex_text(text: str, *, as_str: bool = True) -> str | bytes:
    plain = bytes.fromhex(text).decode("utf-8", "surrogatepass")
    if as_str or any(ord(character) > 255 for character in plain):
        return plain
    return plain.encode("latin-1")


# -- Python value -> node ------------------------------------------------------------------------


def describe(value: object, seen: dict[object, int] | None = None) -> Node:
    seen = {} if seen is None else seen
    scalar = describe_scalar(value)
    if scalar is not None:
        return scalar
    inner = value.value if isinstance(value, PerlObject) else value
    # One scalar in two classes is no Perl value, but what aliased strings make of two: each is described.
    identity = id(inner) if not isinstance(value, PerlObject) else (id(inner), value.class_name)
    if identity in seen:
        return {"again": seen[identity]}
    node: Node = {"id": len(seen)}
    seen[identity] = node["id"]
    if isinstance(value, PerlObject):
        node["f" if value.frozen else "c"] = perl_hex(value.class_name)
    if isinstance(inner, list):
        node["a"] = [describe(item, seen) for item in inner]
    elif isinstance(inner, dict):
        pairs = sorted(((perl_hex(key), item) for key, item in inner.items()), key=lambda pair: pair[0])
        node["h"] = [[key, describe(item, seen)] for key, item in pairs]
    elif isinstance(inner, ScalarRef):
        node["r"] = describe(inner.value, seen)
    elif isinstance(inner, PerlRegexp):
        node["x"] = [perl_hex(inner.pattern), "".join(sorted(set(inner.flags) & set("msixpn")))]
    else:
        raise TypeError(type(inner))
    return node


def describe_scalar(value: object) -> Node | None:
    match value:
        case None:
            return {"u": 1}
        case bool():
            return {"b": int(value)}
        case int():
            return {"i": str(value)}
        case float():
            return {"n": "nan" if math.isnan(value) else struct.pack("<d", value).hex()}
        case str() | bytes():
            return {"s": perl_hex(value)}
    return None


# -- node -> Python value ------------------------------------------------------------------------


def build(node: Node, made: dict[int, Any] | None = None) -> Any:
    made = {} if made is None else made
    if "again" in node:
        return made[node["again"]]
    if "id" not in node:
        return build_scalar(node)
    if "x" in node:
        made[node["id"]] = named(node, PerlRegexp(hex_text(node["x"][0]), node["x"][1]))
        return made[node["id"]]
    inner: Any = [] if "a" in node else {} if "h" in node else ScalarRef()
    value = made[node["id"]] = named(node, inner)
    if "a" in node:
        inner.extend(build(item, made) for item in node["a"])
    elif "h" in node:
        for key, item in node["h"]:
            inner[hex_text(key, as_str="upkey" in item)] = build(item, made)
    else:
        inner.value = build(node["r"], made)
    return value


def named(node: Node, inner: Any) -> Any:
    if "f" in node:
        return PerlObject(hex_text(node["f"]), inner, frozen=True)
    return PerlObject(hex_text(node["c"]), inner) if "c" in node else inner


def build_scalar(node: Node) -> Any:
    if "u" in node:
        return None
    if "b" in node or "jb" in node:
        return bool(node.get("b", node.get("jb")))
    if "i" in node:
        return int(node["i"])
    if "n" in node:
        return math.nan if node["n"] == "nan" else struct.unpack("<d", bytes.fromhex(node["n"]))[0]
    return hex_text(node["s"], as_str="up" in node)


# -- generated nodes -----------------------------------------------------------------------------


def settled(node: Node) -> Node:
    """``node`` with its ids counted and each ``again`` pointing at a referent met before it."""
    count = 0
    frozen: set[int] = set()

    def walk(item: Node) -> Node:
        nonlocal count
        if "again" in item:
            choices = [number for number in range(count) if number not in frozen]
            return {**item, "again": choices[item["again"] % len(choices)]} if choices else {"u": 1}
        if not item.keys() & {"a", "h", "r", "x"}:
            return item
        item = {**item, "id": count}
        if "f" in item:
            frozen.add(count)  # THAW makes a new object: its references within itself are another matter
        count += 1
        if "a" in item:
            item["a"] = [walk(child) for child in item["a"]]
        elif "h" in item:
            item["h"] = [[key, walk(child)] for key, child in sorted(item["h"], key=lambda pair: pair[0])]
        elif "r" in item:
            item["r"] = walk(item["r"])
        return item

    return walk(node)


def bare(node: Node, *, blessed: bool = True) -> Node:
    """``node`` without what asks for a form and says nothing of the value."""
    kept: Node = {}
    for name, item in node.items():
        if name in {"up", "upkey", "weak"} or (name == "c" and not blessed):
            continue
        if name == "a":
            kept[name] = [bare(child, blessed=blessed) for child in item]
        elif name == "h":
            kept[name] = [[key, bare(child, blessed=blessed)] for key, child in item]
        elif name == "r":
            kept[name] = bare(item, blessed=blessed)
        else:
            kept["b" if name == "jb" else name] = item
    return kept


def without_string_identity(node: Node) -> Node:
    """``node`` with references to strings spelled out each time, without class, and the other ids counted anew."""
    by_id: dict[int, Node] = {}
    numbers: dict[int, int] = {}

    def collect(item: Node) -> None:
        if "id" in item:
            by_id[item["id"]] = item
        for child in [
            *item.get("a", []),
            *(pair[1] for pair in item.get("h", [])),
            *([item["r"]] if "r" in item else []),
        ]:
            collect(child)

    def walk(item: Node) -> Node:
        target = by_id[item["again"]] if "again" in item else item
        if "s" in target.get("r", {}):
            return {name: value for name, value in target.items() if name not in {"id", "c"}}
        if "again" in item:
            return {"again": numbers[item["again"]]}
        if "id" not in item:
            return item
        numbers[item["id"]] = len(numbers)
        item = {**item, "id": numbers[item["id"]]}
        if "a" in item:
            item["a"] = [walk(child) for child in item["a"]]
        elif "h" in item:
            item["h"] = [[key, walk(child)] for key, child in item["h"]]
        elif "r" in item:
            item["r"] = walk(item["r"])
        return item

    collect(node)
    return walk(node)


_characters = st.one_of(
    st.characters(max_codepoint=0x7E, min_codepoint=0x20),
    st.characters(max_codepoint=0xFF),
    st.characters(),
    st.characters(categories=["Cs"]),
)
_texts = st.one_of(
    st.text(st.characters(max_codepoint=0x7F), max_size=12),
    st.text(_characters, max_size=12),
    st.text(st.characters(max_codepoint=0xFF), min_size=28, max_size=140),
    st.sampled_from(
        ["", "key", "name", "abcd", "1", "0", "é", "Ã©", "x" * 31, "x" * 32, "é" * 16, "x" * 127, "x" * 128]
    ),
)
_flag = st.sampled_from([{}, {"up": 1}])
_strings = st.builds(lambda text, flag: {"s": perl_hex(text), **flag}, _texts, _flag)
_integers = st.one_of(
    st.integers(-40, 40),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([2**k + d for k in (7, 14, 31, 32, 53, 63) for d in (-1, 0, 1)] + [2**64 - 1, -(2**63), 1 - 2**63]),
)
_numbers = st.builds(
    lambda value: {"n": "nan" if math.isnan(value) else struct.pack("<d", value).hex()},
    st.one_of(st.floats(), st.floats(width=32), st.integers(-1000, 1000).map(float)),
)
_classes = st.sampled_from(["Foo", "Foo::Bar", "My::Class", "Jobwire::Klasse_1", "Größe::Übel"]).map(perl_hex)
_patterns = st.sampled_from(["a+", "", "^b.*$", "(c|d)", "é{2}", r"\d+\/x", "☃"]).map(perl_hex)


def _hash(pairs: list[tuple[str, Node, bool]]) -> Node:
    found = {key: {**child, "upkey": 1} if up else child for key, child, up in pairs}
    return {"h": [[key, child] for key, child in found.items()]}


def _objects(children: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    arrays = st.lists(children, max_size=20).map(lambda items: {"a": items})
    keys = st.builds(perl_hex, _texts)
    pairs = st.lists(st.tuples(keys, children, st.booleans()), max_size=20)
    hashes = pairs.map(_hash)
    refs = children.map(lambda child: {"r": child})
    plain = st.one_of(arrays, hashes, refs)
    return st.one_of(plain, plain, st.builds(lambda node, name: {**node, "c": name}, plain, _classes))


@functools.cache
def nodes(*, booleans: str = "b", frozen: bool = False) -> st.SearchStrategy[Node]:
    """Any value that both Perl and Python can say. ``booleans``: ``b`` native, ``jb`` JSON::PP's."""
    scalars = st.one_of(
        st.just({"u": 1}),
        st.booleans().map(lambda value: {booleans: int(value)}),
        _integers.map(lambda value: {"i": str(value)}),
        _numbers,
        _strings,
        _strings,
        st.integers(0, 50).map(lambda number: {"again": number}),
        st.builds(
            lambda pattern, flags: {"x": [pattern, "".join(sorted(flags))]}, _patterns, st.sets(st.sampled_from("imsx"))
        ),
    )
    tree = st.recursive(scalars, _objects, max_leaves=30)
    if frozen:
        kinds = st.sampled_from(["Jobwire::Frozen", "Jobwire::Frozen::Other"]).map(perl_hex)
        thawed = st.builds(lambda items, kind: {"f": kind, "a": items}, st.lists(tree, max_size=4), kinds)
        tree = st.lists(st.one_of(thawed, tree), max_size=4).map(lambda items: {"a": items})
    return tree.map(settled)
