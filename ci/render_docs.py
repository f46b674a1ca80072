"""Draw what docs/PROTOCOL.md and docs/PEERS.md show of the code's own tables, of recordings and of files.

The documents hold blocks ``<!-- generated: NAME ARGUMENTS -->`` … ``<!-- end of NAME -->``; the text between is
written by the function of that name here:

    dialects            the table of facts, from ``jobwire.wire.DIALECTS``
    lifecycle           states and events, from ``jobwire.wire.lifecycle.LIFECYCLE``
    sequence MODE       the commands of each side, asked from the mode objects of ``jobwire.wire``
    example FILE:A-B    traffic of real processes, from conformance/golden (``-NAME`` leaves a connection out)
    raw FILE:A          the bytes of one line of a recording
    behaviours          the claims of a peer, from ``jobwire_conformance.driver.protocol.BEHAVIOURS``
    operations          the work of a job's handler, from ``jobwire_conformance.driver.protocol.OPERATIONS``
    file PATH           a whole file of the repository

    python ci/render_docs.py --write     bring the documents up to date
    python ci/render_docs.py             exit 1 if one is not
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobwire.wire import (
    DIALECTS,
    LIFECYCLE,
    Command,
    HashMode,
    Keyspace,
    Mode,
    Recoverable,
    Reliable,
    Simple,
    Submission,
    Success,
    Taken,
    scripts,
)
from jobwire.wire.lifecycle import FINAL, ModeName

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = (ROOT / "docs" / "PROTOCOL.md", ROOT / "docs" / "PEERS.md")
GOLDEN = ROOT / "conformance" / "golden"

_BLOCK = re.compile(
    r"<!-- generated: (?P<name>[a-z]+)(?P<arguments>[^>]*?) -->\n(?P<body>.*?)<!-- end of (?P=name) -->\n", re.DOTALL
)
_QUEUED, _STARTED, _PROCESSED = 1795434940.83741, 1795434941.82176, 1795434941.82227
_MODE_NAMES: tuple[ModeName, ...] = ("reliable", "recoverable", "simple")


# -- dialects


def dialects(_arguments: str) -> str:
    known = list(DIALECTS.values())
    rows = {
        "key of a queue": ["`<prefix>::<queue>`" if d.prefixed_queues else "`<queue>`" for d in known],
        "fields of parameters": ["typed" if d.typed_fields else "bare, references as JSON" for d in known],
        "`_queued`, `_started`, `_processed`": ["yes" if d.timing_fields else "no" for d in known],
        "tags of results": ["`T`, `J`" if d.tagged_results else "none" for d in known],
        "timeout of the pop": ["0 (for ever)" if d.poll_forever else "3 s" for d in known],
    }
    lines = ["| | " + " | ".join(d.name for d in known) + " |", "|---" * (len(known) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]
    return "\n".join(lines) + "\n"


# -- the life of a job


def lifecycle(_arguments: str) -> str:
    every = len(_MODE_NAMES)
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> new"]
    for entry in LIFECYCLE:
        only = "" if len(entry.modes) == every else f" ({', '.join(entry.modes)})"
        lines.append(f"    {entry.source} --> {entry.target}: {entry.actor} {entry.event}{only}")
    lines += [f"    {state} --> [*]" for state in sorted(FINAL)]
    lines += ["```", "", "| state | event | next state | by | modes | meaning |", "|---|---|---|---|---|---|"]
    for entry in LIFECYCLE:
        where = "all" if len(entry.modes) == every else ", ".join(entry.modes)
        lines.append(f"| {entry.source} | {entry.event} | {entry.target} | {entry.actor} | {where} | {entry.meaning} |")
    return "\n".join(lines) + "\n"


# -- the commands of each side


def _mode(name: str) -> Mode:
    keyspace = Keyspace()
    if name == "own":
        return Reliable(keyspace, processing=keyspace.own_list("WORKER"), own_list=True, owner="WORKER")
    if name == "multi":
        return Reliable(keyspace, use_multi=True)
    if name == "reliable":
        return Reliable(keyspace)
    if name == "recoverable":
        return Recoverable(keyspace, owner="WORKER")
    return Simple(keyspace)


_SCRIPTS = {script.sha: name for name, script in vars(scripts).items() if isinstance(script, scripts.Script)}


def _words(command: Command) -> str:
    shown = [f"(script {_SCRIPTS[word]})" if word in _SCRIPTS else _printable(word) for word in command]
    return " ".join(shown)


def sequence(arguments: str) -> str:
    mode = _mode(arguments)
    return "\n".join(["```mermaid", "sequenceDiagram", *_participants(), *_steps(mode), "```"]) + "\n"


def _participants() -> Iterator[str]:
    yield "    participant C as client"
    yield "    participant R as Redis"
    yield "    participant W as worker"


def _steps(mode: Mode) -> Iterator[str]:
    high, low = mode.keyspace.queue("pending"), mode.keyspace.queue("low")
    queues = [high, low] if mode.many_queues else [high]
    submission = Submission(id=b"JOB", data={"text": "hello"}, reply_to=b"CLIENT", queued=_QUEUED)
    submitted = mode.submit(submission, high)
    yield f"    C->>R: {_words(mode.subscribe(b'CLIENT'))}"
    yield "    R-->>C: subscribed"
    yield from _sent("C", submitted)
    yield from _sent("W", (mode.take(queues, 3.0),))
    entry = submitted[0][2] if not mode.keeps_jobs else b"JOB"
    yield f"    R-->>W: {_printable(entry)}"
    taken = Taken(high, entry)
    load = mode.load(taken)
    stored = next((list(command[2:]) for command in submitted if command[0] == b"HMSET"), None)
    if load is not None:
        yield from _sent("W", (load,))
        yield "    R-->>W: the fields of the job"
    job = mode.read(taken, stored)  # type: ignore[arg-type]  # bytes are replies
    if job is None:
        raise AssertionError("the mode does not read what it wrote")
    yield from _sent("W", mode.start(job, taken, at=_STARTED))
    yield "    Note over W: the handler runs"
    completion = mode.complete(job, taken, Success("olleh"), started=_STARTED, at=_PROCESSED)
    yield from _sent("W", completion)
    yield f"    R-->>C: message client::CLIENT {_printable(_published(completion))}"
    if isinstance(mode, HashMode):
        yield from _sent("C", (mode.collect(b"JOB"),))
        yield "    R-->>C: Tolleh"
        yield from _sent("C", (mode.discard(b"JOB"),))


def _sent(who: str, commands: tuple[Command, ...]) -> Iterator[str]:
    for command in commands:
        yield f"    {who}->>R: {_words(command)}"


def _published(commands: tuple[Command, ...]) -> bytes:
    """Return the payload of the notice: of PUBLISH itself, or of the script that publishes the job ID."""
    for command in commands:
        if command[0] == b"PUBLISH":
            return command[2]
    return b"JOB"


# -- recordings


def _printable(word: bytes) -> str:
    """Return a word of a command as in Python source, without the quotes where it needs none."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else _escaped(byte) for byte in word)
    return text if text and " " not in text else f'"{text}"' if '"' not in text else f"'{text}'"


def _escaped(byte: int) -> str:
    return {0x0A: r"\n", 0x0D: r"\r", 0x5C: r"\\"}.get(byte, f"\\x{byte:02x}")


def _commands(raw: bytes) -> Iterator[list[bytes]]:
    """The commands in a chunk that ends where a command ends."""
    at = 0
    while at < len(raw):
        end = raw.index(b"\r\n", at)
        count, at = int(raw[at + 1 : end]), end + 2
        words = []
        for _ in range(count):
            end = raw.index(b"\r\n", at)
            size, at = int(raw[at + 1 : end]), end + 2
            words.append(raw[at : at + size])
            at += size + 2
        yield words


def example(arguments: str) -> str:
    match = re.fullmatch(r"([\w.-]+\.jsonl):(\d+)-(\d+)((?: -\w+)*)", arguments)
    if match is None:
        raise SystemExit(f"generated: example {arguments}: not of the form FILE:A-B -NAME")
    name, first, last, without = match.groups()
    hidden = {word[1:] for word in without.split()}
    lines = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    shown = ["```text"]
    for number in range(int(first), int(last) + 1):
        frame = json.loads(lines[number - 1])
        if frame["conn"] not in hidden and frame["dir"] in ("<", ">"):
            shown += _frame(number, frame)
    return "\n".join([*shown, "```", f"(`{name}`, lines {first}–{last})", ""])


def raw(arguments: str) -> str:
    name, _, number = arguments.partition(":")
    lines = (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    sent = bytes.fromhex(json.loads(lines[int(number) - 1])["hex"])
    shown = ["".join(chr(b) if 0x20 <= b < 0x7F else _escaped(b) for b in line) for line in sent.split(b"\r\n")]
    return "\n".join(["```text", *shown[:-1], "```", f"(`{name}`, line {number})", ""])


def _frame(number: int, frame: dict[str, str]) -> Iterator[str]:
    raw = bytes.fromhex(frame["hex"])
    head = f"{number:>3} {frame['conn']} {frame['dir']}"
    if frame["dir"] == "<":
        yield f"{head} {''.join(_escaped(b) if not 0x20 <= b < 0x7F else chr(b) for b in raw)}"
        return
    for words in _commands(raw):
        yield f"{head} {' '.join(map(_printable, words))}"
        head = " " * len(head)


# -- for authors of peers


def _driver() -> Any:
    sys.path.insert(0, str(ROOT / "conformance"))
    from jobwire_conformance.driver import protocol as driver

    return driver


def behaviours(_arguments: str) -> str:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in _driver().BEHAVIOURS.items()]
    return "\n".join(["| behaviour | what it says |", "|---|---|", *rows, ""])


def operations(_arguments: str) -> str:
    rows = [f"| `{name}` | {of} | {meaning} |" for name, (of, meaning) in _driver().OPERATIONS.items()]
    return "\n".join(["| `op` | parameters | what the worker does |", "|---|---|---|", *rows, ""])


_LANGUAGES = {".mjs": "js", ".py": "python", ".pl": "perl", ".yml": "yaml", ".sh": "sh", ".toml": "toml"}


def file(path: str) -> str:
    """Return a whole file; the fence is longer than any in it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"````{_LANGUAGES[Path(path).suffix]}\n{text}````\n"


# -- the documents

_GENERATORS: dict[str, Callable[[str], str]] = {
    "dialects": dialects,
    "lifecycle": lifecycle,
    "sequence": sequence,
    "example": example,
    "raw": raw,
    "behaviours": behaviours,
    "operations": operations,
    "file": file,
}


def rendered(text: str) -> str:
    """Return the document with every generated block as it should be; raises ``SystemExit`` for an unknown block."""

    def block(match: re.Match[str]) -> str:
        name, arguments = match["name"], match["arguments"].strip()
        if name not in _GENERATORS:
            raise SystemExit(f"generated: {name}: known are {', '.join(_GENERATORS)}")
        opening = f"<!-- generated: {name}{' ' + arguments if arguments else ''} -->\n"
        return f"{opening}{_GENERATORS[name](arguments)}<!-- end of {name} -->\n"

    return _BLOCK.sub(block, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="bring the documents up to date")
    options = parser.parse_args()
    stale = 0
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        fresh = rendered(text)
        if fresh != text and options.write:
            document.write_text(fresh, encoding="utf-8")
        elif fresh != text:
            stale = 1
            print(f"docs/{document.name} is out of date: run  python ci/render_docs.py --write", file=sys.stderr)
    return stale


if __name__ == "__main__":
    sys.exit(main())
