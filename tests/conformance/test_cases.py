"""The cases themselves, and their loader."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci import requirements
from jobwire_conformance.cases.case import CaseError, load_cases

CASES = load_cases()


def test_there_are_enough() -> None:
    assert len(CASES) >= 150


def test_every_case_cites_requirements_that_exist() -> None:
    known = {requirement.id for requirement in requirements.load_document().requirements}
    wrong = {case.id: sorted(set(case.proves) - known) for case in CASES if set(case.proves) - known}
    assert wrong == {}


def test_titles_are_different_sentences() -> None:
    titles = [case.title for case in CASES]
    assert sorted(titles) == sorted(set(titles))


@pytest.mark.parametrize(
    "word",
    ["values/", "keys/", "nested/", "result/", "queue/", "prefix/", "concurrency/", "compliance/", "client/", "worker/",
     "simple/", "fault/", "interop/", "recovery/"],
)  # fmt: skip
def test_every_group_is_there(word: str) -> None:
    assert any(case.id.startswith(word) for case in CASES)


GOOD = """
about = "x"
[[case]]
id = "a/b"
title = "t"
proves = ["KEY-1"]
source = "s"
jobs = [{ data = { op = "echo" }, result = "x" }]
"""


def load(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    load_cases(tmp_path)


def test_a_good_file(tmp_path: Path) -> None:
    load(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "a/b"', 'id = "no group"', "form group/name"),
        ('proves = ["KEY-1"]', "proves = []", "proves nothing"),
        ('proves = ["KEY-1"]', 'proves = ["key one"]', "no requirement ID"),
        ('source = "s"', 'source = "s"\nbreaks = ["NOT4"]', "breaks something"),
        ('result = "x"', 'result = "x", failed = "y"', "exactly one end, not 2"),
        (', result = "x"', "", "exactly one end, not 0"),
        ('title = "t"', 'title = "t"\nresul = 1', "case a/b: .*resul"),
        ('source = "s"', 'source = ""', "title and a source"),
        ("jobs = [", "steps = [", "do"),
        ('about = "x"', "about = [", "x.toml"),
    ],
)
def test_bad_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(CaseError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_an_id_used_twice(tmp_path: Path) -> None:
    (tmp_path / "y.toml").write_text(GOOD)
    with pytest.raises(CaseError, match="used twice"):
        load(tmp_path, GOOD)


def test_defaults(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        GOOD.replace('source = "s"\n', "").replace('about = "x"', 'about = "x"\n[defaults]\nsource = "of all"')
    )
    assert load_cases(tmp_path)[0].source == "of all"  # fmt: skip
