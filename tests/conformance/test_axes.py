"""Expansion: nothing meets twice, everything meets once, pairs that cannot understand each other are probed only."""

from __future__ import annotations

import msgspec
import pytest

from jobwire_conformance.cases.case import Axes, Case, Job, Needs
from jobwire_conformance.driver.protocol import HelloAnswer
from jobwire_conformance.rules.facts import DIALECTS, misunderstanding
from jobwire_conformance.run.axes import PeerSpec, expand


def peer(
    name: str, dialect: str, *, language: str = "Python", modes: tuple[str, ...] = ("reliable",), **more: object
) -> PeerSpec:
    hello = HelloAnswer(
        driver=1, name=name, version="1", language=language, runtime="", roles=["client", "worker"],
        modes=list(modes), dialects=[dialect], **more,  # type: ignore[arg-type]  # what the test wants to say
    )  # fmt: skip
    return PeerSpec(f"{name}:{dialect}", dialect, hello)


def case(name: str = "a/b", **more: object) -> Case:
    fields = {"id": name, "title": name, "proves": ["KEY-1"], "source": "s", "jobs": [Job(result="x")], **more}
    return Case(**fields)  # type: ignore[arg-type]  # as above


ALL = [peer(name, dialect) for dialect in DIALECTS for name in ("one", "two")]


def test_strength_two() -> None:
    cases = [case(f"g/c{number}") for number in range(12)]
    plan = [item[0] for item in expand(cases, ALL, ALL, "ci")]
    family = [spec for spec in ALL if spec.dialect in {"0.003", "0.004", "master"}]
    assert {(i.case.id, i.client) for i in plan} >= {(c.id, spec.name) for c in cases for spec in family}
    assert {(i.case.id, i.worker) for i in plan} >= {(c.id, spec.name) for c in cases for spec in family}
    assert {(i.client, i.worker) for i in plan} >= {(one.name, two.name) for one in family for two in family}
    assert len({i.name for i in plan}) == len(plan), "no instance twice"


def test_the_main_dialect_runs_every_case_between_all_its_peers() -> None:
    cases = [case(f"g/c{number}") for number in range(5)]
    plan = {(i.case.id, i.client, i.worker) for i, _, _ in expand(cases, ALL, ALL, "ci")}
    for one in cases:
        for client in ("one:0.004", "two:0.004"):
            for worker in ("one:0.004", "two:0.004"):
                assert (one.id, client, worker) in plan


def test_pairs_that_cannot_understand_each_other_are_probed_only() -> None:
    plan = expand([case(), case("p/q", tags=["probe"])], ALL, ALL, "full")
    odd = [i for i, _, _ in plan if misunderstanding(i.client_dialect, i.worker_dialect)]
    assert odd
    assert {i.case.id for i in odd} == {"p/q"}
    assert all(i.pair_note for i in odd)


def test_axes_one_at_a_time_and_their_product() -> None:
    axes = Axes(use_multi=("none", "client", "both"), prefix=("jobs", "x"), concurrency=(1, 8))
    main = [peer("one", "0.004")]
    assert len(expand([case(axes=axes)], main, main, "ci")) == 1 + 2 + 1 + 1
    assert len(expand([case(axes=axes)], main, main, "full")) == 3 * 2 * 2


def test_prefix_is_an_axis_of_dialects_that_have_one() -> None:
    axes = Axes(prefix=("jobs", "x"))
    bare = [peer("one", "0.001")]
    assert [i.prefix for i, _, _ in expand([case(axes=axes)], bare, bare, "full")] == ["jobs"]


def test_use_multi_is_an_axis_of_reliable_alone() -> None:
    axes = Axes(use_multi=("none", "both"))
    main = [peer("one", "0.004", modes=("reliable", "simple"))]
    plan = expand([case(axes=axes, modes=("reliable", "simple"))], main, main, "ci")
    assert [(i.mode, i.use_multi) for i, _, _ in plan] == [
        ("reliable", "none"),
        ("reliable", "both"),
        ("simple", "none"),
    ]


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        (Needs(facts=["tagged"]), {"0.003", "0.004", "master"}),
        (Needs(facts=["untagged"]), {"0.001", "0.002"}),
        (Needs(client_language=["perl"]), set()),
    ],
)
def test_needs(needs: Needs, expected: set[str]) -> None:
    ours = [spec for spec in ALL if spec.name.startswith("one")]
    plan = expand([case(needs=needs)], ours, ours, "full")
    assert {i.client_dialect for i, _, _ in plan} == expected


def test_modes_and_roles_that_a_peer_does_not_claim() -> None:
    one = peer("one", "0.004")
    assert expand([case(modes=("simple",))], [one], [one], "full") == []
    mute = PeerSpec("m", "0.004", msgspec.structs.replace(one.hello, roles=["client"]))
    assert expand([case()], [one], [mute], "full") == []


def test_a_replay_is_asked_for_what_was_recorded_alone() -> None:
    axes = Axes(use_multi=("none", "both"))
    once = peer("golden", "0.004", behaviours=["recorded:a/b:0"])
    both = peer("golden-too", "0.004", behaviours=["recorded:a/b:0", "recorded:a/b:1"])
    plan = expand([case(axes=axes), case("c/d")], [peer("one", "0.004")], [once, both], "ci")
    assert {(i.case.id, i.worker, i.use_multi) for i, _, _ in plan} == {
        ("a/b", "golden:0.004", "none"),
        ("a/b", "golden-too:0.004", "none"),
        ("a/b", "golden-too:0.004", "both"),
    }
