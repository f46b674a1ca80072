"""The linter of live traffic: the side of the workers. A job is taken, read, completed, announced, removed."""

from __future__ import annotations

from typing import Any

from jobwire_conformance.record.readable import shown
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.rules import strict
from jobwire_conformance.rules.client import read_hash
from jobwire_conformance.rules.facts import shown_dialect, traits_of
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.rules.jobs import SeenJob
from jobwire_conformance.rules.links import Tapped
from jobwire_conformance.rules.scripts import completed, completions, script_words
from jobwire_conformance.rules.watch import CHANNEL, JOB, Watch

__all__ = [
    "MOVING",
    "completes",
    "pops",
    "publishes",
    "reads_hash",
    "removes",
    "runs_script",
    "script_answered",
    "starts",
    "takes",
]


#: Pops that move the entry to another list.
MOVING = frozenset({"BRPOPLPUSH", "RPOPLPUSH", "BLMOVE", "LMOVE"})
#: Fields that workers write beside a submission.
_OF_WORKERS = frozenset({b"result", b"_started", b"_processed"})


# --- taking -----------------------------------------------------------------------------------


def pops(watch: Watch, link: Tapped, name: str, words: tuple[bytes, ...], *, inside: bool) -> None:
    """A pop is sent."""
    keys = popped_keys(name, words)
    if not keys or any(key.rpartition(b"::")[2].startswith(b"processing") for key in keys):
        return
    if inside and name in rules.POPS:
        watch.flag(link, Breach("CON-7", "a blocking pop inside MULTI", "outside", name), key=keys[0])
    left = name in {"BLPOP", "LPOP"} or (name in {"BLMOVE", "LMOVE"} and len(words) > 3 and words[3].upper() == b"LEFT")
    if left and (watch.jobs.knows_queue(keys[0]) or keys[0].endswith(b"pending")):
        watch.flag(link, Breach("QUE-3", "a job is taken at the left end", "the right end", "LEFT"), key=keys[0])
    if name in {"BRPOPLPUSH", "BRPOP"} and not watch.inside(link, keys[0]):
        watch.flag(link, watch.foreign_queue(link, keys[0]), key=keys[0])
    if name in MOVING:
        strict.moves(watch, link, words)


def popped_keys(name: str, words: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The lists that a pop takes from."""
    return words[1:-1] if name in {"BRPOP", "BLPOP"} else words[1:2]


def takes(watch: Watch, link: Tapped, queue: bytes, processing: bytes | None, entry: bytes) -> None:
    """An entry has come off a queue."""
    if not (link.told or watch.jobs.knows_queue(queue) or watch.is_queue(queue, entry)):
        return
    known = watch.jobs.queue(queue)
    envelope = rules.envelope_of(entry)
    if envelope is not None:
        name = envelope.get("id")
        job_id = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b""
        if processing is not None:
            breach = Breach("QUE-6", "an envelope where an ID should be", "a job ID", "an envelope (mode simple)")
            watch.flag(link, breach, key=queue, job=job_id)
        known.holds = known.holds or "envelopes"
        _takes_envelope(watch.jobs.add(job_id), link, envelope)
        watch.jobs.taken += 1
        return
    if known.holds == "envelopes":
        watch.flag(link, Breach("SIM-1", "an ID where an envelope should be", "an envelope", "a job ID"), key=queue)
    known.holds = known.holds or "ids"
    job = watch.jobs.add(entry)
    job.taken_on, job.queue, job.processing, job.removed = link.number, queue, processing, False
    watch.jobs.taken += 1


def _takes_envelope(job: SeenJob, link: Tapped, envelope: dict[str, Any]) -> None:
    reply_to = envelope.get("_reply_to")
    if not job.envelope and isinstance(reply_to, str):
        job.reply_to = reply_to.encode("utf-8", "surrogatepass")
    job.envelope = job.hash = True
    job.taken_on = link.number


def reads_hash(watch: Watch, link: Tapped, key: bytes, fields: dict[bytes, bytes]) -> None:
    """HGETALL has been answered."""
    job_id = key.removeprefix(JOB)
    if job_id[:1] == b"{" and rules.envelope_of(job_id) is not None:
        breach = Breach("QUE-6", "an envelope taken for an ID", "a job ID", "an envelope (mode simple)")
        watch.flag(link, breach, key=b"job::{...}")
        return
    job = watch.jobs.get(job_id)
    if job is None or job.taken_on is None:
        return
    job.vanished = not fields
    job.done_before = job.result_on is None and b"result" in fields
    if fields and not job.hash:
        written = {name: value for name, value in fields.items() if name not in _OF_WORKERS}
        for breach in read_hash(watch, job, written, watch.dialect):
            watch.flag(link, breach, key=key, job=job_id)


def starts(watch: Watch, link: Tapped, key: bytes, job: SeenJob, fields: dict[bytes, bytes]) -> None:
    """``_started`` is written."""
    _runs(watch, link, key, job)
    dialect = watch.dialect_of(link)
    if traits_of(dialect).times is False:
        breach = Breach("TAK-4", f"_started in dialect {dialect}", "no such field", "the field", b"_started")
        watch.flag(link, breach, key=key, job=job.id)
    else:
        for breach in rules.time_of(b"_started", fields[b"_started"]):
            watch.flag(link, breach, key=key, job=job.id)
    marks = watch.mode == "recoverable" and (link.told is None or link.told.marks)
    if marks and not {b"_worker", b"_queue"} <= fields.keys():
        breach = Breach("REC-5", "a job is not marked", "_started, _worker, _queue", "not all of them")
        watch.flag(link, breach, key=key, job=job.id)
    job.started = True


def _runs(watch: Watch, link: Tapped, key: bytes, job: SeenJob) -> None:
    """A worker goes on with a job that it has to leave alone."""
    if job.vanished:
        breach = Breach("TAK-9", "a job without a hash is run", "its ID is removed", "it is run")
        watch.flag(link, breach, key=key, job=job.id)
    elif job.done_before:
        breach = Breach("TAK-12", "a job that has a result is run again", "the notice alone", "it is run")
        watch.flag(link, breach, key=key, job=job.id)
    job.vanished = job.done_before = False


# --- completion -------------------------------------------------------------------------------


def completes(watch: Watch, link: Tapped, key: bytes, fields: dict[bytes, bytes], *, at_once: bool = False) -> None:
    """``result`` is written. ``at_once``: by a script, together with the notice and the removal."""
    job = watch.jobs.add(key.removeprefix(JOB))
    if watch.mode == "simple":
        watch.flag(link, Breach("SIM-6", "a job hash in mode simple", "an envelope", "HMSET"), key=key, job=job.id)
    _runs(watch, link, key, job)
    times = b"_processed" in fields
    # Who writes times writes tags; without times the submission says which dialect it is, if anything does.
    shown_by_times = shown_dialect(times=times)
    dialect = watch.dialect_of(link) or job.dialect or shown_by_times
    shows = f"{shown_by_times} or master" if times else None
    raw = fields[b"result"]
    if not times:
        shows = "0.002 or before" if raw and raw[:1] not in b"TJEV" else "0.003 or before"
    watch.says_dialect("worker", shows)
    for breach in (*rules.outcome(fields, dialect), *rules.result(raw, dialect, job.accept if job.hash else None)):
        watch.flag(link, breach, key=key, job=job.id)
    # An expired job is not started.
    started = job.started or b"_started" in fields or (job.expires and raw[:1] == b"E")
    if traits_of(dialect).times and job.hash and not started:
        breach = Breach("TAK-3", "_started is missing", "epoch seconds", "no such field", b"_started")
        watch.flag(link, breach, key=key, job=job.id)
    if not at_once:
        strict.in_multi(watch, link, job, "a completion", "CMP-4")
        job.noticed = False
        _done(watch, link, job)
        watch.jobs.expect(job, "notice", link.number, watch.now)


def _done(watch: Watch, link: Tapped, job: SeenJob) -> None:
    if job.result_on is None:
        watch.jobs.completed += 1
    job.result_on = link.number


def publishes(watch: Watch, link: Tapped, channel: bytes, payload: bytes) -> None:
    """A message is published."""
    envelope = rules.envelope_of(payload)
    if envelope is not None and {"result", "error"} & envelope.keys() and channel.startswith(CHANNEL):
        _replies(watch, link, channel, envelope)
        return
    job = watch.jobs.get(payload)
    if not channel.startswith(CHANNEL):
        if job is not None and job.result_on == link.number:
            breach = Breach("KEY-7", "a notice on another channel", "client::<client ID>", shown(channel))
            watch.flag(link, breach, key=channel, job=payload)
            job.noticed = True
        return
    if job is None:
        _unknown(watch, link, channel, payload)
        return
    if job.envelope:
        breach = Breach("SIM-8", "a bare ID for a reply", "an envelope", "a job ID")
        watch.flag(link, breach, key=channel, job=payload)
    elif job.result_on is None and not job.done_before:
        breach = Breach("CMP-1", "the notice came before the result", "HMSET … result, PUBLISH", "PUBLISH")
        watch.flag(link, breach, key=channel, job=payload)
    if job.hash and (job.reply_to or b"") != channel.removeprefix(CHANNEL):
        expected = shown(CHANNEL + (job.reply_to or b""))
        watch.flag(link, Breach("CMP-7", "the notice goes to another client", expected, shown(channel)), key=channel)
    again, job.noticed = job.noticed, True
    if job.result_on == link.number and not again:
        strict.in_multi(watch, link, job, "a completion", "CMP-4")
    if job.processing is not None and not job.removed:
        watch.jobs.expect(job, "removal", link.number, watch.now)


def _unknown(watch: Watch, link: Tapped, channel: bytes, payload: bytes) -> None:
    if watch.jobs.was_finished(payload):
        return
    known = watch.jobs.get(payload.removeprefix(JOB)) if payload.startswith(JOB) else None
    if known is not None:
        known.noticed = True
        breach = Breach("NOT-1", "the key in place of the ID", "the job ID", "job::…")
        watch.flag(link, breach, key=channel, job=known.id)
    else:
        breach = Breach("NOT-1", "a notice for a job that nobody has seen", "a job ID", shown(payload))
        watch.flag(link, breach, key=channel, job=payload)


def _replies(watch: Watch, link: Tapped, channel: bytes, envelope: dict[str, object]) -> None:
    name = envelope.get("id")
    job_id = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else b""
    if watch.mode in ("reliable", "recoverable"):
        breach = Breach("NOT-1", "an envelope for a notice", "the job ID", "an envelope (mode simple)")
        watch.flag(link, breach, key=channel, job=job_id)
    for breach in rules.reply_envelope(envelope):
        watch.flag(link, breach, key=channel, job=job_id)
    job = watch.jobs.get(job_id)
    if job is not None and job.envelope:
        if job.reply_to is not None and CHANNEL + job.reply_to != channel:
            expected = shown(CHANNEL + job.reply_to)
            watch.flag(link, Breach("SIM-8", "the reply goes to another client", expected, shown(channel)), key=channel)
        watch.jobs.completed += 1
        watch.jobs.collected += 1
        watch.jobs.finish(job_id)
    elif not watch.jobs.was_finished(job_id):
        breach = Breach("SIM-8", "a reply for a job that nobody has seen", "the ID of a job", shown(job_id))
        watch.flag(link, breach, key=channel, job=job_id)


def removes(watch: Watch, link: Tapped, words: tuple[bytes, ...]) -> None:
    """LREM."""
    if len(words) != 4:
        return
    job = watch.jobs.get(words[3])
    if job is None or job.processing is None:
        return
    if job.result_on == link.number and not job.removed:
        strict.in_multi(watch, link, job, "a completion", "CMP-4")
        for breach in rules.removal(words, job.processing):
            watch.flag(link, breach, key=words[1], job=job.id)
        job.removed = True
    elif words[1] == job.processing:
        unseen = not job.hash or (link.told is not None and not job.pushes)
        excused = job.vanished or job.done_before or job.pushes > 1 or unseen or job.result_on is not None
        if not excused and link.role == "worker":
            breach = Breach("CMP-2", "the ID is removed before the result is there", "HMSET … result, LREM", "LREM")
            watch.flag(link, breach, key=words[1], job=job.id)
        job.removed = True
    if job.removed and job.collected and job.noticed:
        watch.jobs.finish(job.id)


# --- scripts ----------------------------------------------------------------------------------


def runs_script(watch: Watch, link: Tapped, name: str, words: tuple[bytes, ...]) -> None:
    """Check the writes of a call of one of jobwire's scripts."""
    for completion in completions(name, words):
        completes(watch, link, completion.key, completion.fields, at_once=True)
        _channel(watch, link, completion.channel, completion.job)


def _channel(watch: Watch, link: Tapped, channel: bytes, job_id: bytes) -> None:
    job = watch.jobs.get(job_id)
    if job is not None and job.hash and CHANNEL + (job.reply_to or b"") != channel:
        expected = shown(CHANNEL + (job.reply_to or b""))
        watch.flag(link, Breach("CMP-7", "the notice goes to another client", expected, shown(channel)), key=channel)


#: After these nothing is expected of the job any more: (script, place of its ID among the arguments).
_ENDS = frozenset({"BURY", "REJECT", "WITHDRAW", "RETURN_NEWEST", "RETURN_MARKED", "RETURN_TO_LIST", "GIVE_BACK"})


def script_answered(watch: Watch, link: Tapped, name: str, words: tuple[bytes, ...], value: object) -> None:
    """Follow the effect that its answer shows."""
    keys, given = script_words(words)
    if name == "TAKE_MANY" and len(keys) == 2 and isinstance(value, list):
        for entry in value:
            if isinstance(entry, bytes):
                takes(watch, link, keys[0], keys[1], entry)
        return
    codes = value if isinstance(value, list) else [value]
    for job_id, code in zip(completed(name, words), codes, strict=False):
        job = watch.jobs.get(job_id)
        if job is not None and isinstance(code, int) and code:
            _completed(watch, link, job, listed=name != "WRITE_RESULT")
    if name in _ENDS:
        ended = value[0] if isinstance(value, list) and value else given[0] if given and value else None
        if isinstance(ended, bytes):
            watch.jobs.finish(ended)
    elif name == "DELETE_GHOST" and keys:
        watch.jobs.finish(keys[0].removeprefix(JOB))


def _completed(watch: Watch, link: Tapped, job: SeenJob, *, listed: bool) -> None:
    """A script has written a result and published it; ``listed``: and removed the entry."""
    _done(watch, link, job)
    job.noticed = True
    job.removed = job.removed or listed
    if not listed and job.processing is not None:
        watch.jobs.expect(job, "removal", link.number, watch.now)
    if job.collected and job.removed:
        watch.jobs.finish(job.id)
