"""The linter of live traffic: each command and reply once, as it passes, in the light of those before it.

It uses the rules of :mod:`rules.forms`, as the check of whole cases does, and adds the checks that need time: the
order of events, and events that never came. It raises nothing, whatever passes, and does not judge traffic that it
cannot follow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from jobwire_conformance.record.readable import shown
from jobwire_conformance.record.resp import RespError
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.rules import strict
from jobwire_conformance.rules.client import deletes, looks, pairs_of, push_refused, pushes, submits, writes
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.rules.jobs import Due
from jobwire_conformance.rules.links import Answer, Pushed, Sent, Tapped
from jobwire_conformance.rules.scripts import script_name
from jobwire_conformance.rules.steps import Role
from jobwire_conformance.rules.watch import CHANNEL, JOB, Watch
from jobwire_conformance.rules.worker import (
    completes,
    pops,
    publishes,
    reads_hash,
    removes,
    runs_script,
    script_answered,
    starts,
    takes,
)

__all__ = ["Linter"]

_POPPING = rules.POPS | {"RPOPLPUSH", "LMOVE", "RPOP", "LPOP"}
_EXPIRING = frozenset({"EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"})
_SUBSCRIBING = frozenset({"SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "RESET"})
_WRONG_TYPE = frozenset({"SET", "SETEX", "LPUSH", "RPUSH", "SADD", "APPEND", "INCR"})
_READING = frozenset({"LLEN", "LRANGE", "HGETALL", "SCAN", "LPOS", "TYPE", "KEYS", "LINDEX", "HMGET", "HGET", "EXISTS"})
#: The ordinary answers of Redis.
_ORDINARY = frozenset({b"NOSCRIPT", b"UNBLOCKED", b"MOVED", b"ASK", b"TRYAGAIN", b"NOPROTO"})


class Linter:
    """Told of everything that passes; its flags are collected with :meth:`.Watch.taken_flags`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._command: dict[str, Callable[[Tapped, Sent, tuple[bytes, ...]], None]] = {
            "HMSET": self._hash_set,
            "HSET": self._hash_set,
            "LPUSH": self._push,
            "RPUSH": self._push,
            "PUBLISH": self._publish,
            "LREM": lambda link, _sent, words: removes(self.watch, link, words),
            "DEL": lambda link, _sent, words: deletes(self.watch, link, words[1:]),
            "UNLINK": lambda link, _sent, words: deletes(self.watch, link, words[1:]),
            "EVAL": self._script,
            "EVALSHA": self._script,
        }

    # --- commands -----------------------------------------------------------------------------

    def command(self, link: Tapped, sent: Sent, words: tuple[bytes, ...]) -> None:
        """A command has passed (``sent`` holds its kept part)."""
        name = sent.name
        link.role = _role(self.watch, link, name, words)
        self._connection(link, name, words)
        strict.belongs(self.watch, link, name, words)
        if name in _POPPING:
            pops(self.watch, link, name, words, inside=sent.inside)
        elif name in _EXPIRING and words[1:2] and words[1].startswith(JOB):
            breach = Breach("KEY-9", "a job hash is given a time to live", "none, unless its operator wants it", name)
            self.watch.flag(link, breach, key=words[1], job=words[1].removeprefix(JOB))
        elif name in _WRONG_TYPE and words[1:2] and words[1].startswith(JOB):
            self.watch.flag(link, Breach("KEY-1", "a job key that is no hash", "HMSET", name), key=words[1])
        handler = self._command.get(name)
        if handler is not None:
            handler(link, sent, words)

    def _connection(self, link: Tapped, name: str, words: tuple[bytes, ...]) -> None:
        if name in rules.SETUP or not words:
            return
        if name not in _SUBSCRIBING and any(channel.startswith(CHANNEL) for channel in link.channels):
            self.watch.flag(link, Breach("CON-1", "a subscribed connection carries more", "SUBSCRIBE alone", name))
        if link.popped and name not in _POPPING:
            self.watch.flag(link, Breach("CON-2", "the connection of blocking pops carries more", "pops alone", name))
            link.popped = False  # said once
        elif name in rules.POPS and link.role == "worker":
            link.popped = True

    def _hash_set(self, link: Tapped, _sent: Sent, words: tuple[bytes, ...]) -> None:
        if len(words) < 4:
            return
        key, fields = words[1], rules.fields_of(words[2:])
        if not key.startswith(JOB):
            self._prefixed(link, key)
            return
        if writes(fields):
            submits(self.watch, link, key, fields)
            return
        if b"result" in fields:
            completes(self.watch, link, key, fields)
        elif b"_started" in fields:
            starts(self.watch, link, key, self.watch.jobs.add(key.removeprefix(JOB)), fields)

    def _prefixed(self, link: Tapped, key: bytes) -> None:
        prefix, separator, job_id = key.partition(b"::" + JOB)
        if separator and (self.watch.prefix_of(link) in (None, prefix)):
            self.watch.flag(
                link, Breach("KEY-2", "a prefix on the key of a job", "job::…", shown(key)), key=key, job=job_id
            )

    def _push(self, link: Tapped, sent: Sent, words: tuple[bytes, ...]) -> None:
        if len(words) > 2:
            pushes(self.watch, link, sent.name, words[1], words[2:])

    def _publish(self, link: Tapped, _sent: Sent, words: tuple[bytes, ...]) -> None:
        if len(words) == 3:
            publishes(self.watch, link, words[1], words[2])

    def _script(self, link: Tapped, _sent: Sent, words: tuple[bytes, ...]) -> None:
        name = script_name(words)
        if name is not None:
            runs_script(self.watch, link, name, words)

    # --- replies ----------------------------------------------------------------------

    def received(self, link: Tapped, value: Any) -> None:
        """A frame from Redis has passed."""
        for received in link.hears(value):
            if isinstance(received, Pushed):
                self.pushed(link, received)
            else:
                self.answer(link, received)

    def answer(self, link: Tapped, answer: Answer) -> None:
        """A reply has passed."""
        sent, value = answer
        if sent is None or (sent.name in {"MULTI", "EXEC", "DISCARD"} and not isinstance(value, RespError)):
            return
        if isinstance(value, RespError):
            self._refused(link, sent, value)
            return
        if sent.name in {"EVAL", "EVALSHA"}:
            name = script_name(sent.words)
            if name is not None:
                script_answered(self.watch, link, name, sent.words, value)
        elif len(sent.words) > 1 and sent.words[1].startswith(JOB):
            self._hash_answered(link, sent, value)
        else:
            self._popped(link, sent, value)

    def _popped(self, link: Tapped, sent: Sent, value: Any) -> None:
        words = sent.words
        match sent.name:
            case "BRPOPLPUSH" | "RPOPLPUSH" | "BLMOVE" | "LMOVE" if len(words) > 2 and isinstance(value, bytes):
                if not _is_processing(words[1]):
                    takes(self.watch, link, words[1], words[2], value)
            case "BRPOP" if isinstance(value, list) and len(value) == 2 and isinstance(value[1], bytes):
                takes(self.watch, link, value[0], None, value[1])
            case "RPOP" if isinstance(value, bytes) and len(words) == 2:
                takes(self.watch, link, words[1], None, value)

    def _hash_answered(self, link: Tapped, sent: Sent, value: Any) -> None:
        words = sent.words
        if sent.name == "HGETALL" and len(words) == 2:
            reads_hash(self.watch, link, words[1], pairs_of(value))
        elif sent.name in {"HMGET", "HGET"} and len(words) > 2:
            looks(self.watch, link, words[1], words[2:], value if isinstance(value, list) else [value])

    def _refused(self, link: Tapped, sent: Sent, error: RespError) -> None:
        code = error.message.split(b" ", 1)[0]
        if code in _ORDINARY or link.role in ("", "other"):
            return
        if sent.name == "LPUSH":
            for job_id in sent.words[2:]:
                push_refused(self.watch, job_id)
        requirement = "CON-5"
        if code == b"WRONGTYPE":
            requirement = "ERR-10" if sent.name in {"HGETALL", "HMSET"} else "QUE-1"
        elif link.role == "client" and sent.name in {"HMSET", "LPUSH", "EXEC"}:
            requirement = "SUB-12"
        key = sent.words[1] if len(sent.words) > 1 and sent.name != "EXEC" else b""
        what = f"Redis refuses {sent.name}"
        self.watch.flag(link, Breach(requirement, what, "no error", error_text(error)), key=key)

    def pushed(self, link: Tapped, pushed: Pushed) -> None:
        """A message or a confirmation has passed."""
        value = pushed.value
        if pushed.kind == b"subscribe" and len(value) == 3 and isinstance(value[1], bytes):
            self.watch.listens(link, value[1])
        elif pushed.kind == b"message" and len(value) == 3 and link.role == "client":
            _, channel, payload = value
            if isinstance(channel, bytes) and isinstance(payload, bytes) and channel.startswith(CHANNEL):
                self._noticed(payload)

    def _noticed(self, payload: bytes) -> None:
        job = self.watch.jobs.get(payload)
        if job is not None:
            job.noticed = True

    def broken(self, link: Tapped, direction: str, reason: str, raw: bytes) -> None:
        """Bytes that are not RESP have passed."""
        link.loses_track()
        if direction == ">" and b"$\r\n" in raw:
            breach = Breach("NUM-7", "null as a bulk string without a length", "no such field", "$ CR LF")
        else:
            who = "the peer" if direction == ">" else "Redis"
            breach = Breach("RESP", f"{who} sends bytes that are not RESP", "RESP", reason)
        self.watch.flag(link, breach)

    # --- time ---------------------------------------------------------------------------------

    def tick(self, links: dict[int, Tapped]) -> None:
        """Flag the duties that time has made overdue."""
        for due in self.watch.jobs.overdue(self.watch.now):
            self._missed(due, links.get(due.connection) or Tapped(due.connection))

    def end(self, links: dict[int, Tapped], *, least: float = 1.0, forgiven: Collection[str] = ()) -> None:
        """Nothing more will come: flag open duties on connections that have ended, or open for ``least`` seconds.

        ``forgiven`` are steps that need not have followed.
        """
        for job_id, breach in strict.unfulfilled(self.watch):
            self.watch.flag(Tapped(0, role="client"), breach, job=job_id)
        for due in self.watch.jobs.outstanding():
            if due.step in forgiven:
                continue
            link = links.get(due.connection)
            if link is None or link.ends or self.watch.now - due.since >= least:
                self._missed(due, link or Tapped(due.connection))

    def _missed(self, due: Due, link: Tapped) -> None:
        job = due.job
        closed = ", and its connection closed" if link.ends else ""
        waited = f"nothing for {self.watch.now - due.since:.1f} s{closed}"
        key = JOB + job.id
        match due.step:
            case "hash":
                breach = Breach("SUB-1", "an ID whose hash nobody has seen", "HMSET, LPUSH", "LPUSH alone")
                key = job.queue or b""
            case "notice":
                breach = Breach("CMP-7", "a result without a notice", "PUBLISH client::…", waited)
                job.noticed = True
            case "removal":
                breach = Breach("CMP-2", "a finished job stays in the processing queue", "LREM … 1 <ID>", waited)
                key = job.processing or b""
                job.removed = True
            case "deletion":
                breach = Breach("NOT-3", "a hash stays whose result was read", "DEL", waited)
                job.collected = True
        self.watch.flag(link, breach, key=key, job=job.id)
        if job.noticed and (job.removed or job.processing is None) and job.collected:
            self.watch.jobs.finish(job.id)


def error_text(error: RespError) -> str:
    """An error of Redis without the arguments that it quotes (they can hold passwords)."""
    return shown(error.message.partition(b", with args beginning with")[0], 160)


def _is_processing(key: bytes) -> bool:
    return b"processing" in key.split(b"::")


def _role(watch: Watch, link: Tapped, name: str, words: tuple[bytes, ...]) -> Role:
    """The role of its sender that this command shows; a certain one stays."""
    if link.role in ("client", "worker"):
        return link.role
    key = words[1] if len(words) > 1 else b""
    certain = _certain_role(watch, name, key, words)
    if certain:
        return certain
    if name in {"MONITOR", "PSUBSCRIBE"}:
        return "monitor"
    about_jobs = key.startswith(JOB) or watch.jobs.knows_queue(key)
    if name in _READING and (about_jobs or name in {"SCAN", "KEYS", "LLEN", "LRANGE"}):
        return link.role or "monitor"
    if name in rules.SETUP or about_jobs or name in {"MULTI", "EXEC", "SCRIPT", "DEL", ""}:
        return link.role
    return link.role or "other"


def _certain_role(watch: Watch, name: str, key: bytes, words: tuple[bytes, ...]) -> Role:
    role: Role = ""
    if key.startswith(JOB):
        role = _role_by_hash(watch, name, key, words)
    elif name in {"SUBSCRIBE", "PUBLISH"} and key.startswith(CHANNEL):
        role = "client" if name == "SUBSCRIBE" else "worker"
    elif name in _POPPING:
        queue = watch.jobs.knows_queue(key) or key.endswith(b"pending") or _is_processing(words[-1])
        role = "worker" if queue else ""
    elif name in {"EVAL", "EVALSHA"}:
        script = script_name(words)
        role = "" if script is None else "client" if script in {"WITHDRAW", "CALL_OFF"} else "worker"
    elif name == "LRANGE" and b"processing::" in key:
        role = "worker"  # the rest of its own list
    elif name == "LPUSH" and len(words) > 2:
        job = watch.jobs.get(words[2])
        if (job is not None or words[2][:1] == b"{") and watch.is_queue(key, b""):
            role = "worker" if job is not None and job.submitted_on is None else "client"
    return role


def _role_by_hash(watch: Watch, name: str, key: bytes, words: tuple[bytes, ...]) -> Role:
    job = watch.jobs.get(key.removeprefix(JOB))
    match name:
        case "HMSET" | "HSET":
            return "client" if writes(rules.fields_of(words[2:])) else "worker"
        case "HMGET" | "HGET" if words[2:] == (b"result",):
            return "client"
        case "HGETALL" if job is not None and job.taken_on is not None and job.result_on is None:
            return "worker"
        case "DEL" | "UNLINK":
            return ""
    return ""
