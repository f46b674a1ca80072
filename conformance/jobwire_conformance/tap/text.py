"""Steps as lines of text: aligned, readable at 100 columns; colour on a terminal only, and never as the only sign."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from jobwire_conformance.driver.text import one_line
from jobwire_conformance.driver.values import decode_value
from jobwire_conformance.rules.steps import Begin, Field, Flag, Gap, Line, Step, Summary
from jobwire_conformance.tap.fields import shown_value

__all__ = ["ARROWS", "Teller", "begin_text", "fitting", "short"]

_STYLES = {
    "client": "36",
    "worker": "35",
    "monitor": "34",
    "other": "2",
    "": "2",
    "flag": "31;1",
    "dim": "2",
    "good": "32",
}
ARROWS = {">": "▸", "<": "◂", "": " "}
_COMMAND = 10
_INDENT = 28
_MOST_FIELDS = 12
_OF_EVERY_JOB = frozenset({"_reply_to", "_queued", "_started", "_processed", "_accept", "_queue"})


class Teller:
    """Renders lines. ``width``: columns; ``colour``: whether the reader is a terminal that wants it."""

    def __init__(self, *, width: int = 100, colour: bool = False) -> None:
        self._width = max(60, width)
        self._colour = colour

    def lines(self, line: Line) -> Iterator[str]:
        """The text of one line of the tap."""
        if isinstance(line, Step):
            yield from self._step(line)
        elif isinstance(line, Summary):
            yield from self._summary(line)
        elif isinstance(line, Gap):
            yield self._styled("flag", f"  … {line.lines} lines left out: they were not read as fast as they came")

    # --- steps --------------------------------------------------------------------------------

    def _step(self, step: Step) -> Iterator[str]:
        if step.kind != "flag":
            yield from self._head(step)
        for flag in step.flags:
            yield from self._flag(flag, alone=step.kind == "flag", step=step)

    def _lead(self, step: Step) -> tuple[str, int]:
        """Time, connection, role, as text and as columns."""
        at = clock(step.at) if step.at is not None else f"{step.t:12.3f}"
        who = f"c{step.connection}"
        return f"{self._styled('dim', at)} {who:>4} {self._styled(step.role, f'{step.role or chr(183):<7}')}", 25

    def _head(self, step: Step) -> Iterator[str]:
        lead, columns = self._lead(step)
        command = one_line(step.command) if step.kind in ("command", "reply", "push") else step.kind
        job = short(step.job)
        start = f"{lead} {ARROWS[step.direction]} {command:<{_COMMAND}} "
        columns += max(len(command), _COMMAND) + 4
        room = self._width - columns
        rest = one_line("  ".join(part for part in (f"{job:<9}" if job else "", *self._facts(step)) if part))
        fields = [one_line(field_text(field)) for field in _shown_fields(step.fields)]
        inline = " ".join(fields)
        if not fields or len(rest) + 2 + len(inline) <= room:
            yield start + fitting("  ".join(filter(None, (rest, inline))), room).rstrip()
            return
        yield start + fitting(rest, room).rstrip()
        for text in fields[:_MOST_FIELDS]:
            yield " " * _INDENT + fitting(text, self._width - _INDENT)
        if len(fields) > _MOST_FIELDS:
            yield " " * _INDENT + self._styled("dim", f"… {len(fields) - _MOST_FIELDS} more fields")

    def _facts(self, step: Step) -> Iterator[str]:
        if step.error:
            yield f"error: {step.error}"
        script = step.about.startswith("script ")
        if step.about and script:
            yield step.about
        if step.keys:
            yield " → ".join(short(key) for key in step.keys[: 1 if script else 3])
        if step.about and not script:
            yield step.about
        if step.kind == "open" and step.peer:
            yield f"from {step.peer}"
        if step.multi:
            yield "in MULTI"

    def _flag(self, flag: Flag, *, alone: bool, step: Step) -> Iterator[str]:
        lead, columns = self._lead(step) if alone else (" " * 25, 25)
        head = one_line(f"{flag.requirement}  {flag.what}")
        yield f"{lead} {self._styled('flag', '✗ ' + fitting(head, self._width - columns - 3))}"
        where = [f"key {short(flag.key)}" if flag.key else "", f"field {flag.field}" if flag.field else ""]
        job = f"job {short(flag.job)}" if flag.job and flag.job not in flag.key else ""
        saw = f"expected {flag.expected}; seen {flag.seen}" if flag.expected or flag.seen else ""
        detail = ", ".join(filter(None, [*where, job]))
        for text in wrapped(one_line(": ".join(filter(None, [detail, saw]))), self._width - 27):
            yield " " * 27 + text

    # --- the end ------------------------------------------------------------------------------

    def _summary(self, said: Summary) -> Iterator[str]:
        yield f"{said.seconds:.1f} s, {said.connections} connections, {said.commands} commands, {_size(said.bytes)}"
        yield (
            f"jobs: {said.jobs_submitted} submitted, {said.jobs_taken} taken, {said.jobs_completed} completed, "
            f"{said.jobs_collected} collected, {said.open_jobs} open"
        )
        if said.dialects:
            shown = ", ".join(f"{name} × {count}" for name, count in said.dialects.items())
            yield from wrapped(f"shown: {shown}", self._width)
        if said.forgotten:
            yield f"{said.forgotten} open jobs were forgotten, to keep memory bounded: what they do later is not judged"
        if said.faults:
            yield self._styled(
                "flag", f"{said.faults} frames could not be followed by tap itself; they passed all the same"
            )
        if not said.flags:
            yield self._styled("good", "✓ nothing flagged")
            return
        total = sum(said.flags.values())
        counts = ", ".join(f"{name} × {count}" for name, count in said.flags.items())
        yield self._styled("flag", f"✗ {total} flagged: {counts}") + "  (docs/PROTOCOL.md)"

    def _styled(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text


def begin_text(line: Begin) -> str:
    """The lines on stderr at the start."""
    values = "values of jobs are shown" if line.values else "values of jobs are hidden (--values shows them)"
    return (
        f"listening on {line.listen}, forwarding to {one_line(line.source)}; {values}.\n"
        f"Give clients and workers redis://{line.listen} as their Redis. Ctrl-C ends with a summary.\n"
    )


# --- pieces -----------------------------------------------------------------------------------


def clock(at: float) -> str:
    """The time of day, local, to the millisecond."""
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at * 1000) % 1000:03d}"


def short(text: str) -> str:
    """IDs of 36 characters keep their first eight, wherever they stand in a key."""
    parts = text.split("::")
    return "::".join(f"{part[:8]}…" if len(part) == 36 and part.count("-") == 4 else part for part in parts)


def fitting(text: str, room: int) -> str:
    """``text``, cut where it does not fit."""
    return text if len(text) <= room else text[: max(1, room - 1)] + "…"


def wrapped(text: str, room: int) -> Iterator[str]:
    """``text`` in lines of at most ``room`` columns, broken at blanks where there are any; three at most."""
    for _ in range(3):
        if len(text) <= room:
            break
        at = text.rfind(" ", room // 2, room + 1)
        at = room if at < 0 else at
        yield text[:at]
        text = text[at:].lstrip()
    if text:
        yield fitting(text, room)


def _shown_fields(fields: list[Field]) -> list[Field]:
    """Parameters and results; meta fields only where they stand alone, or are none of every job's."""
    kept = [field for field in fields if field.name not in _OF_EVERY_JOB]
    return kept or fields


def field_text(field: Field) -> str:
    """``op="reverse"``, ``value=[1, 2] (Sereal v5)``, ``result=T "cba"``; without values their kind and size."""
    name = field.name
    if field.type in ("text", "sereal", "json"):
        name = name.partition("_")[2] or "(empty key)"
    elif field.type == "member":
        name = name.removeprefix("data.")
    tag = f"{field.tag} " if field.tag else ""
    kind = "" if field.type != "sereal" else f" (Sereal {field.about.split(' ')[0]})"
    if field.type == "json":
        kind = " (json_)"
    if field.value is msgspec.UNSET:
        about = f"{field.about}, " if field.about else ""
        return f"{name}={tag}‹{about}{_size(field.size)}›"
    return f"{name}={tag}{_value_text(field)}{kind}"


def _value_text(field: Field) -> str:
    value: Any = decode_value(field.value)
    if field.type == "meta" and isinstance(value, str) and value.isprintable():
        return short(value)
    return shown_value(value)


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1024:.0f} KiB" if count < 10 * 1024 * 1024 else f"{count / 1024 / 1024:.0f} MiB"
