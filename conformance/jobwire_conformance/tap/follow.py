"""From frames to steps: decodes the traffic of each connection, asks the linter, and reports both as :class:`.Step`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from jobwire_conformance.record.readable import shown
from jobwire_conformance.record.resp import Decoder, Frame, RespError
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.rules.client import pairs_of
from jobwire_conformance.rules.links import Answer, Pushed, Sent, Tapped
from jobwire_conformance.rules.linter import Linter, error_text
from jobwire_conformance.rules.scripts import completed, completions, script_name, script_words
from jobwire_conformance.rules.steps import Field, Flag, Step, Summary
from jobwire_conformance.rules.watch import JOB, Watch
from jobwire_conformance.rules.worker import MOVING, popped_keys
from jobwire_conformance.tap.fields import field_of, fields_read, members_read, result_read

__all__ = ["Follower", "is_secret"]

_HASH_WRITING = frozenset({"HMSET", "HSET"})
_SECRET = frozenset({"AUTH", "HELLO", "ACL", "MIGRATE"})
_ALWAYS_PLAIN = rules.SETUP | {"MULTI", "EXEC", "DISCARD", "SCRIPT", "READONLY", "RESET", "ASKING", ""}
#: Their replies say it all. Of the pops of a connection the first is shown, and then the jobs that they bring.
_ANSWERED = frozenset({"HGETALL", "HMGET", "HGET", "EXISTS"})
_TAKING = rules.POPS | {"RPOPLPUSH", "LMOVE", "RPOP", "LPOP"}


def is_secret(words: tuple[bytes, ...] | list[bytes]) -> bool:
    """Whether a command can hold a password: of such only the name is ever shown or kept."""
    if not words:
        return False
    name = words[0].upper()
    setting = name == b"CONFIG" and len(words) > 1 and words[1].upper() == b"SET"
    # A word that merely resembles AUTH may be a slip of somebody who typed a password.
    return setting or name.decode("latin-1") in _SECRET or b"AUTH" in name or b"PASS" in name


class Follower:
    """One per tap or per transcript. ``values``: whether steps may hold the values of jobs; ``steps``: which are made:
    ``all``, the ``telling`` ones (not plain), or the ``flagged`` ones alone; flagged steps always count.
    """

    def __init__(self, watch: Watch, *, values: bool, steps: Literal["all", "telling", "flagged"] = "all") -> None:
        self.watch = watch
        self.linter = Linter(watch)
        self.links: dict[int, Tapped] = {}
        self.commands = self.bytes = self.connections = self.faults = 0
        self.flags: dict[str, int] = {}
        self.values = values
        self._steps = steps
        self._gone: list[int] = []

    # --- connections --------------------------------------------------------------------------

    def opened(self, t: float, number: int, peer: str = "") -> Step:
        """A connection is there."""
        self.watch.now = t
        link = self._link(number)
        link.peer = peer
        return Step(t=t, kind="open", connection=number, peer=peer, role=link.role, plain=True)

    def closed(self, t: float, number: int, direction: Literal[">", "<", ""] = "") -> Step | None:
        """One side of a connection has ended (with the second it is forgotten); None for the second."""
        self.watch.now = t
        link = self._link(number)
        first = not link.ends
        link.ends.add(direction)
        if link.ends >= {">", "<"} or direction == "":
            # Its open duties may still be asked for; those of connections before the last thousand are not.
            self._gone.append(number)
            if len(self._gone) > 1000:
                self.links.pop(self._gone.pop(0), None)
        who = {">": "by the peer", "<": "by Redis"}.get(direction, "")
        return self._step(t, link, "close", about=who, plain=True) if first else None

    def _link(self, number: int) -> Tapped:
        link = self.links.get(number)
        if link is None:
            link = self.links[number] = Tapped(number)
            self.connections += 1
        return link

    # --- frames -------------------------------------------------------------------------------

    def frame(self, t: float, number: int, direction: Literal[">", "<"], frame: Frame) -> list[Step]:
        """One whole command or reply has passed. Raises nothing: an error of its own is counted as a fault."""
        self.watch.now = t
        self.bytes += len(frame.raw)
        link = self._link(number)
        try:
            if direction == ">":
                step = self._command(t, link, frame)
                return [] if step is None else [step]
            return [
                step for received in link.hears(frame.value) if (step := self._received(t, link, received)) is not None
            ]
        except Exception as error:
            # An observer must not fail on the traffic; the bytes have gone on their way.
            self.faults += 1
            self.watch.taken_flags()
            return [self._step(t, link, "command" if direction == ">" else "reply", about=f"tap failed: {error!r:.80}")]

    def broken(self, t: float, number: int, direction: Literal[">", "<"], reason: str, raw: bytes) -> list[Step]:
        """Bytes have passed that are not RESP; the connection cannot be followed any more."""
        self.watch.now = t
        link = self._link(number)
        self.linter.broken(link, direction, reason, raw)
        about = f"not followed any more: {reason}"
        return [self._step(t, link, "broken", direction=direction, about=about, size=len(raw))]

    def event(self, event: Event) -> list[Step]:
        """An event of a transcript."""
        side = event.direction
        if event.kind == "open":
            return [self.opened(event.t, event.connection)]
        if event.kind == "close":
            step = self.closed(event.t, event.connection, side)
            return [step] if step is not None else []
        if side == "":
            return []
        if event.kind == "broken":
            return self.broken(event.t, event.connection, side, str(event.value), event.raw)
        return [
            step for frame in Decoder().feed(event.raw) for step in self.frame(event.t, event.connection, side, frame)
        ]

    def tick(self, t: float) -> list[Step]:
        """Time has passed."""
        self.watch.now = t
        self.linter.tick(self.links)
        return self._left_over(t)

    def end(self, t: float, *, least: float = 1.0) -> list[Step]:
        """Nothing more will pass."""
        self.watch.now = max(t, self.watch.now)
        self.linter.end(self.links, least=least)
        return self._left_over(self.watch.now)

    def summary(self, seconds: float) -> Summary:
        """The totals of all traffic."""
        jobs = self.watch.jobs
        return Summary(
            seconds=round(seconds, 3),
            connections=self.connections,
            commands=self.commands,
            bytes=self.bytes,
            jobs_submitted=jobs.submitted,
            jobs_taken=jobs.taken,
            jobs_completed=jobs.completed,
            jobs_collected=jobs.collected,
            open_jobs=jobs.under_way,
            forgotten=jobs.forgotten,
            flags=dict(sorted(self.flags.items())),
            faults=self.faults,
            dialects=dict(sorted(self.watch.dialects.items())),
        )

    # --- steps --------------------------------------------------------------------------------

    def _left_over(self, t: float) -> list[Step]:
        steps = []
        for flag in self._flags():
            link = self.links.get(flag.connection) or Tapped(flag.connection, role=flag.role)
            steps.append(Step(t=t, kind="flag", connection=link.number, role=link.role, job=flag.job, flags=[flag]))
        return steps

    def _flags(self) -> list[Flag]:
        flags = self.watch.taken_flags()
        for flag in flags:
            self.flags[flag.requirement] = self.flags.get(flag.requirement, 0) + 1
        return flags

    def _step(self, t: float, link: Tapped, kind: Any, **facts: Any) -> Step:
        return Step(
            t=t, kind=kind, connection=link.number, peer=link.peer, role=link.role, flags=self._flags(), **facts
        )

    def _command(self, t: float, link: Tapped, frame: Frame) -> Step | None:
        value = frame.value
        # Anything but a list of strings is none of jobwire's commands; Redis answers it.
        words = tuple(word for word in value if isinstance(word, bytes)) if isinstance(value, list) else ()
        sent = link.sends(words)
        self.commands += 1
        self.linter.command(link, sent, words)
        plain = sent.name in _ALWAYS_PLAIN or sent.name in _ANSWERED or (sent.name in _TAKING and link.announced)
        link.announced = link.announced or sent.name in _TAKING
        if self._unasked(plain=plain):
            return None
        facts = self._facts_of(sent, words)
        return self._step(
            t, link, "command", direction=">", size=len(frame.raw), multi=sent.inside, plain=plain, **facts
        )

    def _unasked(self, *, plain: bool) -> bool:
        """Whether a step need not be made."""
        return (self._steps == "flagged" or (plain and self._steps == "telling")) and not self.watch.has_flags

    def _facts_of(self, sent: Sent, words: tuple[bytes, ...]) -> dict[str, Any]:
        """The parts of a step that describe a command."""
        name = sent.name
        told: dict[str, Any] = {"command": _command_name(sent)}
        if is_secret(words):
            return told | {"about": "(not shown)"}
        key = words[1] if len(words) > 1 else b""
        if name in _TAKING:
            told["keys"] = [shown(item) for item in (*popped_keys(name, words), *words[2:3] * (name in MOVING))]
        elif name in {"EVAL", "EVALSHA"}:
            told |= self._script_told(words)
        elif key.startswith(JOB) and name not in {"DEL", "UNLINK"}:
            told |= {"job": shown(key.removeprefix(JOB))}
            if name in _HASH_WRITING:
                told["fields"] = fields_read(rules.fields_of(words[2:]), values=self.values)
            elif name in {"HMGET", "HGET"}:
                told["about"] = " ".join(map(shown, words[2:8]))
        elif name in {"DEL", "UNLINK"} and key.startswith(JOB):
            told["job"] = shown(key.removeprefix(JOB))
            told["keys"] = [shown(item) for item in words[2:10]]
        elif name in {"LPUSH", "RPUSH", "PUBLISH", "LREM"} and len(words) > 2:
            told["keys"] = [shown(key)]
            told |= self._entry_told(words[-1]) if len(words) == 3 or name == "LREM" else {"about": _entries(words[2:])}
        else:
            told["keys"] = [shown(key)] if key else []
            if len(words) > 2:
                told["about"] = f"{len(words) - 2} more argument{'s' if len(words) > 3 else ''}"
        return told

    def _entry_told(self, entry: bytes) -> dict[str, Any]:
        """A queue entry or the payload of a message: an ID or an envelope; something else is not shown."""
        envelope = rules.envelope_of(entry)
        if envelope is not None and "id" in envelope:
            job = str(envelope["id"]).encode("utf-8", "surrogatepass")
            return {"job": shown(job), "fields": members_read(envelope, values=self.values)}
        if self.watch.jobs.get(entry) is not None or self.watch.jobs.was_finished(entry):
            return {"job": shown(entry)}
        return {"about": shown(entry) if self.values else f"{len(entry)} bytes"}

    def _script_told(self, words: tuple[bytes, ...]) -> dict[str, Any]:
        name = script_name(words)
        keys, given = script_words(words)
        told: dict[str, Any] = {"keys": [shown(key) for key in keys], "about": f"script {name or 'of another program'}"}
        done = completions(name, words)
        if len(done) == 1:
            told["job"] = shown(done[0].job)
            told["fields"] = fields_read(done[0].fields, values=self.values)
        elif done:
            told["about"] += f", {len(done)} jobs"
        elif name is not None and given and self.watch.jobs.get(given[0]) is not None:
            told["job"] = shown(given[0])
        return told

    # --- replies and messages -----------------------------------------------------------------

    def _received(self, t: float, link: Tapped, received: Answer | Pushed) -> Step | None:
        if isinstance(received, Pushed):
            return self._message(t, link, received)
        self.linter.answer(link, received)
        if self._unasked(plain=False):
            return None
        sent, value = received
        failed = isinstance(value, RespError)
        told = {} if sent is None or failed else self._reply_told(sent, value)
        plain = not told
        if self._unasked(plain=plain and not failed):
            return None
        facts: dict[str, Any] = {"direction": "<", "command": "" if sent is None else _command_name(sent)}
        if isinstance(value, RespError):
            return self._step(t, link, "reply", error=error_text(value), plain=link.role in ("", "other"), **facts)
        if sent is not None and sent.words[1:2] and sent.words[1].startswith(JOB):
            told.setdefault("job", shown(sent.words[1].removeprefix(JOB)))
        return self._step(t, link, "reply", plain=plain, **facts, **told)

    def _reply_told(self, sent: Sent, value: Any) -> dict[str, Any]:
        """The news in a reply; nothing where it was to be expected."""
        words, name = sent.words, sent.name
        if name in _TAKING and value is not None:
            return self._popped_told(name, words, value)
        if name == "HGETALL" and words[1:2] and words[1].startswith(JOB):
            fields = pairs_of(value)
            about = "" if fields else "no such hash"
            return {"fields": fields_read(fields, values=self.values), "about": about}
        if name in {"HMGET", "HGET"} and len(words) > 2 and words[1].startswith(JOB):
            return self._looked(words[2:], value if isinstance(value, list) else [value])
        if words and name in {"LREM", "PUBLISH", "DEL", "UNLINK"} and value == 0:
            zero = {"LREM": "nothing removed", "PUBLISH": "nobody listens"}.get(name, "nothing deleted")
            job = words[-1] if name in {"LREM", "PUBLISH"} else words[-1].removeprefix(JOB)
            return {"about": zero, "job": shown(job) if rules.envelope_of(job) is None else ""}
        return self._script_reply_told(words, value) if name in {"EVAL", "EVALSHA"} else {}

    def _script_reply_told(self, words: tuple[bytes, ...], value: Any) -> dict[str, Any]:
        name = script_name(words)
        jobs, codes = completed(name, words), value if isinstance(value, list) else [value]
        given_away = [shown(job) for job, code in zip(jobs, codes, strict=False) if code == 0]
        if given_away:
            return {"about": "nothing written: the job was given away", "job": given_away[0]}
        if name == "TAKE_MANY" and value:
            keys = [shown(key) for key in script_words(words)[0]]
            return {"keys": keys, "about": _entries(codes)}
        return {}

    def _popped_told(self, name: str, words: tuple[bytes, ...], value: Any) -> dict[str, Any]:
        queue, entry = (value[0], value[-1]) if isinstance(value, list) and value else (words[-1], value)
        if len(words) > 1 and not isinstance(value, list):
            queue = words[1]
        if not (isinstance(queue, bytes) and isinstance(entry, bytes)):
            return {}
        # Where it went, of pops that move.
        moved = words[2:3] if name in MOVING else ()
        return {"keys": [shown(key) for key in (queue, *moved)], **self._entry_told(entry)}

    def _looked(self, names: tuple[bytes, ...], values: list[Any]) -> dict[str, Any]:
        fields: list[Field] = []
        for name, value in zip(names, values, strict=False):
            if isinstance(value, bytes):
                read = result_read(value, values=self.values) if name == b"result" else None
                fields.append(read or field_of(name, value, values=self.values))
        return {"fields": fields} if fields else {"about": "nothing there"}

    def _message(self, t: float, link: Tapped, pushed: Pushed) -> Step | None:
        self.linter.pushed(link, pushed)
        value = pushed.value
        if pushed.kind == b"monitor" or self._unasked(plain=False):
            return None
        facts: dict[str, Any] = {"direction": "<", "command": shown(pushed.kind, 40)}
        if len(value) > 1 and isinstance(value[1], bytes):
            facts["keys"] = [shown(value[1])]
        if pushed.kind == b"message" and len(value) == 3 and isinstance(value[2], bytes):
            facts |= self._entry_told(value[2])
            return self._step(t, link, "push", **facts)
        return self._step(t, link, "push", plain=True, **facts)


def _entries(entries: Sequence[Any]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _command_name(sent: Sent) -> str:
    """The name of a command; not even that where it resembles one that holds a password."""
    if is_secret(sent.words) and sent.name not in _SECRET | {"CONFIG"}:
        return "…"
    return shown(sent.name.encode("latin-1"))
