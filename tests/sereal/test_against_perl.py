"""Python writes, Perl reads the same value; Perl writes, with every option, Python reads the same value."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobwire.sereal import dumps, loads
from tests.support.sereal_nodes import bare, build, describe, nodes, without_string_identity
from tests.support.sereal_peer import SerealPeer

pytestmark = pytest.mark.perl

# JOBWIRE_SEREAL_EXAMPLES=10000 is the documented longer run (docs/SEREAL.md).
EXAMPLES = int(os.environ.get("JOBWIRE_SEREAL_EXAMPLES", "150"))
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

COMPRESSIONS = {1: [None, "snappy", "snappy-old"], 2: [None, "snappy"], 3: [None, "snappy", "zlib"]}
EVERY = [None, "snappy", "zlib", "zstd"]


@st.composite
def python_options(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.integers(1, 5))
    return {
        "version": version,
        "compression": draw(st.sampled_from(COMPRESSIONS.get(version, EVERY))),
        "compress_threshold": 0,
        "canonical": draw(st.booleans()),
        "share_keys": draw(st.booleans()),
        "dedupe_strings": draw(st.booleans()),
        "booleans": draw(st.sampled_from(["native", "json-pp"])),
    }


@given(node=nodes(), options=python_options())
@many
def test_perl_reads_what_python_writes(perl: SerealPeer, node: Any, options: dict[str, Any]) -> None:
    document = dumps(build(node), **options)
    assert perl.describe(document) == bare(node)


@given(node=nodes(frozen=True), version=st.integers(2, 5))
@settings(many, max_examples=max(30, EXAMPLES // 10))
def test_perl_thaws_what_python_froze(perl: SerealPeer, node: Any, version: int) -> None:
    assert perl.describe(dumps(build(node), version=version)) == bare(node)


@st.composite
def perl_options(draw: st.DrawFn) -> dict[str, Any]:
    version = draw(st.integers(1, 5))
    flag = st.sampled_from([0, 1])
    compress = draw(st.sampled_from([0, 1] + [2] * (version >= 3) + [3] * (version >= 4)))
    options: dict[str, Any] = {
        "protocol_version": version,
        "compress": compress,
        "compress_threshold": 0,
        "compress_level": draw(st.integers(1, 9)),
        "canonical": draw(flag),
        "canonical_refs": draw(flag),
        "sort_keys": draw(st.integers(0, 3)),
        "dedupe_strings": draw(flag),
        "no_shared_hashkeys": draw(flag),
        "no_bless_objects": draw(flag),
        "use_standard_double": draw(flag),
        "freeze_callbacks": int(version >= 2),
        "warn_unknown": draw(flag),
        "max_recursion_depth": 10000,
    }
    if draw(st.booleans()):
        options["aliased_dedupe_strings"] = 1
    return options


@given(data=st.data(), options=perl_options(), strings=st.sampled_from(["exact", "latin-1"]))
@many
def test_python_reads_what_perl_writes(perl: SerealPeer, data: st.DataObject, options: Any, strings: Any) -> None:
    native = options["protocol_version"] >= 5 and data.draw(st.booleans())
    if options["no_bless_objects"]:
        options["freeze_callbacks"] = 0
    node = data.draw(nodes(booleans="b" if native or options["no_bless_objects"] else "jb"))
    if options["no_bless_objects"] and options["protocol_version"] < 5:
        node = _without_booleans(node)
    value = loads(perl.encode(node, **options), strings=strings)
    assert shown(describe(value), options) == shown(bare(node, blessed=not options["no_bless_objects"]), options)


def shown(node: Any, options: Any) -> Any:
    """With ``aliased_dedupe_strings`` Perl makes equal strings one scalar: references to them cannot be told apart,
    and where one of them is blessed, all are."""
    return without_string_identity(node) if "aliased_dedupe_strings" in options else node


@given(node=nodes(booleans="jb", frozen=True), options=perl_options())
@settings(many, max_examples=max(30, EXAMPLES // 10))
def test_python_reads_what_perl_froze(perl: SerealPeer, node: Any, options: Any) -> None:
    options.update(no_bless_objects=0, freeze_callbacks=1, protocol_version=max(2, options["protocol_version"]))
    assert shown(describe(loads(perl.encode(node, **options), strings="exact")), options) == shown(bare(node), options)


def _without_booleans(node: Any) -> Any:
    """Before version 5 Perl writes its own booleans as 1 and the empty string."""
    if "b" in node:
        return {**{k: v for k, v in node.items() if k != "b"}, **({"i": "1"} if node["b"] else {"s": ""})}
    changed = dict(node)
    if "a" in node:
        changed["a"] = [_without_booleans(child) for child in node["a"]]
    if "h" in node:
        changed["h"] = [[key, _without_booleans(child)] for key, child in node["h"]]
    if "r" in node:
        changed["r"] = _without_booleans(node["r"])
    return changed


@given(node=nodes(), header=nodes(), version=st.integers(2, 5), compression=st.sampled_from([None, "snappy"]))
@settings(many, max_examples=max(30, EXAMPLES // 10))
def test_header_both_ways(perl: SerealPeer, node: Any, header: Any, version: int, compression: Any) -> None:
    if bare(header) == {"u": 1}:
        header = {"i": "7"}  # None as header means that there is none
    document = dumps(build(node), header=build(header), version=version, compression=compression, compress_threshold=0)
    answer = perl.ask(cmd="describe", document=document.hex(), header=True)
    assert answer == {"body": bare(node), "header": bare(header)}
    node, header = ({**tree} for tree in (node, header))
    options = {"protocol_version": version, "compress": int(compression is not None), "compress_threshold": 0}
    written = bytes.fromhex(perl.ask(cmd="encode", node=_plain(node), header=_plain(header), options=options))
    body, user_data = loads(written, strings="exact", with_header=True)
    assert (describe(body), describe(user_data)) == (bare(_plain(node)), bare(_plain(header)))


def _plain(node: Any) -> Any:
    return _without_booleans(node)
