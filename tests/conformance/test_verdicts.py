"""Verdicts, lists of what is expected, selection, and the status of a run."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from jobwire_conformance.cases.case import Case, Job
from jobwire_conformance.driver.protocol import HelloAnswer
from jobwire_conformance.report.report import VerdictLine
from jobwire_conformance.report.verdicts import Exit, Verdict, exit_status
from jobwire_conformance.run.axes import Instance
from jobwire_conformance.run.expected import ExpectedError, default_lists, load_expected
from jobwire_conformance.run.runner import settle
from jobwire_conformance.run.selection import selected


def instance(case: str = "a/b", client: str = "perl:0.004", worker: str = "python:0.004") -> Instance:
    about = Case(id=case, title="t", proves=["KEY-1"], source="s", jobs=[Job(result="x")], tags=["odd"])
    return Instance(about, "reliable", client, worker, "0.004", "0.004")


def line(verdict: Verdict) -> VerdictLine:
    return VerdictLine(
        case="a/b", title="t", proves=[], source="s", level="must", mode="reliable", verdict=verdict, reason="why"
    )


P, F, E = Verdict.PASS, Verdict.FAIL, Verdict.ERROR


@pytest.mark.parametrize(
    ("verdicts", "missing", "stale", "status"),
    [
        ([(P, True)], False, False, Exit.CONFORMANT),
        ([(verdict, True) for verdict in Verdict if verdict.good], False, False, Exit.CONFORMANT),
        ([(P, True), (F, False)], False, False, Exit.NOT_CONFORMANT),
        ([(E, True)], False, False, Exit.NOT_CONFORMANT),
        ([(P, True), (Verdict.UNSUPPORTED, True)], False, False, Exit.NOT_CONFORMANT),
        ([(P, True), (Verdict.UNSUPPORTED, False)], False, False, Exit.CONFORMANT),
        ([(P, True)], True, False, Exit.NOT_CONFORMANT),
        ([], False, False, Exit.NOT_CONFORMANT),
        ([(P, True)], False, True, Exit.STALE),
        ([(P, True), (Verdict.UNEXPECTED_PASS, True)], False, False, Exit.STALE),
        ([(Verdict.UNEXPECTED_PASS, True), (F, True)], False, True, Exit.NOT_CONFORMANT),
    ],
)  # fmt: skip
def test_exit_status(verdicts: list[tuple[Verdict, bool]], missing: bool, stale: bool, status: Exit) -> None:
    assert exit_status(verdicts, missing=missing, stale=stale) is status


def test_every_verdict_has_a_sign_of_its_own() -> None:
    assert len({verdict.sign for verdict in Verdict}) == len(Verdict)
    assert not Verdict.UNSUPPORTED.good, "a skip is never a pass"


def test_good_and_wrong_are_the_same_question_wherever_it_is_asked() -> None:
    assert [verdict for verdict in Verdict if verdict.good] == ["flaky", "lenient", "known-failing", P]
    assert [verdict for verdict in Verdict if verdict.wrong] == [F, E, Verdict.UNEXPECTED_PASS]
    for verdict in Verdict:
        assert (verdict.junit in {"failure", "error"}) is verdict.wrong
        assert (verdict.look == "bad") is verdict.wrong
    assert Verdict("known-failing") is Verdict.KNOWN_FAILING
    assert f"{P}" == "pass"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list.toml"
    path.write_text(text)
    return path


KNOWN = """
[[known-failing]]
case = "a/*"
client = ["perl:*", "golden:*"]
reason = "Perl does not"
link = "PROTOCOL.md §29"
"""


def test_known_failing_must_fail(tmp_path: Path) -> None:
    expectations = load_expected([write(tmp_path, KNOWN)])
    failed = settle(line(F), instance(), expectations)
    assert failed.verdict is Verdict.KNOWN_FAILING
    assert failed.reason == "Perl does not (shown by: why)"
    assert settle(line(P), instance(), expectations).verdict is Verdict.UNEXPECTED_PASS
    assert settle(line(E), instance(), expectations).verdict is Verdict.ERROR, "an error of the harness proves nothing"
    assert settle(line(F), instance(client="python:0.004"), expectations).verdict is F


def test_an_entry_that_matches_nothing_is_stale(tmp_path: Path) -> None:
    expectations = load_expected([write(tmp_path, KNOWN)])
    peers = ["perl:0.004"], ["python:0.004"]
    assert expectations.unused([instance(case="b/c")], *peers) == ["[[known-failing]] a/* ['perl:*', 'golden:*'] *"]
    assert expectations.unused([instance(case="b/c"), instance()], *peers) == []


def test_unsupported_and_lenient_lists(tmp_path: Path) -> None:
    text = '[[unsupported]]\ncase="a/b"\nreason="none"\nlink="x"\n[[lenient]]\ncase="a/b"\nreason="near"\nlink="y"\n'
    expectations = load_expected([write(tmp_path, text)])
    left_out = settle(line(Verdict.UNSUPPORTED), instance(), expectations)
    assert (left_out.verdict, left_out.required) == (Verdict.UNSUPPORTED, False)
    assert settle(line(P), instance(), expectations).verdict is Verdict.LENIENT


def test_an_entry_forgives_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    text = '[[{}]]\ncase="a/b"\nshown_by="wh?"\nreason="none"\nlink="x"\n'
    expectations = load_expected([write(tmp_path, text.format("unsupported") + text.format("known-failing"))])
    for verdict, forgiven in ((Verdict.UNSUPPORTED, Verdict.UNSUPPORTED), (F, Verdict.KNOWN_FAILING)):
        seen = settle(line(verdict), instance(), expectations)
        other = settle(msgspec.structs.replace(line(verdict), reason="another"), instance(), expectations)
        assert (seen.verdict, seen.reason.startswith(("why: none", "none (shown by: why"))) == (forgiven, True)
        assert (other.verdict, other.reason, other.required) == (verdict, "another", True)
    assert settle(msgspec.structs.replace(line(P), reason=""), instance(), expectations).verdict == "unexpected-pass"


@pytest.mark.parametrize(
    "text",
    [
        "[[known-failing]]\ncase='a'\n",
        "[[of-nobody]]\ncase='a'\n",
        "[[flaky]\n",
        "[[flaky]]\ncase='a'\nreason='r'\nlink='l'\nmore=1",
    ],
)
def test_bad_lists(tmp_path: Path, text: str) -> None:
    with pytest.raises(ExpectedError, match=r"list\.toml"):
        load_expected([write(tmp_path, text)])


def test_the_suites_own_lists_give_reasons() -> None:
    lists = default_lists()
    assert lists
    for _, entry in load_expected(lists).entries:
        assert len(entry.reason) > 15
        assert entry.link


@pytest.mark.parametrize(
    ("run", "skip", "chosen"),
    [
        ([], [], True),
        (["a/*"], [], True),
        (["b/*"], [], False),
        (["KEY-1"], [], True),
        (["odd"], [], True),
        (["perl"], [], True),
        (["*client=perl*"], [], True),
        (["a/b"], ["*perl*"], False),
        ([], ["odd"], False),
    ],
)
def test_selection(run: list[str], skip: list[str], chosen: bool) -> None:
    assert selected(instance(), run, skip, None) is chosen
    assert not selected(instance(), run, skip, {"another"})


def hello(runtime: str = "Perl v5.36.0", language: str = "Perl", **libraries: str) -> HelloAnswer:
    named = {name.replace("__", "::"): version for name, version in libraries.items()}
    return HelloAnswer(
        driver=1, name="x", version="1", language=language, runtime=runtime, libraries=named,
        roles=["worker"], modes=["reliable"], dialects=["0.004"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "said", "holds"),
    [
        ("Cpanel::JSON::XS >= 4.38", hello(Cpanel__JSON__XS="4.39"), True),
        ("Cpanel::JSON::XS >= 4.38", hello(Cpanel__JSON__XS="4.38"), True),
        ("Cpanel::JSON::XS >= 4.38", hello(Cpanel__JSON__XS="4.4"), True),  # 4.400
        ("Cpanel::JSON::XS >= 4.38", hello(Cpanel__JSON__XS="4.35"), False),
        ("Cpanel::JSON::XS < 4.38", hello(Cpanel__JSON__XS="4.35"), True),
        ("Cpanel::JSON::XS < 4.38", hello(), False),
        ("Sereal::Decoder > 5.003", hello(Sereal__Decoder="5.011"), True),
        ("Sereal::Decoder == 5.003", hello(Sereal__Decoder="5.003"), True),
        ("runtime >= 5.38", hello(), False),
        ("runtime >= 5.36.0", hello(), True),
        ("redis >= 5.9", hello("CPython 3.11.7", "Python", redis="5.10.1"), True),
        ("runtime <= 3.11", hello("CPython 3.11.7", "Python"), False),
    ],
)
def test_entries_by_what_a_peer_says_of_itself(condition: str, said: HelloAnswer, holds: bool, tmp_path: Path) -> None:
    entry = 'case = "a/*"\nreason = "r"\nlink = "l"\n'
    expectations = load_expected([write(tmp_path, f'[[known-failing]]\n{entry}worker_has = "{condition}"\n')])
    assert expectations.find(instance(), "known-failing") is None, "nobody has said anything"
    expectations.hellos = {"python:0.004": said}
    assert (expectations.find(instance(), "known-failing") is not None) is holds
    # It is stale only where it speaks of a peer of the run.
    assert (expectations.unused([], ["perl:0.004"], ["python:0.004"]) != []) is holds


def test_a_condition_that_is_none(tmp_path: Path) -> None:
    entry = '[[flaky]]\ncase = "a"\nreason = "r"\nlink = "l"\nclient_has = "4.38 of JSON"\n'
    with pytest.raises(ExpectedError, match="NAME >= VERSION"):
        load_expected([write(tmp_path, entry)])
