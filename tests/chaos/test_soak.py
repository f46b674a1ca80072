"""The soak: a short run for real, one with a leak that must be found, and its rule on series made for it."""

from __future__ import annotations

import random
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from endurance.soak.command import Settings, run_soak
from endurance.soak.graph import draw
from endurance.soak.load import EASY, HARD, Load
from endurance.soak.process import Latencies
from endurance.soak.samples import Event, Footer, Header, Measured, Sample, encode, read_samples
from endurance.soak.verdict import BOUND, Soak, collect, judge, ok, render, theil_sen
from jobwire_conformance.cli import main
from jobwire_conformance.peers.registry import MissingPeer, resolve
from jobwire_conformance.report.verdicts import Exit

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="a soak reads /proc: run it on Linux")
MIB = 2**20


def perl() -> int:
    try:
        resolve("perl")
    except MissingPeer:
        return 0
    return 1 if shutil.which("perl") else 0


async def test_a_short_run_loses_nothing_and_finds_the_leak_that_it_was_given(tmp_path: Path) -> None:
    """The long one: jobwire-conformance soak (an hour)."""
    settings = Settings(
        minutes=0.35,
        expire=2,
        warm_up=0.15,
        rate=120,
        every=1,
        cuts=3,
        restarts=7,
        deaths=5,
        perl=perl(),
        hoard=40_000,
    )
    soak = await run_soak(settings, tmp_path / "soak.jsonl")
    trends = judge(soak, 4 * MIB)
    report = render(soak, trends)
    footer = soak.footer
    assert footer is not None, report
    assert (footer.unanswered, footer.unexpected) == (0, {}), report
    assert not any(footer.left.values()), report
    assert footer.submitted > 500, report
    assert set(footer.ended) >= {kind.name for kind in EASY}, report
    assert {event.what for event in soak.events} == {
        "connection cut",
        "worker killed",
        "worker restarted",
        "client killed",
    }
    assert [trend.name for trend in trends if not trend.flat] == ["client reliable: resident"], report
    assert not ok(soak, trends)
    assert len(soak.samples) > 15
    ET.fromstring(draw(soak))


def samples(seconds: int, rss: Any, **more: Any) -> list[Sample]:
    dice = random.Random(1)
    return [
        Sample(
            t=float(t),
            processes={"client": Measured(pid=1, rss=int(rss(t) + dice.randint(-200_000, 200_000)), fds=8)},
            used_memory=3 * MIB,
            keys=20 + t % 7,
            lists={"pending": t % 3},
            latency={"client reliable": (1.0, 2.0, 3.0)},
            submitted=t,
            outstanding=3,
            **more,
        )
        for t in range(0, seconds, 5)
    ]


def soak(rss: Any, *, seconds: int = 3600, left: int = 0, **ends: Any) -> Soak:
    header = Header(
        at=0.0, seconds=seconds, every=5, warm_up=600, rate=250, judged=["client"], server="redis-server 7.0.15"
    )
    plain: dict[str, Any] = {"ended": {"echo": 10}, "unexpected": {}, "unanswered": 0, "died_with": 1, **ends}
    footer = Footer(seconds=seconds, submitted=10, left={"pending": left}, **plain)
    return Soak(header=header, samples=samples(seconds, rss), events=[], footer=footer)


def flat(t: int) -> float:
    return 40 * MIB


def test_what_stays_is_flat() -> None:
    found = soak(flat)
    assert all(trend.flat for trend in judge(found))
    assert ok(found, judge(found))
    assert "nothing lost, memory flat" in render(found, judge(found))


@pytest.mark.parametrize(
    "rss",
    [
        lambda t: 40 * MIB + (t < 600) * t * 10_000 + (t >= 600) * 6_000_000,  # the warm-up is not judged
        lambda t: 40 * MIB + (t % 600 == 0) * 30 * MIB,  # nor are single peaks
        lambda t: 40 * MIB + 1.5 * MIB * t / 3600,
    ],
)
def test_what_only_looks_like_growth_is_flat(rss: Any) -> None:
    assert all(trend.flat for trend in judge(soak(rss)))


@pytest.mark.parametrize(
    "rss",
    [
        lambda t: 40 * MIB + 3 * MIB * t / 3600,
        lambda t: 40 * MIB + 3 * MIB * (t // 600) / 6,  # in steps
        lambda t: 40 * MIB + 12 * MIB * (t % 120 < 60) * t / 3600 + 4 * MIB * t / 3600,  # a saw that rises
    ],
)
def test_what_grows_is_not(rss: Any) -> None:
    found = soak(rss)
    trends = judge(found)
    assert [trend.name for trend in trends if not trend.flat] == ["client: resident"]
    assert not ok(found, trends)
    assert "GROWS" in render(found, trends)


@pytest.mark.parametrize(
    "ends", [{"unanswered": 1}, {"unexpected": {"echo: JobTimeout": 1}}, {"left": 1}], ids=["open", "other", "left"]
)
def test_a_lost_job_is_not_ok(ends: dict[str, Any]) -> None:
    found = soak(flat, **ends)
    assert not ok(found, judge(found))


def test_a_run_that_was_broken_off_is_not_ok() -> None:
    found = soak(flat)
    found.footer = None
    assert not ok(found, judge(found))
    assert "broken off" in render(found, judge(found))
    assert not ok(found, [])


def test_descriptors_and_keys_are_judged_too() -> None:
    found = soak(flat)
    grown = [
        Sample(
            t=one.t,
            processes={"client": Measured(pid=1, rss=40 * MIB, fds=8 + int(one.t) // 400)},
            used_memory=one.used_memory + int(one.t * 2000),
            keys=int(one.t),
            lists=one.lists,
            latency=one.latency,
            submitted=one.submitted,
            outstanding=one.outstanding,
        )
        for one in found.samples
    ]
    found.samples = grown
    assert {trend.name for trend in judge(found) if not trend.flat} == {
        "client: descriptors",
        "redis: used_memory",
        "redis: keys",
    }


def test_the_slope_of_a_line_is_its_slope() -> None:
    assert theil_sen([(float(x), 3.0 * x + 1) for x in range(50)]) == pytest.approx(3.0)
    assert theil_sen([(1.0, 1.0)]) == 0.0
    assert BOUND == 2 * MIB


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = soak(flat)
    path = tmp_path / "soak.jsonl"
    assert found.footer is not None
    event = Event(t=7.0, what="connection cut", whom="client <&>")
    path.write_bytes(b"".join(encode(line) for line in (found.header, *found.samples, event, found.footer)))
    again = collect(read_samples(path))
    found.events = [event]
    assert again == found
    with pytest.raises(ValueError, match="no header"):
        collect([])


def test_the_command_judges_and_draws_what_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, graph = tmp_path / "soak.jsonl", tmp_path / "soak.svg"
    for rss, status in ((flat, Exit.CONFORMANT), (lambda t: 40 * MIB + 3000 * t, Exit.NOT_CONFORMANT)):
        found = soak(rss)
        assert found.footer is not None
        path.write_bytes(b"".join(encode(line) for line in (found.header, *found.samples, found.footer)))
        assert main(["soak", "--again", "--samples", str(path), "--graph", str(graph)]) == status
    root = ET.fromstring(graph.read_text())
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) > 10
    assert "GROWS" in capsys.readouterr().out
    path.write_text("not samples\n")
    assert main(["soak", "--again", "--samples", str(path)]) == Exit.ENVIRONMENT


def test_latencies_are_forgotten_once_they_were_looked_at() -> None:
    latencies = Latencies()
    for number in range(1000):
        latencies.add(number / 1000)
    assert latencies.take() == (500.0, 990.0, 999.0)
    assert latencies.take() is None


def test_the_load_has_everything_in_it() -> None:
    load = Load(1, hard=0.5)
    drawn = [load.next() for _ in range(3000)]
    assert {job.kind for job in drawn} == {*EASY, *HARD}
    sizes = [len(str(job.value)) for job in drawn]
    assert min(sizes) < 100
    assert max(sizes) > 400_000
    assert [job.data for job in drawn] == [Load(1, hard=0.5).next().data, *[job.data for job in drawn[1:]]]
