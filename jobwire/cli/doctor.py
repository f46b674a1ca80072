"""Look whether a server, and this machine, are fit for jobs: one line a check, with the remedy.

Changes nothing. Exit code 1 where something will not work; warnings alone leave it 0.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from importlib import metadata
from typing import Literal, TypeAlias

import msgspec

from jobwire import fast
from jobwire.cli.common import FAILED, OK, add_json, add_keyspace, add_mode, connection_to, mode_of, print_json, styled
from jobwire.errors import ServerError, printable
from jobwire.transport import Connection
from jobwire.version import __version__
from jobwire.wire import Mode
from jobwire.wire.commands import Command
from jobwire.wire.probe import INFO, WHO_AM_I, config_get, config_value, dry_run, parse_info, sample_commands

HELP = "check a server and this machine"

Level: TypeAlias = Literal["ok", "warn", "fail"]
_OLDEST = (6, 2)
_FORKS = ("Valkey", "redict")
_PERL = ("Job::Async::Redis", "Job::Async", "Net::Async::Redis", "JSON::MaybeUTF8", "Sereal")
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(msgspec.Struct, frozen=True):
    """One check: the finding, and the remedy."""

    level: Level
    check: str
    message: str


def configure(parser: argparse.ArgumentParser) -> None:
    add_keyspace(parser)
    add_mode(parser)
    parser.add_argument("--perl", default="perl", metavar="PROGRAM", help="the Perl to look at (default: perl)")
    add_json(parser)


async def run(options: argparse.Namespace) -> int:
    async with connection_to(options.url) as connection:
        findings = [finding async for finding in examine(connection, mode_of(options), options.queue)]
    findings += [compiled_code(), event_loop(), await perl_stack(options.perl)]
    if options.json:
        print_json(findings)
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            level = styled(f"{finding.level:<4}", _COLOURS[finding.level])
            print(f"{level}  {finding.check:<{width}}  {finding.message}")
    return FAILED if any(finding.level == "fail" for finding in findings) else OK


async def examine(connection: Connection, mode: Mode, queue: str) -> AsyncIterator[Finding]:
    """The checks of the server, in order. Raises ``TransportError`` where the connection breaks."""
    try:
        info = parse_info(await connection.execute(INFO))
    except ServerError as error:
        yield Finding("warn", "server", f"INFO is refused ({error}): version, persistence and eviction are not known")
    else:
        yield version(info)
        yield await persistence(connection, info)
        yield eviction(info)
        yield cluster(info, mode)
    yield await permissions(connection, mode, mode.keyspace.queue(queue))


def version(info: dict[str, str]) -> Finding:
    name = next((name for name in _FORKS if f"{name.lower()}_version" in info), "Redis")
    # A fork says which Redis it is compatible with; its abilities follow from that.
    text = info.get(f"{name.lower()}_version", "unknown")
    numbers = [int(part) if part.isdigit() else 0 for part in info.get("redis_version", "0").split(".")]
    if tuple(numbers[:2]) < _OLDEST:
        return Finding(
            "fail", "server", f"{name} {text} is too old: recovery needs Redis 6.2 (LMOVE), Valkey or redict"
        )
    return Finding("ok", "server", f"{name} {text}")


async def persistence(connection: Connection, info: dict[str, str]) -> Finding:
    if info.get("aof_enabled") == "1":
        return Finding("ok", "persistence", "append-only file on (appendfsync says what a crash may cost)")
    try:
        save = config_value(await connection.execute(config_get(b"save")))
    except ServerError:
        save = None
    if save:
        words = "snapshots alone: a crash loses the jobs since the last one; set appendonly yes"
    elif save is None:
        words = "no append-only file; without snapshots (CONFIG GET save is not told) a restart loses all jobs"
    else:
        words = "none: a restart of the server loses all jobs; set appendonly yes"
    return Finding("warn", "persistence", words)


def eviction(info: dict[str, str]) -> Finding:
    policy = info.get("maxmemory_policy", "unknown")
    limited = info.get("maxmemory", "0") != "0"
    if policy == "noeviction":
        return Finding("ok", "eviction", "noeviction: a full server refuses new jobs, and drops none")
    if policy == "unknown":
        return Finding("warn", "eviction", "maxmemory_policy is not told; it should be noeviction")
    what = "heartbeats, so that living workers look dead" if policy.startswith("volatile") else "jobs and queues"
    level: Level = "fail" if limited and policy.startswith("allkeys") else "warn"
    when = "when memory is full" if limited else "once maxmemory is set"
    return Finding(level, "eviction", f"{policy} drops {what} {when}; set maxmemory-policy noeviction")


def cluster(info: dict[str, str], mode: Mode) -> Finding:
    if info.get("cluster_enabled") != "1":
        role = info.get("role", "master")
        if role not in ("master", "unknown"):
            return Finding("fail", "cluster", f"this server is a {role}: give the URL of the master, or of Sentinel")
        return Finding("ok", "cluster", "no cluster")
    prefix = mode.keyspace.prefix
    tagged = prefix.startswith("{") if isinstance(prefix, str) else prefix.startswith(b"{")
    hint = "" if tagged else "; the lists of a prefix must be in one slot: use a prefix in braces, as in '{jobs}'"
    perl = "Perl's Job::Async::Redis cannot follow its redirections, and loses jobs there"
    return Finding("warn", "cluster", f"a cluster: give jobwire redis+cluster://…; {perl}{hint}")


async def permissions(connection: Connection, mode: Mode, queue: bytes) -> Finding:
    samples = sample_commands(mode, queue)
    needed = {command[0].decode().lower(): command for commands in samples.values() for command in commands}
    words = " ".join(f"+{name}" for name in sorted(needed))
    try:
        user = await connection.execute(WHO_AM_I)
        name = user if isinstance(user, bytes) else b"default"
        refused = [word for word, command in sorted(needed.items()) if not await _may(connection, name, command)]
    except ServerError as error:
        return Finding("warn", "permissions", f"cannot be checked ({error}); mode {mode.name} needs {words}")
    if refused:
        missing = " ".join(f"+{word}" for word in refused)
        return Finding(
            "fail", "permissions", f"user {printable(name)} lacks {missing} on its keys and channels (~… &client::*)"
        )
    return Finding("ok", "permissions", f"user {printable(name)} may send all that mode {mode.name} needs")


async def _may(connection: Connection, user: bytes, command: Command) -> bool:
    return await connection.execute(dry_run(user, command)) in (b"OK", "OK")


def compiled_code() -> Finding:
    reasons = {reason for part in fast.PARTS if (reason := fast.missing(part))}
    if not reasons:
        return Finding("ok", "compiled", f"the compiled code of jobwire {__version__} is in use")
    remedy = "install a wheel, or a C compiler and Python's headers first; it works without, more slowly"
    return Finding("warn", "compiled", f"plain Python is in use ({'; '.join(sorted(reasons))}); {remedy}")


def event_loop() -> Finding:
    try:
        found = metadata.version("uvloop")
    except metadata.PackageNotFoundError:
        return Finding("ok", "loop", "asyncio's own; pip install 'jobwire[uvloop]' is faster, not on Windows")
    return Finding("ok", "loop", f"uvloop {found} is installed")


async def perl_stack(program: str) -> Finding:
    """The Perl of this machine; a machine without any is well as long as no Perl is to run on it."""
    path = shutil.which(program)
    if path is None:
        return Finding("ok", "perl", f"no {program} on this machine: nothing to check")
    # The version of each module, or nothing where it cannot be loaded.
    script = "for (@ARGV) { my $m = $_; print(($m, ' ', (eval qq{require $m; \\$${m}::VERSION} // ''), qq{\\n})) }"
    process = await asyncio.create_subprocess_exec(
        path, "-e", script, *_PERL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    found = dict(line.split(" ", 1) for line in output.decode(errors="replace").splitlines() if " " in line)
    missing = [module for module in _PERL if not found.get(module)]
    if missing:
        return Finding("warn", "perl", f"{', '.join(missing)} missing: no Perl client or worker runs here (cpanm them)")
    versions = ", ".join(f"{module} {found[module]}" for module in _PERL)
    if re.match(r"([6-9]|\d\d)\b", found["Sereal"]):
        remedy = "stay below 6, or load Jobwire::SerealProtocol first"
        return Finding(
            "warn", "perl", f"{versions}; jobwire and older Perls refuse what Sereal 6 and later write: {remedy}"
        )
    return Finding("ok", "perl", versions)
