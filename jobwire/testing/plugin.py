"""pytest fixtures: a Redis server for a test run, and a clean one for each test.

Not loaded by itself, so that installing jobwire changes nobody's test run; ask for it in ``conftest.py``::

    pytest_plugins = ["jobwire.testing.plugin"]

``redis_server``  a ``Server`` (its ``url`` is all that is certain), one for the run
``redis_url``     its URL, the database emptied before the test

``pytest --jobwire-redis-url=redis://…`` uses that server instead of starting one. **The database that the URL names
is emptied before each test.**
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobwire.testing.server import Server, open_server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("jobwire").addoption(
        "--jobwire-redis-url",
        metavar="URL",
        default=None,
        help="use this Redis for tests, and EMPTY its database before each of them (default: start a server)",
    )


@pytest.fixture(scope="session")
def redis_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server of this run: the one at ``--jobwire-redis-url``, else a throw-away one."""
    with open_server(request.config.getoption("--jobwire-redis-url")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: Server) -> str:
    """The URL of ``redis_server``, its database emptied."""
    empty_database(redis_server.url)
    return redis_server.url


def empty_database(url: str) -> None:
    """FLUSHDB."""
    import redis

    with redis.Redis.from_url(url, protocol=2) as client:
        client.flushdb()


__all__ = ["empty_database", "redis_server", "redis_url"]
