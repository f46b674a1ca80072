"""Transcripts: both formats, and what normalization replaces (and what not)."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobwire_conformance.record.transcripts import (
    FORMAT,
    Header,
    Normalizer,
    Transcript,
    make_event,
    read_transcript,
    write_transcript,
)

GOLDEN = Path(__file__).resolve().parents[2] / "conformance" / "golden"
FIRST = sorted(GOLDEN.glob("*.jsonl"))


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.stem)
def test_first_recordings_are_read(path: Path) -> None:
    transcript = read_transcript(path)
    assert transcript.header.format == 1
    assert transcript.header.dialect
    names = {event.name for event in transcript.events if event.kind == "command"}
    assert "SUBSCRIBE" in names, "a client listens before anything else"
    assert {event.role for event in transcript.events} <= {"client", "worker"}


def test_the_broken_frame_of_perls_undef_is_kept() -> None:
    broken = [event for event in read_transcript(GOLDEN / "0.004-multi0-undef.jsonl").events if event.kind == "broken"]
    assert broken
    assert b"$\r\n\r\n" in broken[0].raw


def test_there_and_back(tmp_path: Path) -> None:
    raw = b"*2\r\n$4\r\nPING\r\n$1\r\n\xff\r\n"
    events = [
        make_event(t=0.5, connection=1, role="client", direction=">", value=[b"PING", b"\xff"], raw=raw),
        make_event(t=0.6, connection=1, role="client", direction="<", value=[b"message", b"c", b"x"], raw=b"..."),
    ]
    path = tmp_path / "x.jsonl"
    write_transcript(
        path, Transcript(header=Header(case="a/b", dialect="0.004", submitted=[{"op": "echo"}]), events=events)
    )
    found = read_transcript(path)
    assert found.header.case == "a/b"
    assert found.header.format == FORMAT
    assert found.events == events
    assert found.events[0].command == (b"PING", b"\xff")
    assert found.events[1].kind == "push"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ('{"kind":"report"}\n', "not the header"),
        ("no JSON at all\n", "not the header"),
        ('{"kind":"transcript","format":9}\n', "format 9"),
        ('{"kind":"transcript","format":2}\n{{{\n', ":2:"),
    ],
)
def test_what_is_no_transcript(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_transcript(path)


A = b"863cee08-5ff9-4617-bfff-a9d8d3397b66"
B = b"0e24088a-9688-46f2-1631-8378456bfe18"


def test_ids_times_and_the_order_of_fields_are_replaced() -> None:
    one, other = Normalizer(), Normalizer()
    first = one.command((b"HMSET", b"job::" + A, b"_queued", b"1795434940.83741", b"text_op", b"echo"))
    second = other.command((b"HMSET", b"job::" + B, b"text_op", b"echo", b"_queued", b"1795999999.1"))
    assert first == second


@pytest.mark.parametrize(
    "words",
    [
        (b"HMSET", b"job::" + A, b"text_op", b"echo", b"_queued", b"1795434940837"),
        (b"HMSET", b"job::" + A, b"text_op", b"other", b"_queued", b"1795434940.8"),
        (b"HSET", b"job::" + A, b"text_op", b"echo", b"_queued", b"1795434940.8"),
        (b"HMSET", b"jobs::" + A, b"text_op", b"echo", b"_queued", b"1795434940.8"),
    ],
)
def test_nothing_else_is_replaced(words: tuple[bytes, ...]) -> None:
    good = (b"HMSET", b"job::" + A, b"text_op", b"echo", b"_queued", b"1795434940.8")
    assert Normalizer().command(words) != Normalizer().command(good)


def test_the_same_id_stays_the_same() -> None:
    normalizer = Normalizer()
    assert normalizer.text(A + b" " + B + b" " + A) == b"<id 1> <id 2> <id 1>"
