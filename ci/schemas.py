"""The JSON Schemas of everything that crosses the suite's borders, made from the Structs.

``python -m ci.schemas`` writes ``conformance/schemas/*.json``; with ``--check`` it
says which files are stale and exits 1.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from jobwire.wire import dead_letters as rejected
from jobwire.wire.codec import envelopes
from jobwire_conformance.cases import case as cases
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.record import transcripts
from jobwire_conformance.report import report
from jobwire_conformance.rules import steps as tap_steps

__all__ = ["DIRECTORY", "main", "schemas", "stale"]

DIRECTORY = Path(__file__).resolve().parents[1] / "conformance" / "schemas"


def _clean(node: Any) -> Any:
    """Take the indentation of the source out of every description: msgspec does from 0.23 on, and did not before."""
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    cleaned = {key: _clean(value) for key, value in node.items()}
    if isinstance(cleaned.get("description"), str):
        cleaned["description"] = inspect.cleandoc(cleaned["description"])
    return cleaned


def _schema(title: str, type_: Any) -> dict[str, Any]:
    schema = _clean(msgspec.json.schema(type_))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def schemas() -> dict[str, dict[str, Any]]:
    """File name -> schema."""
    return {
        "driver-v1-request.json": _schema("jobwire driver protocol v1: what the runner says", driver.Request),
        "driver-v1-answer.json": _schema("jobwire driver protocol v1: what a peer answers", driver.Answer),
        "cases.json": _schema("jobwire conformance: a file of cases", cases.CaseFile),
        "report-line.json": _schema("jobwire conformance: one line of a report", report.Line),
        "envelope-job.json": _schema("mode simple: a whole job", envelopes.JobEnvelope),
        "envelope-reply.json": _schema("mode simple: a whole reply", envelopes.ReplyEnvelope),
        "rejected.json": _schema("an entry of the list <prefix>::rejected", rejected.Rejected),
        "transcript-header.json": _schema("jobwire conformance: the first line of a transcript", transcripts.Header),
        "tap-line.json": _schema("jobwire tap --json: one line", tap_steps.Line),
        "transcript-event.json": _schema("jobwire conformance: the other lines", transcripts.EventLine),
    }


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def stale(directory: Path = DIRECTORY) -> list[str]:
    """Return the names of the files that are missing or differ from the output of :func:`schemas`."""
    found = []
    for name, schema in schemas().items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != _text(schema):
            found.append(name)
    extra = sorted(path.name for path in directory.glob("*.json") if path.name not in schemas())
    return found + extra


def main(arguments: list[str]) -> int:
    """Write the files, or check them (``--check``)."""
    if "--check" in arguments:
        names = stale()
        for name in names:
            sys.stdout.write(f"stale: conformance/schemas/{name}\n")
        return 1 if names else 0
    DIRECTORY.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (DIRECTORY / name).write_text(_text(schema), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
