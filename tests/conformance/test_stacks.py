"""Facts of library stacks: data, decided by versions; cases and lists ask for them by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobwire_conformance.cases.case import Case, CaseError, Job, Needs, load_cases
from jobwire_conformance.cases.stacks import facts_of_stack, known_facts, load_facts, meets
from jobwire_conformance.driver.protocol import HelloAnswer
from jobwire_conformance.run.axes import Instance, PeerSpec, expand
from jobwire_conformance.run.expected import ExpectedError, load_expected


def hello(runtime: str = "perl 5.36.0", language: str = "Perl", **libraries: str) -> HelloAnswer:
    named = {name.replace("__", "::"): version for name, version in libraries.items()}
    return HelloAnswer(
        driver=1, name="perl", version="0.004", language=language, runtime=runtime, libraries=named,
        roles=["client", "worker"], modes=["reliable"], dialects=["0.004"],
    )  # fmt: skip


def perl(name: str, said: HelloAnswer) -> PeerSpec:
    return PeerSpec(name, "0.004", said)


BOOKWORM = hello(Cpanel__JSON__XS="4.35", Net__Async__Redis="2.001", Unicode__UTF8="0.62")
SID = hello("perl 5.42.3", Cpanel__JSON__XS="4.80", Net__Async__Redis="5.001", Unicode__UTF8="0.75")
PYTHON = hello("CPython 3.11.7", "Python", redis="5.1")


def test_every_fact_holds_or_does_not() -> None:
    for said in (BOOKWORM, SID):
        facts = facts_of_stack(said)
        assert len(facts) == len(load_facts())
        assert facts <= known_facts()
    assert facts_of_stack(PYTHON) == frozenset()
    assert facts_of_stack(hello()) == frozenset(), "nothing is known of a peer that names no library"


@pytest.mark.parametrize(
    ("fact", "said", "holds"),
    [
        ("native-booleans", BOOKWORM, False),
        ("native-booleans", SID, True),
        ("native-booleans", hello("perl 5.32.1", Cpanel__JSON__XS="4.80"), False),  # Perl has none
        ("native-booleans", hello("perl 5.40.1", JSON__PP="4.16"), True),
        ("native-booleans", hello("perl 5.40.1", JSON__XS="4.04"), False),
        ("scalar-documents", BOOKWORM, False),
        ("scalar-documents", hello(JSON__PP="4.07"), True),
        ("not-finite-as-null", hello(JSON__XS="4.03"), False),
        ("large-strings", hello(Net__Async__Redis="1.003"), True),
        ("large-strings", hello(Net__Async__Redis="1.014"), False),
        ("large-strings", hello(Net__Async__Redis="2.001"), False),
        ("large-strings", hello(Net__Async__Redis="5.001"), True),
        ("works", hello(Net__Async__Redis="5.001"), True),
        ("works", hello(Net__Async__Redis="6.000"), False),
    ],
)
def test_facts_by_versions(fact: str, said: HelloAnswer, holds: bool) -> None:
    assert (fact in facts_of_stack(said)) is holds
    assert (f"no-{fact}" in facts_of_stack(said)) is not holds


@pytest.mark.parametrize(
    ("condition", "holds"),
    [("runtime >= 5.36", True), ("runtime < 5.40", True), ("runtime >= 5.4", True), ("runtime >= 5.38", False)],
)
def test_perl_itself_is_numbered_with_points(condition: str, holds: bool) -> None:
    assert meets(condition, hello("perl 5.36.0")) is holds


def test_a_case_is_for_the_stacks_that_it_needs() -> None:
    needs = Needs(worker_stack=["native-booleans"])
    case = Case(id="a/b", title="t", proves=["KEY-1"], source="s", jobs=[Job(result="x")], needs=needs)
    workers = [perl("perl:0.004", BOOKWORM), perl("perl@sid:0.004", SID), PeerSpec("python:0.004", "0.004", PYTHON)]
    clients = [workers[2]]
    assert [item.worker for item, _, _ in expand([case], clients, workers)] == ["perl@sid:0.004"]


def test_a_fact_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'about = "a"\n[[case]]\nid = "a/b"\ntitle = "t"\nproves = ["KEY-1"]\nsource = "s"\n'
        'jobs = [{ result = "x" }]\nneeds = { worker_stack = ["naitve-booleans"] }\n'
    )
    with pytest.raises(CaseError, match="naitve-booleans"):
        load_cases(tmp_path)
    (tmp_path / "list.toml").write_text(
        '[[flaky]]\ncase = "a"\nreason = "r"\nlink = "l"\nclient_stack = ["naitve-booleans"]\n'
    )
    with pytest.raises(ExpectedError, match="naitve-booleans"):
        load_expected([tmp_path / "list.toml"])


def instance(worker: str) -> Instance:
    case = Case(id="a/b", title="t", proves=["KEY-1"], source="s", jobs=[Job(result="x")])
    return Instance(case, "reliable", "python:0.004", worker, "0.004", "0.004")


@pytest.mark.parametrize(
    ("worker", "listed"),
    [
        ("perl:0.004", True),
        ("perl@docker:0.004", True),
        ("perl@trixie:0.004", True),
        ("perl@sid:0.004+json-pp", True),
        ("perl@trixie:0.004+nar5", False),
        ("perl:0.004+nar5+json-xs", False),
        ("perl:0.003", False),
    ],
)
def test_lists_name_a_stack_wherever_it_runs(worker: str, listed: bool, tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text('[[known-failing]]\ncase = "a/*"\nworker = "perl:0.004"\nreason = "r"\nlink = "l"\n')
    assert (load_expected([path]).find(instance(worker), "known-failing") is not None) is listed


def test_an_entry_about_a_fact_is_for_stacks_that_have_it(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(
        '[[known-failing]]\ncase = "a/*"\nworker = "perl:*"\nworker_stack = ["no-large-strings"]\n'
        'reason = "r"\nlink = "l"\n'
    )
    expectations = load_expected([path])
    expectations.hellos = {"perl:0.004": BOOKWORM, "perl@sid:0.004+nar5": SID}
    assert expectations.find(instance("perl:0.004"), "known-failing") is not None
    assert expectations.find(instance("perl@sid:0.004+nar5"), "known-failing") is None


def test_the_matrix_holds_each_perl_to_jobwire_of_its_dialect_in_both_roles() -> None:
    cases = [
        Case(id=f"a/{tag}", title="t", proves=["KEY-1"], source="s", jobs=[Job(result="x")], tags=[tag])
        for tag in ("smoke", "stack", "probe", "other")
    ]
    broken = hello(Net__Async__Redis="6.000")
    peers = [PeerSpec("python:0.004", "0.004", PYTHON), perl("perl:0.004", BOOKWORM), perl("perl:0.004+nar6", broken)]
    plan = expand(cases, peers, peers, "matrix")
    assert {(item.case.id, item.client, item.worker) for item, _, _ in plan} == {
        *((f"a/{tag}", "perl:0.004", "python:0.004") for tag in ("smoke", "stack", "probe")),
        *((f"a/{tag}", "perl:0.004+nar6", "python:0.004") for tag in ("smoke", "stack", "probe")),
        *((f"a/{tag}", "python:0.004", "perl:0.004") for tag in ("smoke", "stack", "probe")),
        # A worker that takes no jobs is probed; nothing else is asked of it.
        ("a/probe", "python:0.004", "perl:0.004+nar6"),
    }
