"""``jobwire tap``: the traffic of a live system, or of a transcript, decoded and linted.

Built on the recorder's parts: the relay, the RESP decoder, transcripts, and the rules that cases are checked by.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from jobwire import __version__
from jobwire.errors import ConfigError
from jobwire.transport.address import parse_url
from jobwire_conformance.driver.text import block, one_line
from jobwire_conformance.peers.registry import UsageFault
from jobwire_conformance.peers.servers import EnvironmentFault
from jobwire_conformance.record.relay import Upstream
from jobwire_conformance.record.transcripts import Event, Header, event_line, header_line, read_transcript
from jobwire_conformance.report.terminal import coloured
from jobwire_conformance.rules.jobs import JobTable
from jobwire_conformance.rules.steps import Begin, Gap, Line, Step, encode_line
from jobwire_conformance.rules.watch import Watch
from jobwire_conformance.tap.follow import Follower
from jobwire_conformance.tap.options import configure
from jobwire_conformance.tap.output import Output
from jobwire_conformance.tap.relay import TapRelay
from jobwire_conformance.tap.text import Teller, begin_text

__all__ = ["configure", "main", "run"]

_TICK = 0.5


def main(options: argparse.Namespace) -> int:
    """Run it; the exit status. Raises :class:`UsageFault` and :class:`EnvironmentFault`."""
    return asyncio.run(run(options))


async def run(options: argparse.Namespace) -> int:
    """The same, in a running loop."""
    files = [*options.files, *options.replay]
    if files:
        return _replay(options, files)
    return await _live(options)


class _Printer:
    """Lines to standard output: the steps that the options choose, as text or JSON."""

    def __init__(self, options: argparse.Namespace, *, patient: bool) -> None:
        self._options = options
        self._json: bool = options.json
        colour = coloured(sys.stdout) and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
        self._teller = Teller(width=width, colour=colour)
        self._jobs = tuple(options.job)
        self.output = Output(sys.stdout.buffer, patient=patient, gap=lambda count: self._text(Gap(lines=count)))

    def step(self, step: Step) -> None:
        """Print a step, where it was asked for."""
        if self._wanted(step):
            self.line(step)

    def line(self, line: Line) -> None:
        """Print a line whatever was asked for."""
        self.output.write(self._text(line))

    def _text(self, line: Line) -> bytes:
        if self._json:
            return encode_line(line) + b"\n"
        return "".join(f"{text}\n" for text in self._teller.lines(line)).encode("utf-8", "backslashreplace")

    def _wanted(self, step: Step) -> bool:
        options = self._options
        if self._jobs and not step.job.startswith(self._jobs):
            return False
        if options.only and (step.role or "other") not in options.only:
            return False
        if step.flags:
            return True
        return not options.quiet and (options.all or options.json or not step.plain)


def _follower(options: argparse.Namespace, header: Header | None = None) -> Follower:
    values = options.values if options.values is not None else header is not None
    mode = None if options.mode == "auto" else options.mode
    dialect = None if options.dialect == "auto" else options.dialect
    if header is not None and dialect is None:
        dialect = header.dialect or None
    jobs = JobTable(patience=options.patience)
    watch = Watch(mode=mode, dialect=dialect, prefix=options.prefix, values=values, jobs=jobs)
    if options.quiet:
        return Follower(watch, values=values, steps="flagged")
    return Follower(watch, values=values, steps="all" if options.all or options.json else "telling")


def _begin(options: argparse.Namespace, follower: Follower, source: str, listen: str, at: float | None) -> Begin:
    watch = follower.watch
    return Begin(
        version=__version__,
        source=source,
        listen=listen,
        at=at,
        values=follower.values,
        mode=watch.mode or "",
        dialect=watch.dialect or "",
        prefix=options.prefix,
    )


def _flagged(follower: Follower) -> int:
    return 1 if follower.flags else 0


# --- transcripts ------------------------------------------------------------------------------


def _replay(options: argparse.Namespace, files: list[Path]) -> int:
    if options.record is not None:
        raise UsageFault("--record is for live traffic; what is read from a file is recorded already")
    status = 0
    printer = _Printer(options, patient=True)
    with printer.output:
        for path in files:
            try:
                transcript = read_transcript(path)
            except OSError as error:
                raise UsageFault(f"{path}: {error.strerror}") from None
            except ValueError as error:
                raise UsageFault(str(error)) from None
            follower = _follower(options, transcript.header)
            if options.json:
                printer.line(_begin(options, follower, str(path), "", None))
            elif len(files) > 1:
                printer.output.write(f"{one_line(str(path))}\n".encode())
            seconds = _follow(follower, transcript.events, printer.step)
            printer.line(follower.summary(seconds))
            status = max(status, _flagged(follower))
            if printer.output.broken is not None:
                break
    return status


def _follow(follower: Follower, events: list[Event], on_step: Callable[[Step], None]) -> float:
    """All events of a transcript; how long it lasted."""
    last = 0.0
    for event in events:
        last = max(last, event.t)
        for step in (*follower.tick(last), *follower.event(event)):
            on_step(step)
    for step in follower.end(last):
        on_step(step)
    return last


# --- live -------------------------------------------------------------------------------------


async def _live(options: argparse.Namespace) -> int:
    host, port = _listening(options)
    upstream, description = _upstream(options.url)
    await _probe(upstream, description)
    follower = _follower(options)
    printer = _Printer(options, patient=False)
    began = time.time()
    with printer.output, _recording(options, began) as on_event:
        relay = TapRelay(
            upstream,
            follower,
            on_step=lambda step: printer.step(_dated(step, began)),
            on_event=on_event,
            on_unreachable=lambda error: _note(f"cannot reach {description}: {_reason(error)}; the peer was cut off"),
        )
        try:
            await relay.start(host, port)
        except OSError as error:
            raise EnvironmentFault(f"cannot listen on {options.listen}: {_reason(error)}") from None
        begin = _begin(options, follower, description, f"{_bracketed(host)}:{relay.port}", began)
        if options.json:
            printer.line(begin)
        _note(begin_text(begin))
        try:
            await _until_the_end(options, follower, relay, printer, began)
        finally:
            await relay.close()
        await asyncio.sleep(0)  # let the last frames be decoded
        for step in follower.end(relay.now()):
            printer.step(_dated(step, began))
        printer.line(follower.summary(relay.now()))
    if printer.output.left_out:
        _note(f"{printer.output.left_out} lines were left out: they were not read as fast as they came")
    return _flagged(follower)


async def _until_the_end(
    options: argparse.Namespace, follower: Follower, relay: TapRelay, printer: _Printer, began: float
) -> None:
    """Until a signal, the time, the jobs, or the reader of the output make an end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        done_at: float | None = None
        while not stop.is_set() and printer.output.broken is None:
            left = _TICK if options.seconds is None else min(_TICK, options.seconds - relay.now())
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), left)
            for step in follower.tick(relay.now()):
                printer.step(_dated(step, began))
            if options.jobs is not None and follower.watch.jobs.completed >= options.jobs:
                # The last job is given the time to be collected.
                done_at = relay.now() if done_at is None else done_at
                if relay.now() - done_at >= 1:
                    return
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _dated(step: Step, began: float) -> Step:
    return msgspec.structs.replace(step, at=round(began + step.t, 6))


@contextlib.contextmanager
def _recording(options: argparse.Namespace, began: float) -> Iterator[Callable[[Event], None] | None]:
    if options.record is None:
        yield None
        return
    header = Header(
        mode="reliable" if options.mode == "auto" else options.mode,
        dialect="" if options.dialect == "auto" else options.dialect,
        recorded=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
        prefix="jobs" if options.prefix is None else options.prefix,
    )
    try:
        # Values of jobs are in it: for the eyes of its owner.
        file = os.fdopen(os.open(options.record, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
    except OSError as error:
        raise EnvironmentFault(f"cannot write {options.record}: {error.strerror}") from None
    with file, Output(file, most=64 * 1024 * 1024) as output:
        output.write(header_line(header) + b"\n")
        yield lambda event: output.write(event_line(event) + b"\n")
        output.close(seconds=60)
        if output.broken is not None:
            _note(f"the recording broke off: {_reason(output.broken)}")
        elif output.left_out:
            _note(f"{output.left_out} events are missing in the recording: the disk was too slow")


def _listening(options: argparse.Namespace) -> tuple[str, int]:
    host, colon, port = options.listen.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise UsageFault(f"--listen {options.listen}: give HOST:PORT, as in 127.0.0.1:6380 (port 0: a free one)")
    host = host or "127.0.0.1"
    if not _is_loopback(host) and not options.expose:
        raise UsageFault(
            f"--listen {options.listen} can be reached from other machines, and tap itself has neither TLS nor "
            "passwords: whoever reaches it reaches Redis. Say --expose if that is meant"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _upstream(url: str) -> tuple[Upstream, str]:
    try:
        address = parse_url(url).address
    except ConfigError as error:
        raise UsageFault(f"--url: {error}") from None
    # Who speaks through the tap says who he is, and which database he wants: the URL's own are not used.
    if address.username or address.password or address.database:
        _note("user, password and database in --url are not used: peers bring their own")
    upstream = Upstream(address.host, address.port, address.path, address.tls)
    where = f"unix://{address.path}" if address.path else f"{_bracketed(address.host)}:{address.port}"
    return upstream, where if address.path else f"{'redis' if address.tls is None else 'rediss'}://{where}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _probe(upstream: Upstream, description: str) -> None:
    try:
        async with asyncio.timeout(10):
            _, writer = await upstream.open()
    except TimeoutError:
        raise EnvironmentFault(f"{description} does not answer") from None
    except OSError as error:
        raise EnvironmentFault(f"cannot reach {description}: {_reason(error)}") from None
    writer.close()


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"
    return (os.strerror(error.errno) if error.errno and error.errno > 0 else "") or str(error) or type(error).__name__


def _note(text: str) -> None:
    sys.stderr.write(block("jobwire tap: ", text) + "\n")
    sys.stderr.flush()
