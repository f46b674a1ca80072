"""Sereal in Python (plain and compiled) beside Perl's XS codec, the standard library's json and msgspec.

    python bench/sereal.py            a table, times of one call and ratios to json
    python bench/sereal.py --profile  where plain Python spends its time

Every line reads or writes the same value. Perl is left out, with a word, where it has no Sereal.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import platform
import pstats
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sereal"))

import sereal_peer

from jobwire import fast
from jobwire.sereal import dumps, loads


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for level in range(levels):
        value = [value, level]
    return value


VALUES: dict[str, Any] = {
    "small job": {
        "_reply_to": "a1b2c3d4-e5f6-7890-abcd-ef0123456789",
        "params": {"name": "reverse", "args": ["please", 1, 2.5, None, True], "count": 17},
    },
    "100 records": [
        {
            "id": number,
            "name": f"user {number}",
            "email": f"user{number}@example.com",
            "active": number % 2 == 0,
            "score": number * 1.1,
            "tags": ["a", "b", "c"],
        }
        for number in range(100)
    ],
    "long strings": ["x" * 10_000, "é" * 5_000] * 5,
    "deep nesting": deep(200),
}


ROUNDS = 25
Works = tuple[Callable[[], object], Callable[[], object]]


def codecs(value: Any) -> dict[str, Works]:
    """Return the reader and the writer of ``value``, by codec."""
    text, document, packed = json.dumps(value), dumps(value), msgspec.json.encode(value)
    sereal_works: Works = (lambda: loads(document), lambda: dumps(value))
    return {
        "json": (lambda: json.loads(text), lambda: json.dumps(value)),
        "msgspec": (lambda: msgspec.json.decode(packed), lambda: msgspec.json.encode(value)),
        "plain Python": sereal_works,
        "compiled": sereal_works,
    }


def measured(value: Any, peer: sereal_peer.SerealPeer | None) -> dict[str, list[float]]:
    """Seconds of one call, (decode, encode) by codec: the best of many short rounds, the codecs taking turns, so that
    a busy spell of the machine hits all alike."""
    works = codecs(value)
    if not fast.available("sereal"):
        del works["compiled"]
    times = {name: [float("inf")] * 2 for name in works}
    if peer is not None:
        times["Perl XS"] = [float("inf")] * 2
    for _ in range(ROUNDS):
        for name, pair in works.items():
            (fast.turn_off if name == "plain Python" else fast.turn_on)()
            for index, work in enumerate(pair):
                times[name][index] = min(times[name][index], one_round(work))
        if peer is not None:
            found = perl_round(peer, dumps(value), times["json"][0])
            times["Perl XS"] = [min(pair) for pair in zip(times["Perl XS"], found, strict=True)]
    return times


def one_round(work: Callable[[], object], seconds: float = 0.01) -> float:
    timer = timeit.Timer(work)
    once = timer.timeit(1)
    number = max(1, int(seconds / once))
    return timer.timeit(number) / number


def perl_round(peer: sereal_peer.SerealPeer, document: bytes, guess: float) -> tuple[float, float]:
    times = max(5, int(0.005 / guess))
    found = peer.ask(cmd="time", document=document.hex(), times=times, options={"protocol_version": 3})
    return found["decode"] / times, found["encode"] / times


def rows(peer: sereal_peer.SerealPeer | None) -> dict[str, dict[str, list[float]]]:
    return {name: measured(value, peer) for name, value in VALUES.items()}


def show(table: dict[str, dict[str, list[float]]]) -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}; µs a call, in brackets the ratio to json\n")
    for index, what in enumerate(("decode", "encode")):
        names = list(next(iter(table.values())))
        print(f"| {what} | " + " | ".join(names) + " |")
        print("|---|" + "---:|" * len(names))
        for name, line in table.items():
            cells = [cell(times[index], line["json"][index]) for times in line.values()]
            print(f"| {name} | " + " | ".join(cells) + " |")
        print()


def cell(seconds: float, base: float) -> str:
    return f"{seconds * 1e6:.1f} ({seconds / base:.2f})"


def profile() -> None:
    fast.turn_off()
    value = VALUES["100 records"]
    document = dumps(value)
    for what, work in (("decode", lambda: loads(document)), ("encode", lambda: dumps(value))):
        print(f"== {what}, 100 records, plain Python")
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(100):
            work()
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    if parser.parse_args().profile:
        profile()
        return
    reason = sereal_peer.missing()
    if reason is not None:
        print(f"without Perl: {reason}", file=sys.stderr)
    if not fast.available("sereal"):
        print("without compiled code: install a C compiler, then ci/setup test", file=sys.stderr)
    peer = sereal_peer.SerealPeer() if reason is None else None
    try:
        show(rows(peer))
    finally:
        if peer is not None:
            peer.close()


if __name__ == "__main__":
    main()
