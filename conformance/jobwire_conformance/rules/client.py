"""The linter of live traffic: the side of the clients. A job is written, pushed, and collected."""

from __future__ import annotations

from typing import Any

from jobwire_conformance.record.readable import shown
from jobwire_conformance.record.resp import Map
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.rules import strict
from jobwire_conformance.rules.facts import shown_dialect, traits_of
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.rules.jobs import SeenJob
from jobwire_conformance.rules.links import Tapped
from jobwire_conformance.rules.watch import JOB, Watch

__all__ = ["collects", "deletes", "looks", "pushes", "reads", "submits", "writes"]

_MEMBERS = {"id", "_reply_to", "data"}


def writes(fields: dict[bytes, bytes]) -> bool:
    """Whether these are fields of a submission, and not those that a worker writes into the hash."""
    if b"_reply_to" in fields or b"_queued" in fields:
        return True
    return b"result" not in fields and any(not name.startswith(b"_") for name in fields)


def submits(watch: Watch, link: Tapped, key: bytes, fields: dict[bytes, bytes]) -> None:
    """The hash of a job is written."""
    job = watch.jobs.add(key.removeprefix(JOB))
    if watch.mode == "simple":
        watch.flag(link, Breach("SIM-6", "a job hash in mode simple", "an envelope", "HMSET"), key=key, job=job.id)
    if job.pushes and not job.hash and not job.envelope:
        breach = Breach("SUB-1", "the ID was pushed before the hash was written", "HMSET, LPUSH", "LPUSH, HMSET")
        watch.flag(link, breach, key=key, job=job.id)
    elif job.hash and job.reply_to not in (None, fields.get(b"_reply_to")):
        watch.flag(link, Breach("ID-5", "the ID of another job", "a new ID", "one in use"), key=key, job=job.id)
    if not job.hash:
        watch.jobs.submitted += 1
    for breach in read_hash(watch, job, fields, watch.dialect_of(link)):
        watch.flag(link, breach, key=key, job=job.id)
    job.submitted_on = link.number
    strict.written(watch, link, job)


def read_hash(watch: Watch, job: SeenJob, fields: dict[bytes, bytes], dialect: str | None) -> list[Breach]:
    """Keep the facts of a submission and its faults. ``dialect`` None: whichever it shows."""
    times = b"_queued" in fields
    shows = shown_dialect(times=times, untyped=not times and rules.is_untyped(fields))
    job.hash = True
    job.reply_to = fields.get(b"_reply_to")
    job.accept = fields.get(b"_accept", b"")[:100]
    job.expires = b"_expires" in fields
    job.dialect = dialect or shows
    watch.says_dialect("client", f"{shows} or master" if times else shows)
    breaches = list(rules.submission(fields, dialect))
    if not traits_of(job.dialect).untyped:
        breaches += rules.documents(fields)
    return breaches


# --- pushing ----------------------------------------------------------------------------------


def pushes(watch: Watch, link: Tapped, name: str, key: bytes, values: tuple[bytes, ...]) -> None:
    """Entries are pushed on a list."""
    for value in values:
        envelope = rules.envelope_of(value)
        if envelope is not None and envelope.keys() >= _MEMBERS:
            _pushes_envelope(watch, link, key, envelope)
        elif watch.jobs.get(value) is not None or watch.is_queue(key, value):
            _pushes_id(watch, link, name, key, value)


def _pushes_id(watch: Watch, link: Tapped, name: str, key: bytes, job_id: bytes) -> None:
    queue = watch.jobs.queue(key)
    if queue.holds == "envelopes" or watch.mode == "simple":
        breach = Breach("SIM-1", "an ID where envelopes are", "an envelope", "a job ID", actual=job_id)
        watch.flag(link, breach, key=key, job=job_id)
    queue.holds = queue.holds or "ids"
    if job_id in (b"", b"0"):
        watch.flag(link, Breach("ID-1", "an ID that no worker takes", "a name", shown(job_id) or "nothing"), key=key)
    job = watch.jobs.add(job_id)
    if not watch.inside(link, key):
        watch.flag(link, watch.foreign_queue(link, key), key=key, job=job_id)
    if name == "RPUSH":
        if job.submitted_on == link.number and not job.pushes:
            watch.flag(link, Breach("QUE-2", "pushed at the right end", "LPUSH", "RPUSH"), key=key, job=job_id)
            job.pushes += 1
        return
    new = not job.hash and not job.taken_on and not watch.jobs.was_finished(job_id)
    if new and (link.told is None or link.told.role == "client"):
        watch.jobs.expect(job, "hash", link.number, watch.now)
    if job.pushes and job.submitted_on == link.number:
        watch.flag(link, Breach("SUB-7", "the ID is pushed again", "LPUSH once", "LPUSH twice"), key=key, job=job_id)
    job.pushes += 1
    job.queue = key
    strict.pushed(watch, link, job)
    _subscribed_before(watch, link, key, job, "SUB-8")


def _pushes_envelope(watch: Watch, link: Tapped, key: bytes, envelope: dict[str, Any]) -> None:
    queue = watch.jobs.queue(key)
    if queue.holds == "ids" or watch.mode in ("reliable", "recoverable"):
        watch.flag(link, Breach("QUE-6", "an envelope where IDs are", "a job ID", "an envelope"), key=key)
    queue.holds = queue.holds or "envelopes"
    name = envelope.get("id")
    job = watch.jobs.add(name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b"")
    for breach in rules.job_envelope(envelope):
        watch.flag(link, breach, key=key, job=job.id)
    if not job.envelope:
        watch.jobs.submitted += 1
    reply_to = envelope.get("_reply_to")
    job.envelope = job.hash = True
    job.reply_to = reply_to.encode("utf-8", "surrogatepass") if isinstance(reply_to, str) else None
    job.submitted_on = link.number
    job.queue = key
    job.pushes += 1
    strict.pushed(watch, link, job)
    _subscribed_before(watch, link, key, job, "SIM-14")


def _subscribed_before(watch: Watch, link: Tapped, key: bytes, job: SeenJob, requirement: str) -> None:
    if job.reply_to and job.submitted_on == link.number and not watch.is_listening(link, job.reply_to):
        breach = Breach(requirement, "pushed before its client listens", "SUBSCRIBE client::…", "no subscription")
        watch.flag(link, breach, key=key, job=job.id)


def push_refused(watch: Watch, job_id: bytes) -> None:
    """An LPUSH was answered by an error: it may be tried again."""
    job = watch.jobs.get(job_id)
    if job is not None and job.pushes:
        job.pushes -= 1


# --- collecting -------------------------------------------------------------------------------


def looks(watch: Watch, link: Tapped, key: bytes, names: tuple[bytes, ...], values: list[Any]) -> None:
    """HMGET or HGET has been answered."""
    if b"result" not in names:
        return
    job = watch.jobs.get(key.removeprefix(JOB))
    if job is None:
        if watch.jobs.was_finished(key.removeprefix(JOB)):
            return
        job = watch.jobs.add(key.removeprefix(JOB))
    if len(job.read_on) < 16:
        job.read_on.add(link.number)
    raw = values[names.index(b"result")] if len(values) == len(names) else None
    if not isinstance(raw, bytes):
        return
    if job.result_on is None:
        reads(watch, link, key, job, raw)
    if names == (b"result",) and not job.unreadable and not job.collected:
        watch.jobs.expect(job, "deletion", link.number, watch.now)


def reads(watch: Watch, link: Tapped, key: bytes, job: SeenJob, raw: bytes) -> None:
    """A result that nobody was seen to write."""
    for breach in rules.result(raw, watch.dialect_of(link) or job.dialect, job.accept if job.hash else None):
        watch.flag(link, breach, key=key, job=job.id)
        job.unreadable = True


def deletes(watch: Watch, link: Tapped, keys: tuple[bytes, ...]) -> None:
    """DEL or UNLINK."""
    for key in keys:
        if key.startswith(JOB):
            collects(watch, link, key)


def collects(watch: Watch, link: Tapped, key: bytes) -> None:
    """The hash of a job is deleted."""
    job_id = key.removeprefix(JOB)
    job = watch.jobs.get(job_id)
    if link.role == "worker":
        watch.flag(link, Breach("CMP-8", "a worker deletes a job hash", "the client does", "DEL"), key=key, job=job_id)
    elif job is None:
        if not watch.jobs.was_finished(job_id):
            _foreign(watch, link, key, job_id)
        return
    elif job.unreadable:
        breach = Breach("RES-11", "a result that cannot be read is deleted", "it is kept", "DEL")
        watch.flag(link, breach, key=key, job=job_id)
    elif link.number not in job.read_on and link.number != job.submitted_on:
        _foreign(watch, link, key, job_id)
    if job is None:
        return
    if not job.collected and job.read_on:
        watch.jobs.collected += 1
    job.collected = True
    # Look at the worker's outstanding duties before the job is forgotten.
    if job.result_on is None or (job.noticed and (job.removed or job.processing is None)):
        watch.jobs.finish(job_id)


def _foreign(watch: Watch, link: Tapped, key: bytes, job_id: bytes) -> None:
    breach = Breach("NOT-4", "a hash deleted by one who has not read it", "HMGET … result, DEL", "DEL alone")
    watch.flag(link, breach, key=key, job=job_id)


def pairs_of(value: Any) -> dict[bytes, bytes]:
    """The fields that HGETALL answers, in RESP2 and RESP3; nothing for an error."""
    if isinstance(value, Map):
        return {key: item for key, item in value if isinstance(key, bytes) and isinstance(item, bytes)}
    if isinstance(value, list) and all(isinstance(item, bytes) for item in value):
        return rules.fields_of(value)
    return {}
