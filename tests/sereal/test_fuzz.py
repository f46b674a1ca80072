"""A short, bounded run of mutated documents; the long runs are documented in docs/SEREAL.md."""

from __future__ import annotations

from pathlib import Path

from tests.support.sereal_fuzz import POLICIES, Mutator, check, run

CORPUS = Path(__file__).parents[1] / "fuzz" / "sereal_corpus"


def test_mutated_documents(code: str) -> None:
    totals = run(4000, seed=2 if code == "python" else 3)
    assert totals["refused"] > 1000
    assert totals["read"] > 300


def test_the_same_seed_makes_the_same_documents() -> None:
    one, other = Mutator(7), Mutator(7)
    assert [one.document() for _ in range(50)] == [other.document() for _ in range(50)]


def test_the_corpus_of_the_coverage_guided_fuzzer() -> None:
    documents = sorted(CORPUS.iterdir())
    assert len(documents) > 20
    for path in documents:
        found = path.read_bytes()
        check(found[1:], POLICIES[found[0] % len(POLICIES)] if found else "auto")
