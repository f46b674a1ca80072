"""Fixtures of the Sereal tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sereal_peer


@pytest.fixture(scope="session")
def perl() -> Iterator[sereal_peer.SerealPeer]:
    """The living reference; tests that ask for it are left out, loudly, where Perl has no Sereal."""
    reason = sereal_peer.missing()
    if reason is not None:
        pytest.skip(reason)
    peer = sereal_peer.SerealPeer()
    yield peer
    peer.close()
