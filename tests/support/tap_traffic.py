"""For the tests of ``jobwire tap``: traffic made of commands and replies, and what was flagged in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobwire_conformance.record.resp import Decoder, pack
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.rules.jobs import JobTable
from jobwire_conformance.rules.steps import Flag, Step
from jobwire_conformance.rules.watch import Watch
from jobwire_conformance.tap.follow import Follower

CLIENT, WORKER, POPPING, LISTENING = 1, 2, 3, 4
JOB = b"863cee08-5ff9-4617-bfff-a9d8d3397b66"
OWNER = b"0e24088a-9688-46f2-1631-8378456bfe18"
NOW = b"1795434940.83741"


class Traffic:
    """A system of one client and one worker, told of step by step."""

    def __init__(self, *, values: bool = False, patience: float = 5.0, **told: Any) -> None:
        table = told.pop("jobs", None)
        table = JobTable(patience=patience) if table is None else table
        self.follower = Follower(Watch(jobs=table, values=values, **told), values=values)
        self.steps: list[Step] = []
        self.t = 0.0

    @property
    def flags(self) -> list[Flag]:
        return [flag for step in self.steps for flag in step.flags]

    @property
    def flagged(self) -> list[str]:
        return [flag.requirement for flag in self.flags]

    def send(self, connection: int, *words: bytes, reply: bytes = b"+OK\r\n") -> list[Step]:
        """A command and its reply (raw bytes)."""
        steps = self.sent(connection, *words)
        return steps + self.heard(connection, reply) if reply else steps

    def sent(self, connection: int, *words: bytes) -> list[Step]:
        return self._frames(connection, ">", pack(words))

    def heard(self, connection: int, raw: bytes) -> list[Step]:
        return self._frames(connection, "<", raw)

    def _frames(self, connection: int, direction: Any, raw: bytes) -> list[Step]:
        self.t += 0.001
        found = [
            step for frame in Decoder().feed(raw) for step in self.follower.frame(self.t, connection, direction, frame)
        ]
        self.steps += found
        assert self.follower.faults == 0
        return found

    def wait(self, seconds: float) -> None:
        self.t += seconds
        self.steps += self.follower.tick(self.t)

    def end(self) -> list[str]:
        self.steps += self.follower.end(self.t)
        return self.flagged

    # --- an exchange in which nothing is wrong, in pieces -------------------------------------

    def listen(self) -> None:
        channel = b"client::" + OWNER
        self.send(LISTENING, b"SUBSCRIBE", channel, reply=b"*3\r\n" + bulk(b"subscribe") + bulk(channel) + b":1\r\n")

    def write(self, *fields: bytes, owner: bytes = OWNER) -> None:
        self.send(CLIENT, b"HMSET", b"job::" + JOB, b"_reply_to", owner, b"_queued", NOW, *fields)

    def push(self, queue: bytes = b"jobs::pending") -> None:
        self.send(CLIENT, b"LPUSH", queue, JOB, reply=b":1\r\n")

    def submit(self, *fields: bytes) -> None:
        self.listen()
        self.write(*(fields or (b"text_op", b"echo")))
        self.push()

    def take(self, *fields: bytes) -> None:
        self.send(POPPING, b"BRPOPLPUSH", b"jobs::pending", b"jobs::processing", b"3", reply=bulk(JOB))
        held = [b"_reply_to", OWNER, b"_queued", NOW, *(fields or (b"text_op", b"echo"))]
        self.send(WORKER, b"HGETALL", b"job::" + JOB, reply=array(held))
        self.send(WORKER, b"HMSET", b"job::" + JOB, b"_started", NOW)

    def finish(self, result: bytes = b"Tdone") -> None:
        self.send(WORKER, b"HMSET", b"job::" + JOB, b"_processed", NOW, b"result", result)

    def announce(self, channel: bytes = b"client::" + OWNER) -> None:
        self.send(WORKER, b"PUBLISH", channel, JOB, reply=b":1\r\n")

    def remove(self, *words: bytes) -> None:
        self.send(WORKER, *(words or (b"LREM", b"jobs::processing", b"1", JOB)), reply=b":1\r\n")

    def collect(self, result: bytes = b"Tdone") -> None:
        self.send(5, b"HMGET", b"job::" + JOB, b"result", reply=array([result]))
        self.send(5, b"DEL", b"job::" + JOB, reply=b":1\r\n")


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def array(values: Iterable[bytes]) -> bytes:
    items = list(values)
    return b"*%d\r\n" % len(items) + b"".join(map(bulk, items))


def flags_in(events: list[Event], **told: Any) -> list[Flag]:
    """What is flagged in a recording, to its end."""
    follower = Follower(Watch(**told), values=False)
    flags: list[Flag] = []
    for event in events:
        for step in (*follower.tick(event.t), *follower.event(event)):
            flags += step.flags
    for step in follower.end(events[-1].t if events else 0.0):
        flags += step.flags
    assert follower.faults == 0
    return flags
