"""Rules for peers whose options are known: nothing about them has to be guessed, so more can be asked of them."""

from __future__ import annotations

from collections.abc import Iterator

from jobwire_conformance.record.readable import shown
from jobwire_conformance.rules import forms as rules
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.rules.jobs import SeenJob
from jobwire_conformance.rules.links import Tapped
from jobwire_conformance.rules.watch import Watch

__all__ = ["belongs", "in_multi", "moves", "pushed", "unfulfilled", "written"]


def belongs(watch: Watch, link: Tapped, name: str, words: tuple[bytes, ...]) -> None:
    """Whether a command is one of the mode, or keeps facts of an extension in the keyspace of its sender."""
    if link.told is None or watch.mode is None or name in rules.SETUP:
        return
    role, plain = link.told.role, rules.plainly(words)
    command = plain[0].decode("latin-1").upper() if plain else ""
    known = rules.allowed(role, watch.mode)
    if command in rules.LOOKING or command in known:
        return
    if role == "worker" and rules.extends(command, plain, link.told.prefix):
        return
    what = f"the {role} sent {shown(name.encode())}, which is no part of mode {watch.mode}"
    watch.flag(link, Breach("MODE", what, sorted(known), command, actual=words))


def in_multi(watch: Watch, link: Tapped, job: SeenJob, what: str, requirement: str) -> None:
    """Whether a part of ``what`` stands in MULTI … EXEC as ``use_multi`` says."""
    if link.told is None or link.told.use_multi in (None, link.in_multi):
        return
    wanted = link.told.use_multi
    where, said = ("outside", "true") if wanted else ("inside", "false")
    expected = "between MULTI and EXEC on one connection" if wanted else "no MULTI"
    what = f"{what} {where} MULTI … EXEC, though `start` said use_multi {said}"
    watch.flag(link, Breach(requirement, what, expected, where), job=job.id)


def written(watch: Watch, link: Tapped, job: SeenJob) -> None:
    """A client writes the hash of a job."""
    if link.told is None:
        return
    if job.id in watch.claims:
        watch.claims[job.id].writes += 1
    in_multi(watch, link, job, "a submission", "SUB-9")


def pushed(watch: Watch, link: Tapped, job: SeenJob) -> None:
    """A client pushes the ID of a job, or its envelope."""
    if link.told is None or link.told.role != "client":
        return
    if job.id in watch.claims:
        watch.claims[job.id].pushes += 1
    in_multi(watch, link, job, "a submission", "SUB-9")
    if job.hash and job.submitted_on != link.number:
        what = "the hash was written on another connection: nothing says that it came first"
        watch.flag(link, Breach("SUB-1", what, "HMSET, LPUSH on one connection", "on two"), job=job.id)


def moves(watch: Watch, link: Tapped, words: tuple[bytes, ...]) -> None:
    """A worker takes from one list into another."""
    wanted = link.told.processing if link.told is not None else None
    if wanted is not None and words[2:3] != (wanted,):
        breach = Breach("CMP-2", "a job is moved to another list", shown(wanted), shown(b" ".join(words[2:3])))
        watch.flag(link, breach, key=words[1])


def unfulfilled(watch: Watch) -> Iterator[tuple[bytes, Breach]]:
    """Jobs that were not submitted as their client says."""
    for job_id, claim in watch.claims.items():
        seen = f"{claim.writes} × HMSET, {claim.pushes} × LPUSH"
        if watch.mode == "simple" and claim.pushes != 1:
            yield job_id, Breach("SIM-1", "a submission is one LPUSH of an envelope with the job's ID", "LPUSH", seen)
        elif watch.mode != "simple" and (claim.writes, claim.pushes) != (1, 1):
            what = "a submission is one HMSET of job::<id> and one LPUSH of the ID"
            yield job_id, Breach("SUB-1", what, "HMSET, LPUSH", seen)
