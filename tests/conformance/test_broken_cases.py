"""No case that cannot fail: with any one of its expectations broken, it must not pass between good peers."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import msgspec
import pytest

from jobwire_conformance.cases.case import Case, load_cases
from jobwire_conformance.driver.values import RECURSION
from jobwire_conformance.peers.registry import resolve
from jobwire_conformance.peers.servers import make_factory
from jobwire_conformance.run.axes import PeerSpec, expand
from jobwire_conformance.run.expected import Expectations
from jobwire_conformance.run.runner import Planned, RunOptions, probe, run_all
from tests.support.broken_cases import broken

CASES = load_cases()
#: Cases that passed once with an expectation broken, or ended in an error instead of a verdict.
ONCE_BLIND = {"keys/bytes", "result/depth-512", "concurrency/two-workers", "client/late-result", "worker/ghost"}
#: A run of everything takes long; each run of the tests looks at these.
SAMPLE = [
    *random.Random(5).sample([case for case in CASES if case.seconds <= 20 and case.id not in ONCE_BLIND], 10),
    *[case for case in CASES if case.id in ONCE_BLIND],
]


@pytest.fixture(autouse=True)
def _as_deep_as_the_program() -> Iterator[None]:
    """The limit that the suite's program sets for itself: some values are 512 deep."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION))
    yield
    sys.setrecursionlimit(limit)


async def survivors(cases: list[Case]) -> list[str]:
    """Broken cases that pass all the same."""
    command = resolve("python")[0]
    python = PeerSpec(command.name, command.dialect, await probe(command))
    plan, names = [], []
    for case in cases:
        for what, changed in broken(case):
            short = msgspec.structs.replace(changed, seconds=min(changed.seconds, 8.0))
            instances = expand([short], [python], [python], "ci")
            plan += [Planned(*item) for item in instances[:1]]
            names += [f"{case.id}: {what}"] * len(instances[:1])
    lines = await run_all(plan, make_factory(None), RunOptions({command.name: command}, jobs=2), Expectations())
    return [name for name, line in zip(names, lines, strict=True) if line.verdict != "fail"]


def test_cases_expect_something() -> None:
    silent = [case.id for case in CASES if not list(broken(case))]
    assert silent == []


async def test_a_sample_with_each_expectation_broken() -> None:
    assert await survivors(SAMPLE) == []


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_all_cases_with_each_expectation_broken() -> None:
    assert await survivors(CASES) == []
