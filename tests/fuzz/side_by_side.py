"""Compiled and plain code side by side on structured input: the same value, or the same refusal.

    python tests/fuzz/side_by_side.py --count 100000 --seed 7
    python tests/fuzz/side_by_side.py --leaks 1000000

``tests/fuzz/sanitized.py`` runs this with the compiled code under AddressSanitizer. Sereal documents are read; values
are written as documents and as results; job hashes, results and replies are read; commands are packed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import random
import reprlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent))

from structures import Documents, Jobs, Values

from jobwire import fast
from jobwire.errors import JobwireError, SerealDecodeError, ServerError
from jobwire.limits import Limits
from jobwire.sereal import PerlObject, PerlRegexp, ScalarRef, dumps, loads
from jobwire.transport.outbox import new_outbox
from jobwire.wire import DIALECTS, Keyspace, Reliable, Submission, Success, Taken

POLICIES = ("auto", "auto", "exact", "latin-1", "utf-8", "bytes")
LIMITS = (
    *[Limits(max_inflated=1 << 16, max_items=10_000, accept_newer=True)] * 12,
    Limits(max_depth=3, max_items=10_000),
    Limits(max_items=6),
    Limits(max_inflated=12, max_items=10_000),
    Limits(max_bytes=40, max_items=10_000, max_fields=2),
    Limits(max_items=2**70, max_depth=2**70),
)
TAKEN = Taken(b"jobs::pending", b"j\xff")
PARTS: tuple[Literal["sereal", "wire"], ...] = ("sereal", "wire")
SLOW = 20.0
"""Seconds that no single input may take."""
Thunk = Callable[[], Any]


def parts(value: Any) -> list[Any] | None:
    """What a value is made of, keys in their order; None for a leaf."""
    kind = type(value)
    if kind is dict:
        return [item for pair in value.items() for item in pair]
    if kind in (list, tuple):
        return list(value)
    if kind is ScalarRef:
        return [value.value]
    if kind is PerlObject:
        return [value.class_name, value.frozen, value.value]
    if kind is PerlRegexp:
        return [value.pattern, value.flags]
    return None


def same(one: Any, other: Any) -> bool:
    """Equal, type by type and place by place, with the same things shared."""
    left = [(one, other)]
    seen: dict[int, int] = {}
    back: dict[int, int] = {}
    while left:
        one, other = left.pop()
        if type(one) is not type(other):
            return False
        inner = parts(one)
        if inner is None:
            if one != other and not (type(one) is float and math.isnan(one) and math.isnan(other)):
                return False
            if type(one) is float and math.copysign(1, one) != math.copysign(1, other):
                return False
            continue
        if id(one) in seen or id(other) in back:
            if seen.get(id(one)) != id(other):
                return False
            continue
        if one != ():
            seen[id(one)], back[id(other)] = id(other), id(one)
        others = parts(other)
        assert others is not None
        if len(inner) != len(others):
            return False
        left += zip(inner, others, strict=True)
    return True


def outcome(work: Thunk) -> tuple[str, Any]:
    """``read`` and the value, or ``refused`` and why. Anything else escapes."""
    try:
        return "read", work()
    except SerealDecodeError as error:
        refused = error

    except (JobwireError, ServerError) as error:
        return "refused", (type(error), str(error))
    assert refused.offset is not None
    assert 0 <= refused.offset <= len(refused.raw or b"")
    return "refused", (str(refused), refused.offset, refused.tag)


def compare(work: Thunk) -> str:
    """``read`` or ``refused``; ``AssertionError`` where the two codes do not agree, or take too long."""
    began = time.process_time()
    fast.turn_on()
    verdict, compiled = outcome(work)
    fast.turn_off()
    plain_verdict, plain = outcome(work)
    fast.turn_on()
    if verdict != plain_verdict or not same(compiled, plain):
        raise AssertionError(
            f"compiled: {verdict} {reprlib.repr(compiled)}, plain: {plain_verdict} {reprlib.repr(plain)}"
        )
    assert time.process_time() - began < SLOW, "too slow"
    return verdict


def replaced(found: PerlObject) -> object:
    """An application's hook: some objects stay, others become something else."""
    return found if found.class_name == "Foo" else [found.class_name]


class Works:
    """Inputs drawn from one seed, as (kind, what reads or writes it, how it is shown where that fails)."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.documents = iter(Documents(seed))
        self.values = Values(seed)
        self.jobs = Jobs(seed)

    def document(self) -> tuple[str, Thunk, object]:
        draw, document = self.random.random, next(self.documents)
        options: dict[str, Any] = {
            "strings": POLICIES[int(draw() * len(POLICIES))],
            "limits": LIMITS[int(draw() * len(LIMITS))],
            "object_hook": replaced if draw() < 0.1 else None,
        }
        return "document", lambda: loads(document, with_header=True, **options), f"{document.hex()} {options}"

    def other(self) -> tuple[str, Thunk, object]:
        return self.random.choice(
            (self.written, self.job, self.result, self.submission, self.completion, self.packed)
        )()

    def _mode(self) -> Reliable:
        rand = self.random
        strings: Any = rand.choice(POLICIES) if rand.random() < 0.2 else "auto"
        return Reliable(
            Keyspace("jobs"),
            dialect=rand.choice([None, *DIALECTS.values()]),
            own_list=True,
            processing=b"own",
            strings=strings,
            nested=rand.choice(["sereal", "json"]),
            limits=rand.choice(LIMITS[:-1]),  # the last one lets a value within itself be written without an end
        )

    def written(self) -> tuple[str, Thunk, object]:
        value, rand = self.values.value(), self.random
        options: dict[str, Any] = {"version": rand.randrange(1, 6), "share_keys": rand.random() < 0.7}
        strings: Any = rand.choice(POLICIES)

        def work() -> Any:
            document = dumps(value, limits=Limits(max_depth=2000), **options)
            return document, loads(document, strings=strings, limits=Limits(max_depth=2000))

        return "value written", work, (value, options)

    def job(self) -> tuple[str, Thunk, object]:
        mode, reply = self._mode(), self.jobs.reply()

        def work() -> Any:
            (job,) = mode.jobs([TAKEN.entry], [reply])
            job = mode.read(TAKEN, reply) if job is NotImplemented else job
            return None if job is None else {
                name: getattr(job, name) for name in
                ("id", "data", "reply_to", "queued", "started", "processed", "meta", "result")
            }  # fmt: skip

        return "job", work, reply

    def result(self) -> tuple[str, Thunk, object]:
        mode, raw = self._mode(), self.jobs.result()

        def work() -> Any:
            (value,) = mode.values([[raw]])
            found = mode.collected(b"j", [raw]) if value is NotImplemented else Success(value)
            return found.value if isinstance(found, Success) else repr(found)

        return "result", work, raw

    def _data(self, *, cyclic: bool = False) -> Any:
        if self.random.random() < 0.5:
            return {self.values.key(): self.values.leaf() for _ in range(self.random.randrange(4))}
        return {"a": self.values.value(cyclic=cyclic), "b": "text"}

    def submission(self) -> tuple[str, Thunk, object]:
        mode, rand, data = self._mode(), self.random, self._data()
        meta = {rand.choice(["_accept", "_expires", "x", "a\n"]): rand.choice(["E,V", "é", "\ud800", ""])
                for _ in range(rand.randrange(3))}  # fmt: skip
        submission = Submission(id=b"j", data=data, reply_to=b"c", queued=rand.choice(TIMES), meta=meta)
        return "submission", lambda: mode.submit(submission, b"q"), (data, meta)

    def completion(self) -> tuple[str, Thunk, object]:
        mode, rand = self._mode(), self.random
        # Of what stands within itself few: a result is counted level by level, which takes its time.
        value = self._data(cyclic=rand.random() < 0.02)
        if rand.random() < 0.5:
            value = self.values.leaf()
        accept = rand.choice([[], [b"_accept", b"E,V"], [b"_accept", b"V"]])
        started, at = rand.choice(TIMES), rand.choice(TIMES)

        def work() -> Any:
            job = mode.read(TAKEN, [b"_reply_to", b"c", b"_queued", b"1.5", *accept])
            assert job is not None
            return mode.complete(job, TAKEN, Success(value), started=started, at=at)

        return "completion", work, value

    def packed(self) -> tuple[str, Thunk, object]:
        rand = self.random
        batches = [
            [tuple(rand.randbytes(rand.choice([0, 1, 9, 10, 99, 100, 5000])) for _ in range(rand.randrange(1, 12)))
             for _ in range(rand.randrange(4))] for _ in range(rand.randrange(4))
        ]  # fmt: skip

        def work() -> Any:
            outbox = new_outbox()
            counts = [outbox.add(batch) for batch in batches]
            return counts, len(outbox), outbox.take(), outbox.take()

        return "commands", work, batches


TIMES = (0.0, 1e9, 1e9 - 1e-7, 1795434940.123456, 7_999_999_999.999_999, 8e9, -1.5, float("inf"), float("nan"), 1.5e300)


def compiled_files() -> list[str]:
    """Where the compiled code comes from; empty where there is none."""
    return [f"{sys.modules[f'jobwire.{part}._speedups'].__file__}" for part in PARTS if fast.available(part)]


def drawn(seed: int) -> Iterator[tuple[str, Thunk, object]]:
    """Without an end: sixteen documents, then something else."""
    works = Works(seed)
    while True:
        for _ in range(16):
            yield works.document()
        yield works.other()


def run(*, count: int, seconds: float = math.inf, seed: int = 1) -> Counter[str]:
    """``count`` documents and what comes with them, no longer than ``seconds``: how many of each kind, by outcome."""
    totals: Counter[str] = Counter()
    end = time.monotonic() + seconds
    documents = 0
    for kind, work, shown in drawn(seed):
        try:
            totals[f"{kind} {compare(work)}"] += 1
        except BaseException:
            print(
                f"seed {seed}, document {documents}: {kind} {shown if isinstance(shown, str) else reprlib.repr(shown)}",
                file=sys.stderr,
            )
            raise
        documents += kind == "document"
        if kind == "document" and documents % 500_000 == 0:
            print(f"{documents} documents", file=sys.stderr, flush=True)
        if documents >= count or time.monotonic() > end:
            break
    return totals


_MALLINFO2 = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2.split()]


def bytes_in_use() -> int:
    """All memory that the C library has given out; ``OSError`` where it cannot tell. Needs PYTHONMALLOC=malloc."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        raise OSError("this C library has no mallinfo2")
    ask.restype = _Mallinfo2
    gc.collect()
    found = ask()
    return int(found.uordblks + found.hblkhd)


def leaked(calls: int, seed: int = 1, *, kinds: int = 400) -> float:
    """Bytes a call that stay when some hundreds of inputs are read and written by compiled code again and again.

    The least of five stretches: what leaks does so in each, while a cache that grows is done with it at some time.
    """
    works = [work for (_, work, _), _ in zip(drawn(seed), range(kinds), strict=False)]
    fast.turn_on()
    number = max(1, calls // kinds // 5)
    marks = []
    for _ in range(6):
        for _ in range(number):
            for work in works:
                outcome(work)
        marks.append(bytes_in_use())
    return min(after - before for before, after in pairwise(marks)) / (number * kinds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="documents")
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--leaks", type=int, metavar="CALLS", help="instead: bytes a call that are never given back")
    options = parser.parse_args()
    print(f"compiled: {', '.join(compiled_files())}", flush=True)
    began = time.monotonic()
    if options.leaks:
        print(f"{options.leaks} calls: {leaked(options.leaks, options.seed):.4f} bytes a call stay")
        return
    totals = run(count=options.count, seconds=options.seconds, seed=options.seed)
    print(f"{sum(totals.values())} inputs, seed {options.seed}, {time.monotonic() - began:.0f} s")
    for kind, number in sorted(totals.items()):
        print(f"  {kind}: {number}")


if __name__ == "__main__":
    main()
