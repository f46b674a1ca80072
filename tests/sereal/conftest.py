"""Fixtures of the Sereal tests: every test runs on the plain Python code and on the compiled code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobwire import fast
from tests.support import sereal_peer


@pytest.fixture(scope="module", autouse=True, params=["python", "compiled"])
def code(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which code reads and writes; ``compiled`` is left out, loudly, where it was not built."""
    if request.param == "compiled" and not fast.available("sereal"):
        pytest.skip("the compiled code is not built: install a C compiler, then ci/setup test")
    if request.param == "python":
        fast.turn_off()
    yield request.param
    fast.turn_on()


@pytest.fixture(scope="session")
def perl() -> Iterator[sereal_peer.SerealPeer]:
    """The living reference; tests that ask for it are left out, loudly, where Perl has no Sereal."""
    reason = sereal_peer.missing()
    if reason is not None:
        pytest.skip(reason)
    peer = sereal_peer.SerealPeer()
    yield peer
    peer.close()
