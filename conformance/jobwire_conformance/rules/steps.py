"""The output of ``jobwire tap``: the Structs of its lines. ``--json`` prints them as they are, one object a line.

Their JSON Schema is ``conformance/schemas/tap-line.json``. Fields may be added; none changes its type or meaning.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from jobwire_conformance.driver.text import json_line
from jobwire_conformance.driver.values import encode_value

__all__ = ["Begin", "Field", "Flag", "Gap", "Line", "Role", "Step", "Summary", "encode_line"]

Role = Literal["client", "worker", "monitor", "other", ""]
"""The presumed role of a connection, from its commands so far; empty: none of them shows it."""


class Field(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A field of a job hash, a member of an envelope, or a result.

    ``type``   ``text``, ``sereal``, ``json``, ``meta``, ``result``, ``member`` (of an envelope), ``bare`` (no type)
    ``tag``    of a result: ``T``, ``J``, ``E``, ``V``; empty where it has none
    ``size``   bytes of the value as it stands on the wire
    ``about``  a description of the value that does not show it
    ``value``  the decoded value as tagged JSON (docs/CONFORMANCE.md); only with ``--values``
    """

    name: str
    type: str
    tag: str = ""
    size: int = 0
    about: str = ""
    value: Any = msgspec.UNSET


class Flag(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Something that goes against PROTOCOL.md.

    ``requirement`` is its ID there; ``RESP`` for bytes that are not the Redis protocol, ``MODE`` (in cases) for a
    command that is no part of the mode. ``seen`` holds no values of
    jobs, unless ``--values`` allows them.
    """

    requirement: str
    what: str
    expected: str = ""
    seen: str = ""
    key: str = ""
    field: str = ""
    job: str = ""
    connection: int = 0
    role: Role = ""


class Step(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, tag="step"):
    """One command, reply or message, or a connection that comes or goes.

    ``t`` seconds since the start; ``at`` epoch seconds, live only; ``peer`` the other end of the connection. ``about``
    describes anything but jobs, queues and fields. ``multi``: inside MULTI … EXEC. ``plain``: nothing that anybody
    would miss (``+OK``, a poll in vain).
    A ``kind`` of ``flag`` carries flags that belong to no single frame: events that did not come in time.
    """

    t: float
    kind: Literal["open", "close", "command", "reply", "push", "broken", "flag"]
    at: float | None = None
    connection: int = 0
    peer: str = ""
    role: Role = ""
    direction: Literal[">", "<", ""] = ""
    command: str = ""
    job: str = ""
    keys: list[str] = []
    about: str = ""
    fields: list[Field] = []
    error: str = ""
    size: int = 0
    multi: bool = False
    plain: bool = False
    flags: list[Flag] = []


class Begin(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, tag="begin"):
    """The first line: the source of the traffic; ``at`` epoch seconds."""

    version: str
    source: str
    listen: str = ""
    at: float | None = None
    values: bool = False
    mode: str = ""
    dialect: str = ""
    prefix: str | None = None


class Summary(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, tag="summary"):
    """The last line. ``flags``: how often each requirement was gone against; ``forgotten``: jobs left out of account;
    ``faults``: frames that tap itself could not follow (they passed all the same).
    """

    seconds: float
    connections: int
    commands: int
    bytes: int
    jobs_submitted: int = 0
    jobs_taken: int = 0
    jobs_completed: int = 0
    jobs_collected: int = 0
    open_jobs: int = 0
    forgotten: int = 0
    flags: dict[str, int] = {}
    faults: int = 0
    dialects: dict[str, int] = {}


class Gap(msgspec.Struct, kw_only=True, frozen=True, tag="gap"):
    """In place of ``lines`` lines that were left out because nobody read them: the traffic does not wait for that."""

    lines: int


Line = Begin | Step | Gap | Summary

_encode = msgspec.json.Encoder().encode


def encode_line(line: Line) -> bytes:
    """One line of ``--json``, without its end."""
    return json_line(_encode(line))


def tagged(value: Any) -> Any:
    """A decoded value as tagged JSON; values without a tag are printed."""
    try:
        return encode_value(value)
    except (TypeError, RecursionError):
        return repr(value)[:200]
