"""Show a fleet to Prometheus, to statsd, or to both: queues, workers, dead and rejected jobs.

`jobwire exporter` answers `/metrics` at --listen (extra prometheus), with a fresh look at Redis each time. With
--statsd it sends the figures of Perl's jobmon-redis.pl, under the same names:
`job_queue.<prefix>.<pending|processing>.` and `count`, `age`, `delay`, `work`, `total`. It asks for known names, so a
look costs the same however many jobs there are.

Every option has a variable, as JOBWIRE_LISTEN for --listen. It runs until SIGTERM or SIGINT comes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from jobwire.cli.common import OK, USAGE, CliError, add_url, bytes_in, connection_to
from jobwire.cli.fleet import Fleet, look_at
from jobwire.cli.http import JSON, Answer, SmallServer, address_of
from jobwire.cli.logs import LEVELS, set_up_logging
from jobwire.errors import ConfigError, TransportError
from jobwire.transport import Connection
from jobwire.wire import Keyspace, Reply, job_key
from jobwire.wire.codec.extensions import PROCESSED, QUEUED, STARTED
from jobwire.wire.commands import hash_get, list_items, list_length
from jobwire.wire.keys import PENDING, PROCESSING
from jobwire.wire.text import Text, parse_epoch
from jobwire.worker.signals import told_of_signals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

HELP = "show a fleet to Prometheus or statsd"
FROM_ENVIRONMENT = True
_log = logging.getLogger("jobwire.exporter")
_WITHIN = 4.0
"""Seconds that one look may take."""
_LOOKED_AT = 100
"""Jobs at the left end of a list whose times go to statsd."""


def configure(parser: argparse.ArgumentParser) -> None:
    add_url(parser)
    parser.add_argument("--prefix", nargs="*", default=["jobs"], help="prefixes of the queues (default: jobs)")
    parser.add_argument(
        "--queue", nargs="*", default=[], help="further queues than pending and those that jobwire workers name"
    )
    parser.add_argument("--listen", metavar="HOST:PORT", help="answer /metrics there (default: 127.0.0.1:9108)")
    parser.add_argument("--statsd", metavar="HOST:PORT", help="send to this statsd, by UDP")
    parser.add_argument(
        "--interval", type=float, default=5.0, metavar="SECONDS", help="between two reports to statsd (default: 5)"
    )
    parser.add_argument("--log-level", choices=LEVELS, help="default: info")


async def run(options: argparse.Namespace) -> int:
    set_up_logging(level=options.log_level)
    ended = asyncio.Event()
    with told_of_signals(lambda _: ended.set()):
        async with contextlib.AsyncExitStack() as stack:
            if options.listen is not None or options.statsd is None:
                exporter = Exporter(options.url, list(map(Keyspace, options.prefix)), options.queue)
                address = address_of(options.listen or "127.0.0.1:9108")
                server = await stack.enter_async_context(SmallServer(address, exporter.answer))
                _log.info("metrics at http://%s/metrics", server.address)
            if options.statsd is not None:
                reporting = asyncio.ensure_future(_report_for_ever(options))
                stack.callback(reporting.cancel)
            await ended.wait()
    return OK


# -- Prometheus


class Exporter:
    """Answers ``/metrics``; keeps one connection, and makes a new one where it was lost."""

    def __init__(self, url: str, keyspaces: Sequence[Keyspace], queues: Sequence[str]) -> None:
        try:
            import prometheus_client
        except ModuleNotFoundError:
            raise CliError("this needs the extra prometheus: pip install 'jobwire[prometheus]'", USAGE) from None
        self._client = prometheus_client
        self._url = url
        self._keyspaces = keyspaces
        self._queues = queues

    async def answer(self, path: str) -> Answer:
        if path != "/metrics":
            return Answer(HTTPStatus.NOT_FOUND, JSON, b'{"paths": ["/metrics"]}')
        fleets: list[Fleet] = []
        try:
            async with asyncio.timeout(_WITHIN), connection_to(self._url) as connection:
                fleets = [await look_at(connection, keyspace, self._queues) for keyspace in self._keyspaces]
        except (TransportError, ConfigError, TimeoutError) as error:
            _log.warning("cannot look at Redis: %s", str(error) or "it does not answer")
        registry = self._client.CollectorRegistry()
        registry.register(_Looked(fleets, up=bool(fleets)))
        return Answer(HTTPStatus.OK, self._client.CONTENT_TYPE_LATEST, self._client.generate_latest(registry))


class _Looked:
    """One look, as metrics."""

    def __init__(self, fleets: Sequence[Fleet], *, up: bool) -> None:
        self._fleets = fleets
        self._up = up

    def collect(self) -> list[Metric]:
        from prometheus_client.core import GaugeMetricFamily as Gauge

        up = Gauge("jobwire_redis_up", "1 where Redis answered the last look.", value=float(self._up))
        length = Gauge("jobwire_queue_length", "Jobs that wait.", labels=("prefix", "queue"))
        age = Gauge(
            "jobwire_queue_next_seconds",
            "Seconds since the submission of the job that is taken next; 0 where none waits.",
            labels=("prefix", "queue"),
        )
        running = Gauge(
            "jobwire_running_jobs",
            "Jobs in processing lists: Perl's shared one, and those of jobwire workers.",
            labels=("prefix", "list"),
        )
        workers = Gauge(
            "jobwire_fleet_workers",
            "Known jobwire workers, with a sign of life (alive) or without (silent).",
            labels=("prefix", "state"),
        )
        aside = {
            "dead": Gauge("jobwire_dead_jobs", "Jobs that will not be run again.", labels=("prefix",)),
            "rejected": Gauge("jobwire_rejected_entries", "Entries that could not be read.", labels=("prefix",)),
            "attempts": Gauge("jobwire_jobs_with_losses", "Jobs that have lost a worker.", labels=("prefix",)),
        }
        look = Gauge("jobwire_look_seconds", "How long the last look at Redis took.", labels=("prefix",))
        for fleet in self._fleets:
            state, prefix = fleet.state, _label(fleet.state.prefix)
            for queue in state.queues:
                name = _label(queue.name)
                length.add_metric((prefix, name), queue.length)
                age.add_metric((prefix, name), fleet.ages.get(queue.name, 0.0))
            running.add_metric((prefix, "shared"), state.processing)
            running.add_metric((prefix, "own"), sum(own.length for own in state.own))
            alive = sum(worker.heartbeat is not None for worker in state.workers)
            workers.add_metric((prefix, "alive"), alive)
            workers.add_metric((prefix, "silent"), len(state.workers) - alive)
            for name, gauge in aside.items():
                gauge.add_metric((prefix,), getattr(state, name))
            look.add_metric((prefix,), fleet.took)
        return [up, length, age, running, workers, *aside.values(), look]


def _label(value: Text) -> str:
    return value if isinstance(value, str) else value.decode(errors="backslashreplace")


# -- statsd


async def _report_for_ever(options: argparse.Namespace) -> None:
    host, port = address_of(options.statsd)
    said = ""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as out:
        while True:
            try:
                async with asyncio.timeout(_WITHIN), connection_to(options.url) as connection:
                    for prefix in options.prefix:
                        for line in await statsd_lines(connection, Keyspace(prefix)):
                            out.sendto(line, (host, port))
                said = ""
            except (TransportError, TimeoutError, OSError) as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("cannot report to statsd: %s", said or "Redis does not answer")
            await asyncio.sleep(max(0.05, options.interval))


async def statsd_lines(connection: Connection, keyspace: Keyspace) -> list[bytes]:
    """The datagrams of one look, with the names and types of jobmon-redis.pl. Raises ``TransportError``.

    ``processing`` holds the lists of jobwire workers as well, which that program does not see.
    """
    prefix = ".".join(["job_queue", _label(keyspace.prefix)])
    fleet = await look_at(connection, keyspace)
    own = [keyspace.own_list(one.worker) for one in fleet.state.own]
    lists = {PROCESSING: [keyspace.queue(PROCESSING), *own], PENDING: [keyspace.queue(PENDING)]}
    lines: list[bytes] = []
    for name, keys in lists.items():
        lengths = await connection.call(*map(list_length, keys))
        total = sum(length for length in lengths if isinstance(length, int))
        lines.append(f"{prefix}.{name}.count:{total}|ms".encode())
        job_ids: list[bytes] = []
        for key in keys:
            if len(job_ids) < _LOOKED_AT:
                job_ids += bytes_in(await connection.execute(list_items(key, 0, _LOOKED_AT)))
        asked = (hash_get(job_key(job_id), QUEUED, STARTED, PROCESSED) for job_id in job_ids[: _LOOKED_AT + 1])
        for reply in await connection.call(*asked) if job_ids else ():
            for what, seconds in _times(reply, time.time()).items():
                lines.append(f"{prefix}.{name}.{what}:{1000 * seconds:.3f}|ms".encode())
    return lines


def _times(reply: Reply, now: float) -> dict[str, float]:
    found = reply if isinstance(reply, list) else []
    queued, started, processed = (_moment(value) for value in [*found, None, None, None][:3])
    spans = {
        "age": (queued, now),
        "delay": (queued, started),
        "total": (queued, processed),
        "work": (started, processed),
    }
    return {name: end - begin for name, (begin, end) in spans.items() if begin is not None and end is not None}


def _moment(value: Reply) -> float | None:
    return parse_epoch(value) if isinstance(value, bytes) else None
