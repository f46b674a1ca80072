"""Runs instances: one at a time in a slot, several slots at once, a verdict with its evidence for each."""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from jobwire_conformance.cases.case import StartPeer
from jobwire_conformance.cases.templates import PatternError
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import PeerCommand, PeerFault, PeerProcess, PeerUnsupported
from jobwire_conformance.peers.servers import Environment, Server
from jobwire_conformance.record.readable import shorten
from jobwire_conformance.record.redis_link import RedisReplyError
from jobwire_conformance.record.transcripts import Event, Header, Transcript, write_transcript
from jobwire_conformance.report.claims import in_words, lacking, spoken_codec
from jobwire_conformance.report.evidence import wire_log
from jobwire_conformance.report.report import VerdictLine
from jobwire_conformance.report.verdicts import Verdict
from jobwire_conformance.run.axes import Instance, PeerSpec
from jobwire_conformance.run.checks import check_left, check_wire, readable, snapshot
from jobwire_conformance.run.expected import Expectations
from jobwire_conformance.run.scenario import CaseFailed, Scenario
from jobwire_conformance.run.steps import run_jobs, run_steps
from jobwire_conformance.run.traffic import check_traffic

__all__ = ["Planned", "RunOptions", "probe", "run_all", "run_instance"]


@dataclass(frozen=True, slots=True)
class Planned:
    """An instance and the peers that it is run with."""

    instance: Instance
    client: PeerSpec | None
    worker: PeerSpec | None


@dataclass
class RunOptions:
    """The options of a run."""

    commands: dict[str, PeerCommand]
    timeout_factor: float = 1.0
    jobs: int = 1
    max_fail: int = 0
    record: Path | None = None
    clock: float = 0.0
    on_verdict: Callable[[VerdictLine], None] | None = None
    on_traffic: Callable[[Planned, list[Event]], None] | None = None
    failures: int = field(default=0, init=False)


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: Verdict
    reason: str = ""
    expected: str = ""
    actual: str = ""


async def probe(command: PeerCommand, *, seconds: float = 20.0) -> driver.HelloAnswer:
    """Start a peer, shake hands (nonsense command included), end it. Raises :class:`PeerFault`."""
    process = PeerProcess(command)
    try:
        await process.start()
        return await process.handshake(seconds)
    except PeerFault as fault:
        raise PeerFault(f"{fault}; its stderr ends: {process.stderr()[-500:]!r}") from None
    finally:
        await process.close()


# --- one instance -----------------------------------------------------------------------------


async def run_instance(planned: Planned, server: Server, options: RunOptions) -> VerdictLine:
    """Try one instance once; never raises."""
    instance = planned.instance
    sides = {role: spec for role, spec in (("client", planned.client), ("worker", planned.worker)) if spec is not None}
    hellos = [spec.hello if spec else None for spec in (planned.client, planned.worker)]
    missing = lacking(instance.case, instance.mode, instance.codec, *hellos)
    if missing:
        line = _line(instance, _Outcome(Verdict.UNSUPPORTED, in_words(missing)), None, 0.0)
        return msgspec.structs.replace(line, lacks=missing, required=False)
    if instance.case.needs.server and not server.breakable:
        return _line(instance, _Outcome(Verdict.UNSUPPORTED, "needs a server that can be broken"), None, 0.0)
    commands = {role: options.commands[spec.name] for role, spec in sides.items()}
    codecs = {role: spoken_codec(instance.codec, spec.hello) for role, spec in sides.items()}
    began = time.monotonic()
    scenario = Scenario(instance, server, commands, codecs=codecs, timeout_factor=options.timeout_factor)
    try:
        outcome = await _attempt(scenario)
    finally:
        await scenario.close()
        await _clean(server, scenario)
    line = _line(instance, outcome, scenario, time.monotonic() - began)
    if options.on_traffic is not None:
        options.on_traffic(planned, scenario.recorder.events)
    if options.record is not None and outcome.verdict is Verdict.PASS and instance.case.golden:
        _record(options.record, planned, scenario, server)
    return line


async def _attempt(scenario: Scenario) -> _Outcome:
    limit = (scenario.case.seconds + 40) * scenario.factor
    try:
        async with asyncio.timeout(limit):
            await _prepare(scenario)
            await _carry_out(scenario)
    except Exception as error:
        # Nothing escapes: an error in one instance is its verdict, and the run goes on.
        return _judge(error, limit)
    return _Outcome(Verdict.PASS)


def _judge(error: Exception, limit: float) -> _Outcome:
    match error:
        case CaseFailed():
            outcome = _Outcome(Verdict.FAIL, error.reason, shorten(error.expected), shorten(error.actual))
        case PeerUnsupported():
            outcome = _Outcome(Verdict.UNSUPPORTED, f"a peer says: {error}")
        case PeerFault():
            outcome = _Outcome(Verdict.FAIL, f"a peer broke down: {error}")
        case TimeoutError():
            outcome = _Outcome(Verdict.FAIL, f"the case did not end within {limit:g} s")
        case OSError() | RedisReplyError() | PatternError() | msgspec.ValidationError():
            outcome = _Outcome(Verdict.ERROR, f"{type(error).__name__}: {error}")
        case _:
            outcome = _Outcome(Verdict.ERROR, "".join(traceback.format_exception(error, limit=-6)))
    return outcome


async def _prepare(scenario: Scenario) -> None:
    if scenario.server.own:
        await scenario.link.wait_until_up(20 * scenario.factor)
        await scenario.link.call("FLUSHALL")


async def _carry_out(scenario: Scenario) -> None:
    case = scenario.case
    started = {step.peer for step in case.steps if isinstance(step, StartPeer)}
    for role in ("worker", "client"):
        if role in scenario.commands and role not in started:
            await scenario.start_peer(StartPeer(peer=role))
    try:
        if case.jobs:
            await run_jobs(scenario)
        else:
            await run_steps(scenario, case.steps)
        await _stop_all(scenario)
        check_wire(scenario)
        if case.grammar:
            check_traffic(scenario)
        await check_left(scenario)
    except CaseFailed:
        with contextlib.suppress(OSError, RedisReplyError):
            scenario.keys = scenario.keys or readable(await snapshot(scenario.link))
        raise


async def _stop_all(scenario: Scenario) -> None:
    """Ask running peers to stop. A peer that cannot is no failure here: cases about stopping have steps for it."""
    for peer in sorted(scenario.peers.values(), key=lambda peer: peer.role):
        if peer.stopped or not peer.process.alive or peer.ready is None:
            continue
        try:
            await peer.process.ask(driver.Stopped, 8 * scenario.factor, driver.Stop())
        except (PeerFault, PeerUnsupported) as fault:
            scenario.note(f"{peer.name} did not stop: {fault}")


async def _clean(server: Server, scenario: Scenario) -> None:
    """On a shared server, delete the keys that the case left; bring an own one back up."""
    with contextlib.suppress(OSError, RedisReplyError, TimeoutError):
        if server.breakable and server.launched is not None and not server.launched.running:
            await server.restart()
        if server.own:
            return
        link = server.link()
        ids = [run.id for run in scenario.runs if run.id is not None]
        names = [scenario.names.queue(name) for name in ("pending", "processing", "dead", "rejected", "attempts")]
        await link.call("DEL", *names, *(b"job::" + name for name in ids))
        await link.close()


def _line(instance: Instance, outcome: _Outcome, scenario: Scenario | None, seconds: float) -> VerdictLine:
    case = instance.case
    wire, left_out = wire_log(scenario.recorder.events) if scenario is not None else ([], 0)
    return VerdictLine(
        case=case.id,
        title=case.title,
        proves=case.proves,
        source=case.source,
        level=case.level,
        mode=instance.mode,
        client=instance.client,
        worker=instance.worker,
        client_dialect=instance.client_dialect,
        worker_dialect=instance.worker_dialect,
        axes={key: value for key, value in instance.axes().items() if key not in {"mode", "client", "worker"}},
        verdict=outcome.verdict,
        required=case.level == "must",
        reason=outcome.reason,
        expected=outcome.expected,
        actual=outcome.actual,
        seconds=round(seconds, 3),
        wire=wire,
        wire_left_out=left_out,
        keys=scenario.keys if scenario is not None else {},
        stderr={name: text[-8000:] for name, text in (scenario.stderr() if scenario is not None else {}).items()},
        steps=scenario.log if scenario is not None else [],
    )


def _record(folder: Path, planned: Planned, scenario: Scenario, server: Server) -> None:
    """Keep the traffic of a passing instance as a golden file.

    Of two peers of one dialect, in the mode that Perl itself implements, with and without ``use_multi``, the other
    axes at their defaults: replays play no others.
    """
    instance = planned.instance
    if planned.client is None or planned.worker is None or instance.client_dialect != instance.worker_dialect:
        return
    if instance.mode != "reliable" or instance.axes().keys() - {"mode", "client", "worker", "multi"}:
        return
    multi = "1" if instance.use_multi == "both" else "0"
    if instance.use_multi not in {"none", "both"}:
        return
    place = folder / instance.client_dialect
    place.mkdir(parents=True, exist_ok=True)
    name = f"{instance.mode}-multi{multi}-{instance.case.id.replace('/', '.')}.jsonl"
    header = Header(
        case=instance.case.id,
        mode=instance.mode,
        dialect=instance.client_dialect,
        client=_facts(planned.client),
        worker=_facts(planned.worker),
        redis=server.version,
        recorded=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        use_multi=multi == "1",
        prefix=instance.prefix,
        submitted=[run.job.data for run in scenario.runs],
    )

    write_transcript(place / name, Transcript(header=header, events=scenario.recorder.events))


def _facts(spec: PeerSpec) -> dict[str, Any]:
    hello = spec.hello
    return {
        "name": spec.name,
        "version": hello.version,
        "runtime": hello.runtime,
        "libraries": hello.libraries,
    }


# --- all of them ------------------------------------------------------------------------------


def settle(line: VerdictLine, instance: Instance, expectations: Expectations) -> VerdictLine:
    """The verdict in the light of the lists: known-failing, unexpected-pass, unsupported as listed, lenient."""
    known = expectations.find(instance, "known-failing", line.reason)
    if known is not None and line.verdict in {Verdict.FAIL, Verdict.PASS}:
        passed = line.verdict is Verdict.PASS
        return msgspec.structs.replace(
            line,
            verdict=Verdict.UNEXPECTED_PASS if passed else Verdict.KNOWN_FAILING,
            reason=known.reason if passed else f"{known.reason} (shown by: {line.reason})",
            link=known.link,
        )
    listed = expectations.find(instance, "unsupported", line.reason)
    if listed is not None and line.verdict is Verdict.UNSUPPORTED:
        return msgspec.structs.replace(line, required=False, reason=f"{line.reason}: {listed.reason}", link=listed.link)
    lenient = expectations.find(instance, "lenient")
    if lenient is not None and line.verdict is Verdict.PASS:
        return msgspec.structs.replace(line, verdict=Verdict.LENIENT, reason=lenient.reason, link=lenient.link)
    return line


async def _tried(planned: Planned, server: Server, options: RunOptions, expectations: Expectations) -> VerdictLine:
    flaky = expectations.find(planned.instance, "flaky")
    line = settle(await run_instance(planned, server, options), planned.instance, expectations)
    tries = 1
    while flaky is not None and line.verdict is Verdict.FAIL and tries < 3:
        tries += 1
        line = settle(await run_instance(planned, server, options), planned.instance, expectations)
    if tries > 1 and flaky is not None and line.verdict is Verdict.PASS:
        return msgspec.structs.replace(line, verdict=Verdict.FLAKY, tries=tries, reason=flaky.reason, link=flaky.link)
    return msgspec.structs.replace(line, tries=tries)


async def run_all(
    plan: list[Planned], environment: Environment, options: RunOptions, expectations: Expectations
) -> list[VerdictLine]:
    """Run the whole plan in ``options.jobs`` slots; the verdicts in the order of the plan."""
    waiting: asyncio.Queue[tuple[int, Planned]] = asyncio.Queue()
    for number, planned in enumerate(plan):
        waiting.put_nowait((number, planned))
    done: dict[int, VerdictLine] = {}
    slots = 1 if environment.shared else max(1, min(options.jobs, len(plan)))

    async def slot() -> None:
        async with environment.factory() as server:
            while not waiting.empty() and not _enough(options):
                number, planned = waiting.get_nowait()
                line = await _tried(planned, server, options, expectations)
                line = msgspec.structs.replace(line, at=round(time.monotonic() - options.clock, 3))
                done[number] = line
                if line.verdict in {Verdict.FAIL, Verdict.ERROR, Verdict.UNEXPECTED_PASS}:
                    options.failures += 1
                if options.on_verdict is not None:
                    options.on_verdict(line)

    async with asyncio.TaskGroup() as group:
        for _ in range(slots):
            group.create_task(slot())
    return [done[number] for number in sorted(done)]


def _enough(options: RunOptions) -> bool:
    return options.max_fail > 0 and options.failures >= options.max_fail
