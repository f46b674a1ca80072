"""What of an error goes into a log."""

from __future__ import annotations

import io
import logging

import pytest

from jobwire.events import loggable


def logged(error: BaseException) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    log = logging.Logger("test")
    log.addHandler(logging.StreamHandler(stream))
    story, traceback = loggable(error)
    log.error("it failed%s", story, exc_info=traceback)
    stream.flush()
    stream.seek(0)
    return stream.read()


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_causes_and_members_are_kept() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ExceptionGroup("several", [ValueError("one"), OSError("two")]) from error
    except ExceptionGroup as group:
        text = logged(group)
    for words in ("KeyError: 'first'", "several", "ValueError: one", "OSError: two", "test_causes_and_members"):
        assert words in text


@pytest.mark.parametrize("words", ["\udcff", "x" * 20_000_000])
def test_no_message_keeps_a_stream_from_writing(words: str) -> None:
    text = logged(raised(ValueError(words)))
    assert "it failed" in text
    assert "ValueError" in text or "x" * 1000 in text
    assert len(text) < 100_000
