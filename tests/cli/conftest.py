"""The command line, run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import redis as redis_py

from jobwire import cli


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Run:
    """``run("top", "--once")``: exit code, stdout, stderr; the server is that of the test."""
    monkeypatch.setenv("JOBWIRE_URL", redis_url)

    def run(*arguments: str) -> Outcome:
        capsysbinary.readouterr()
        try:
            code = cli.main(arguments)
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 1
        captured = capsysbinary.readouterr()
        return Outcome(code, captured.out.decode(), captured.err.decode())

    return run


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_py.Redis]:
    with redis_py.Redis.from_url(redis_url, protocol=2) as client:
        yield client
