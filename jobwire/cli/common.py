"""Shared by the commands: options, exit codes, one connection, output."""

from __future__ import annotations

import argparse
import json
import os
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from jobwire.errors import ClosedError, ConfigError, EncodeError, JobwireError, TransportError
from jobwire.limits import DEFAULT_LIMITS
from jobwire.options import build_mode
from jobwire.sereal.values import PerlObject, PerlRegexp, ScalarRef
from jobwire.transport import Connection, Pace, entries_of, open_transport
from jobwire.wire import DIALECTS, MODES, Keyspace, Mode, Reply
from jobwire.wire.commands import first_error, list_items, list_length, scan_type, scanned

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
ENVIRONMENT: Final = 3
INTERRUPTED: Final = 130

_DEFAULT_URL = "redis://127.0.0.1"
_PASSED = 250_000
"""Entries that a step passes at the most to find its own: about 5 ms of the server."""


class CliError(Exception):
    """Ends a command with one line and an exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: JobwireError) -> int:
    """The exit code that an error of the library means."""
    if isinstance(error, TransportError):
        return ENVIRONMENT
    return USAGE if isinstance(error, ConfigError | EncodeError | ClosedError) else FAILED


def fail(command: str, error: Exception, code: int) -> int:
    """Say in one line why ``command`` failed; its exit code."""
    print(f"jobwire {command}: {one_line(str(error))}", file=sys.stderr)
    return code


def one_line(text: str) -> str:
    """``text`` without line ends and other control characters."""
    joined = " ".join(line.strip() for line in text.splitlines() if line.strip())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in joined)


# -- options


def add_url(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default=os.environ.get("JOBWIRE_URL", _DEFAULT_URL),
        help=f"where Redis is (default: $JOBWIRE_URL, else {_DEFAULT_URL})",
    )


def add_prefix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", default="jobs", help="prefix of the queues (default: jobs)")


def add_keyspace(parser: argparse.ArgumentParser) -> None:
    """--url, --prefix, --queue."""
    add_url(parser)
    add_prefix(parser)
    parser.add_argument("--queue", default="pending", help="name of the queue (default: pending)")


def add_mode(parser: argparse.ArgumentParser) -> None:
    """--mode, --dialect."""
    parser.add_argument("--mode", choices=list(MODES), default="reliable", help="default: reliable, which Perl speaks")
    parser.add_argument("--dialect", choices=list(DIALECTS), default="0.004", help="default: 0.004")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def from_environment(parser: argparse.ArgumentParser) -> None:
    """Let the variable ``JOBWIRE_<OPTION>`` stand for each option that is not given. Raises ``CliError``."""
    for action in parser._actions:
        name = f"JOBWIRE_{action.dest.upper()}"
        text = os.environ.get(name)
        if not text or action.dest == "help":
            continue
        try:
            action.default = _value_of(action, text)
        except ValueError:
            raise CliError(f"${name} is {text!r}, which is not a value for {action.dest}", USAGE) from None
        action.required = False


def _value_of(action: argparse.Action, text: str) -> object:
    if action.nargs == 0:
        return _switch(text)
    if not action.option_strings or action.nargs in ("*", "+"):
        return text.split()
    value = action.type(text) if callable(action.type) else text
    if action.choices is not None and value not in action.choices:
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def mode_of(options: argparse.Namespace) -> Mode:
    """The mode that --mode, --dialect and --prefix name."""
    return build_mode(
        options.mode,
        dialect=options.dialect,
        prefix=options.prefix,
        use_multi=False,
        strings="auto",
        limits=DEFAULT_LIMITS,
        spread=is_spread(options.url),
    )


def is_spread(url: str) -> bool:
    """Is it that of a cluster? Raises ``ConfigError``."""
    return open_transport(url).spread


# -- Redis


@asynccontextmanager
async def connection_to(url: str, *, near: bytes = b"") -> AsyncIterator[Connection]:
    """A connection for as long as the context lasts; on a cluster, commands without a key go to the node of ``near``.

    Raises ``ConfigError``, ``ConnectError``, ``AuthError``.
    """
    transport = open_transport(url)
    transport.anchor(near)
    try:
        yield await transport.connect(name="jobwire-cli")
    finally:
        await transport.close()


async def keys_of_type(connection: Connection, kind: bytes) -> list[bytes]:
    """All keys of one type, each once."""
    found: dict[bytes, None] = {}
    cursor = b"0"
    while True:
        cursor, keys = scanned(await connection.execute(scan_type(cursor, kind)))
        found |= dict.fromkeys(keys)
        if cursor == b"0":
            return sorted(found)


async def work_off(
    connection: Connection, key: bytes, act: Callable[[list[bytes]], Awaitable[int]], *, step: int
) -> int:
    """Hand all entries of a list to ``act``, the oldest first, ``step`` at a time at the most, and fewer of large ones.

    ``act`` returns how many of its entries it left in the list, and so does this of all. Entries that are pushed
    meanwhile are not looked at.
    """
    left, pace = 0, Pace(step)
    length = await connection.execute(list_length(key))
    ahead = length if isinstance(length, int) else 0
    while ahead > 0:
        # Each of them is looked for past those that were left.
        many = min(pace.step, ahead, 1 + _PASSED // (1 + left))
        entries = bytes_in(await connection.execute(list_items(key, -left - many, -left - 1)))
        if not entries:
            break
        pace.learn(entries)
        left += await act(entries[::-1])
        ahead -= len(entries)
    return left


async def position_in(connection: Connection, key: bytes, entry: bytes) -> int | None:
    """How far from the left an entry of a list stands, None where it is not there; read in pieces."""
    passed = 0
    async for entries in entries_of(connection.execute, key):
        if entry in entries:
            return passed + entries.index(entry)
        passed += len(entries)
    return None


async def is_newer_half(connection: Connection, key: bytes, position: int) -> bool:
    """Whether a position is nearer to the left end of the list than to the right one."""
    length = await connection.execute(list_length(key))
    return isinstance(length, int) and 2 * position < length


def bytes_in(reply: Reply) -> list[bytes]:
    """The strings of an array reply."""
    return [item for item in reply if isinstance(item, bytes)] if isinstance(reply, list) else []


def checked(replies: Sequence[Reply]) -> Sequence[Reply]:
    """``replies``; raises the first error among them."""
    error = first_error(replies)
    if error is not None:
        raise error
    return replies


def keyspace_of(options: argparse.Namespace) -> Keyspace:
    return Keyspace(options.prefix)


# -- output


def styled(text: str, style: str) -> str:
    """``text`` in bold, red, yellow or green, on a terminal that wants colours (NO_COLOR, TERM=dumb)."""
    code = {"bold": 1, "red": 31, "green": 32, "yellow": 33}[style]
    wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{code}m{text}\x1b[0m" if wanted else text


def shown(value: str | bytes | None, *, at_most: int = 80) -> str:
    """One line that shows ``value`` on a terminal: text as text, escaped where it could move the cursor.

    Control characters, those that turn the direction of text, and bytes that are no UTF-8 are escaped.
    """
    if value is None:
        return "(none)"
    head = value[:at_most]
    try:
        text = repr(head.decode() if isinstance(head, bytes) else head)
    except UnicodeDecodeError as error:
        # A character that the cut has halved is left out; anything else is no text.
        cut = isinstance(head, bytes) and len(value) > at_most and error.start > at_most - 4
        text = repr(head[: error.start].decode()) if cut and isinstance(head, bytes) else repr(head)
    return text if len(value) <= at_most else f"{text}... ({len(value)} in all)"


def bare(value: object, *, at_most: int = 60) -> str:
    """``value`` as ``shown`` shows it, without quotes where it needs none."""
    text = shown(value if isinstance(value, str | bytes) else str(value), at_most=at_most)
    inner = text[1:-1]
    return inner if text[:1] == "'" and "\\" not in inner and " " not in inner and inner else text


def confirmed(what: str, options: argparse.Namespace) -> None:
    """Return where --yes was given, or somebody at the terminal says so. Raises ``CliError``."""
    if options.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CliError(f"this would {what}; say --yes", USAGE)
    print(f"This will {what}. Type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CliError("nothing was done", FAILED)


def more(total: int, listed: int) -> str | None:
    """The line that counts the entries a list leaves out."""
    return f"… {total - listed} more of {total} (--limit)" if total > listed else None


def print_json(value: object) -> None:
    """One JSON document, bytes as ``{"$bytes": base64}``."""
    print(json.dumps(jsonable(value), ensure_ascii=True, indent=2))


def jsonable(value: object) -> Any:
    """``value`` as JSON can say it: bytes, keys that are bytes, and Perl's own values in objects with a ``$`` key."""
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else ascii(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {name: jsonable(getattr(value, name)) for name in value.__struct_fields__}
    return _of_perl(value)


def _of_perl(value: object) -> Any:
    if isinstance(value, PerlObject):
        return {"$object": jsonable(value.class_name), "value": jsonable(value.value)}
    if isinstance(value, ScalarRef):
        return {"$ref": jsonable(value.value)}
    if isinstance(value, PerlRegexp):
        return {"$regexp": jsonable(value.pattern), "flags": value.flags}
    return value
