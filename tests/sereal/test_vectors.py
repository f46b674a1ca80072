"""Documents recorded from Perl (``record_vectors.py``) are read as what Perl's own decoder makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobwire.sereal import dumps, loads
from tests.support.record_vectors import record
from tests.support.sereal_nodes import describe
from tests.support.sereal_peer import SerealPeer

RECORDED = json.loads(Path(__file__).with_name("vectors.json").read_text())
VECTORS = RECORDED["vectors"]


def test_the_vectors_say_where_they_come_from() -> None:
    assert "Sereal::Encoder 5.003" in RECORDED["origin"]
    versions = {bytes.fromhex(vector["document"])[4] & 15 for vector in VECTORS}
    compressions = {bytes.fromhex(vector["document"])[4] >> 4 for vector in VECTORS}
    assert (versions, compressions) == ({1, 2, 3, 4, 5}, {0, 1, 2, 3, 4})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_read_as_perl_reads_it(vector: dict[str, Any]) -> None:
    value = loads(bytes.fromhex(vector["document"]), strings="exact")
    assert describe(value) == vector["node"]


@pytest.mark.parametrize(
    "vector", VECTORS[:: len({v["name"].split(", ", 1)[1] for v in VECTORS})], ids=lambda v: v["name"]
)
@pytest.mark.parametrize("version", [1, 5])
def test_written_again_it_is_the_same_value(vector: dict[str, Any], version: int) -> None:
    if '"f"' in json.dumps(vector["node"]) and version == 1:
        version = 2
    value = loads(bytes.fromhex(vector["document"]), strings="exact")
    assert describe(loads(dumps(value, version=version), strings="exact")) == vector["node"]


@pytest.mark.perl
def test_perl_still_writes_these(perl: SerealPeer) -> None:
    """Where Perl and Sereal are those of the record, byte for byte; elsewhere the values are what counts."""
    now = record(perl)
    same = now["origin"] == RECORDED["origin"]
    for vector, again in zip(VECTORS, now["vectors"], strict=True):
        assert (vector["name"], vector["node"]) == (again["name"], again["node"])
        if same:
            assert vector["document"] == again["document"], vector["name"]
