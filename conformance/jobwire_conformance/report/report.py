"""The report: JSON lines, written as the run goes; every rendering is made from it.

The first line is the :class:`Header` (every version, the machine), then one :class:`VerdictLine` an
instance with its evidence, then the :class:`Footer`. A file without footer is of a run that did not
end: :func:`read_report` refuses it, and :func:`read_unfinished` is for going on with it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from jobwire_conformance.driver.text import json_line
from jobwire_conformance.report.verdicts import Verdict

__all__ = [
    "REPORT_VERSION",
    "Footer",
    "Header",
    "Line",
    "PeerFacts",
    "Report",
    "ReportError",
    "ReportWriter",
    "VerdictLine",
    "WireLine",
    "encode_line",
    "read_report",
    "read_unfinished",
]

REPORT_VERSION = 1


class ReportError(ValueError):
    """A file that is no whole report."""


class PeerFacts(msgspec.Struct, kw_only=True, frozen=True):
    """A peer of the run; ``missing`` says why it could not take part."""

    name: str
    dialect: str = ""
    implementation: str = ""
    version: str = ""
    language: str = ""
    runtime: str = ""
    libraries: dict[str, str] = {}
    roles: list[str] = []
    modes: list[str] = []
    codecs: list[str] = []
    behaviours: list[str] = []
    missing: str | None = None


class Header(msgspec.Struct, tag="header", tag_field="line", kw_only=True, frozen=True):
    """The peers, servers and machine of a run, with their versions."""

    report: int = REPORT_VERSION
    suite: str
    driver: int
    began: str
    profile: str
    machine: dict[str, str]
    redis: dict[str, str]
    peers: list[PeerFacts]
    cases: int
    instances: int
    timeout_factor: float = 1.0
    command: list[str] = []
    shard: str = ""
    whole: bool = True
    """Whether everything that the profile has was asked for (``shard``: a part of that), not a selection."""


class WireLine(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, array_like=True):
    """One event of the wire log, shortened for reading: time, connection, role, direction, kind, text."""

    t: float
    connection: int
    role: str
    direction: str
    kind: str
    text: str = ""


class VerdictLine(msgspec.Struct, tag="verdict", tag_field="line", kw_only=True, frozen=True, omit_defaults=True):
    """One instance and its outcome, with the evidence."""

    case: str
    title: str
    proves: list[str]
    source: str
    level: str
    mode: str
    client: str | None = None
    worker: str | None = None
    client_dialect: str = ""
    worker_dialect: str = ""
    axes: dict[str, str] = {}
    verdict: Verdict
    required: bool = True
    lacks: dict[str, list[str]] = {}
    """Role -> missing claims of its peer that the case needs: then nothing was started."""
    reason: str = ""
    link: str = ""
    expected: str = ""
    actual: str = ""
    seconds: float = 0.0
    tries: int = 1
    at: float = 0.0
    """Seconds of the run when it was known."""
    wire: list[WireLine] = []
    wire_left_out: int = 0
    keys: dict[str, Any] = {}
    stderr: dict[str, str] = {}
    steps: list[str] = []

    @property
    def name(self) -> str:
        """The name of the instance (:attr:`.axes.Instance.name`)."""
        axes = {"mode": self.mode, "client": self.client or "-", "worker": self.worker or "-", **self.axes}
        return " ".join([self.case, *(f"{key}={value}" for key, value in axes.items())])


class Footer(msgspec.Struct, tag="footer", tag_field="line", kw_only=True, frozen=True):
    """The end: counts, missing peers, stale list entries, the status."""

    ended: str
    seconds: float
    counts: dict[str, int]
    status: int
    conformant: bool
    why: list[str] = []
    claimed: dict[str, str] = {}
    """Peer -> its claims, for peers that do not claim everything."""
    not_tried: dict[str, str] = {}
    """Peer -> cases not tried with it for want of a claim (in brackets: how many)."""
    stale: list[str] = []
    unused: list[str] = []
    """Entries of the lists that speak of peers of this run and match no instance of all axes: stale in a whole run."""


Line = Header | VerdictLine | Footer

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def encode_line(line: Line) -> bytes:
    """One line of a report, without its end."""
    return json_line(_encoder.encode(line))


class Report(msgspec.Struct, kw_only=True, frozen=True):
    """A whole report."""

    header: Header
    verdicts: list[VerdictLine]
    footer: Footer

    def counts(self) -> Counter[str]:
        """Verdict -> how many."""
        return Counter(str(line.verdict) for line in self.verdicts)


class ReportWriter:
    """Writes each line as soon as it is known, so that a killed run leaves its findings."""

    def __init__(self, out: BinaryIO | None) -> None:
        self._out = out

    def write(self, line: Line) -> None:
        """One line."""
        if self._out is not None:
            self._out.write(encode_line(line) + b"\n")
            self._out.flush()


def read_report(path: Path) -> Report:
    """Read a report; raises :class:`ReportError` where header or footer are missing, or a line cannot be read."""
    lines: list[Line] = []
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(_decoder.decode(raw))
        except msgspec.DecodeError as error:
            raise ReportError(f"{path.name}:{number}: {error}") from None
    if not lines or not isinstance(lines[0], Header):
        raise ReportError(f"{path.name}: no header: not a report of this suite")
    if not isinstance(lines[-1], Footer):
        raise ReportError(f"{path.name}: no footer: the run did not end, nothing can be said from it")
    verdicts = [line for line in lines if isinstance(line, VerdictLine)]
    if len(verdicts) != len(lines) - 2:
        raise ReportError(f"{path.name}: more than one header or footer")
    if lines[0].report != REPORT_VERSION:
        raise ReportError(f"{path.name}: report version {lines[0].report}, this suite reads {REPORT_VERSION}")
    return Report(header=lines[0], verdicts=verdicts, footer=lines[-1])


def read_unfinished(path: Path) -> tuple[Header, list[VerdictLine]]:
    """The findings of a run that did not end: the header, and a verdict an instance. A line cut short is left out."""
    rows = path.read_bytes().splitlines(keepends=True)
    lines: list[Line] = []
    for number, raw in enumerate(rows, 1):
        try:
            lines.append(_decoder.decode(raw))
        except msgspec.DecodeError as error:
            if number == len(rows) and not raw.endswith(b"\n"):
                break
            raise ReportError(f"{path.name}:{number}: {error}") from None
    if not lines or not isinstance(lines[0], Header):
        raise ReportError(f"{path.name}: no header: not a report of this suite")
    found = {line.name: line for line in lines if isinstance(line, VerdictLine)}
    return lines[0], list(found.values())
