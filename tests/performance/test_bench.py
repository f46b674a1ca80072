"""The parts of ``python -m bench`` that decide what its numbers mean."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from typing import Any

import pytest

from bench.peers import closed_loop


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    def ended(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", ended)
    return argparse.Namespace(rate=200.0, warmup=0.2, seconds=0.5, concurrency=1)


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    measuring, line = capsys.readouterr().out.splitlines()
    assert measuring == "measuring"
    return dict(json.loads(line))


async def test_an_open_loop_goes_on_while_jobs_are_late(
    told: argparse.Namespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many are submitted as are due, and the latency counts from then."""
    begun: list[float] = []

    async def call(number: int) -> None:
        begun.append(time.perf_counter())
        await asyncio.sleep(0.1)

    with pytest.raises(SystemExit):
        await closed_loop.drive(call, told)
    found = said(capsys)
    assert len(begun) > 100, "a job at a time would be a handful"
    assert found["p50"] >= 0.1
    assert found["p999"] >= found["p99"] >= found["p50"]


def test_so_does_that_of_a_blocking_client(told: argparse.Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    submitted: list[int] = []

    def submit(number: int) -> int:
        submitted.append(number)
        return number + 7

    def result(handle: int) -> int:
        time.sleep(0.05)
        return handle

    with pytest.raises(SystemExit):
        closed_loop.drive_blocking(submit, result, told)
    assert len(submitted) > 100
    assert said(capsys)["p50"] >= 0.05
