"""Return the jobs that dead workers left behind to their queues.

Without further options: the jobs of jobwire workers whose sign of life has run out, as every live worker does from
time to time by itself; a job that lost too many workers goes to the dead ones. Live workers are never touched.

Two more kinds of leftovers are an operator's decision, because nobody can see whether somebody still works on them.
Both only print their plan until --yes is given, and take nothing that is younger than --older-than:

--shared          entries of the processing list that Perl's workers share
--adopt-unmarked  jobs of mode recoverable that stand in no list of the database, and bear no worker's mark; they may
                  belong to any prefix of the database

Durations are seconds, or a number with s, m, h or d.
"""

from __future__ import annotations

import argparse

from jobwire.cli.common import (
    OK,
    USAGE,
    CliError,
    add_json,
    add_keyspace,
    bare,
    connection_to,
    is_spread,
    keyspace_of,
    print_json,
)
from jobwire.limits import DEFAULT_LIMITS
from jobwire.options import build_mode
from jobwire.transport import Connection
from jobwire.wire import HashMode
from jobwire.worker.rescuer import MAX_LOSSES, Recovered, Recovery

HELP = "return to their queues what dead workers left behind"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--shared", action="store_true", help="the list that Perl's workers share")
    kinds.add_argument("--adopt-unmarked", action="store_true", help="jobs that stand nowhere (mode recoverable)")
    parser.add_argument("--older-than", type=_seconds, metavar="DURATION", help="only what was begun that long ago")
    parser.add_argument(
        "--unknown-age", action="store_true", help="with --shared: also entries that say no age (releases before 0.004)"
    )
    parser.add_argument("--processing-queue", default="processing", help="with --shared: its name (processing)")
    parser.add_argument(
        "--max-losses",
        type=int,
        default=MAX_LOSSES,
        metavar="N",
        help=f"how many workers a job may lose before it is set aside as dead ({MAX_LOSSES})",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="with --shared and --adopt-unmarked: do it")
    add_keyspace(parser)
    add_json(parser)


def _seconds(text: str) -> float:
    number, unit = (text[:-1], _UNITS[text[-1]]) if text[-1:] in _UNITS else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration (3600, 90m, 2h, 1d)") from None
    if not value >= 0:
        raise argparse.ArgumentTypeError("a duration cannot be negative")
    return value


async def run(options: argparse.Namespace) -> int:
    _check(options)
    async with connection_to(options.url, near=keyspace_of(options).queue("")) as connection:
        found = await _recover(connection, options)
    if options.json:
        print_json(found)
    else:
        _print(found, asked=_only_says(options) and not options.dry_run)
    return OK


def _check(options: argparse.Namespace) -> None:
    operators = options.shared or options.adopt_unmarked
    if operators and options.older_than is None:
        raise CliError("say from what age on: --older-than 2h", USAGE)
    if not operators and (options.older_than is not None or options.yes):
        raise CliError("--older-than and --yes belong to --shared and --adopt-unmarked", USAGE)
    if options.unknown_age and not options.shared:
        raise CliError("--unknown-age belongs to --shared", USAGE)
    if options.yes and options.dry_run:
        raise CliError("--yes and --dry-run contradict each other", USAGE)
    if options.max_losses < 1:
        raise CliError("--max-losses must be at least 1", USAGE)


def _only_says(options: argparse.Namespace) -> bool:
    return options.dry_run or ((options.shared or options.adopt_unmarked) and not options.yes)


async def _recover(connection: Connection, options: argparse.Namespace) -> list[Recovered]:
    mode = build_mode(
        "recoverable" if options.adopt_unmarked else "reliable",
        dialect="0.004",
        prefix=options.prefix,
        use_multi=False,
        strings="auto",
        limits=DEFAULT_LIMITS,
        spread=is_spread(options.url),
    )
    assert isinstance(mode, HashMode)  # noqa: S101 - both are
    queue = mode.keyspace.queue(options.queue)
    recovery = Recovery(connection, mode, max_losses=options.max_losses, queue=queue)
    dry_run = _only_says(options)
    if options.shared:
        return await recovery.shared(
            older_than=options.older_than,
            dry_run=dry_run,
            unknown_age=options.unknown_age,
            processing=mode.keyspace.queue(options.processing_queue),
        )
    if options.adopt_unmarked:
        return await recovery.unmarked(older_than=options.older_than, dry_run=dry_run)
    return await recovery.run(dry_run=dry_run)


def _print(found: list[Recovered], *, asked: bool) -> None:
    for done in found:
        whose = f"  worker {bare(done.worker)}" if done.worker else ""
        print(f"{bare(done.job_id)}  {done.outcome}  {bare(done.queue)}{whose}")
    if not found:
        print("nothing was left behind")
    elif asked:
        print(f"{len(found)} in all; nothing was changed (--yes does it)")
