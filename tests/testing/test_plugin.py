"""The pytest plugin, as a user's test run would load it."""

from __future__ import annotations

import pytest
import redis

from jobwire.testing.server import RedisServer

TESTS = """
import redis

def test_one(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")

def test_two(redis_url, redis_server):
    assert redis_url == redis_server.url
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest('pytest_plugins = ["jobwire.testing.plugin"]')
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(TESTS)
    return pytester


def test_each_test_finds_an_empty_database(project: pytest.Pytester) -> None:
    project.runpytest_subprocess("-q").assert_outcomes(passed=2)


def test_a_server_can_be_given(project: pytest.Pytester) -> None:
    with RedisServer(password="hunter2") as server:
        other = redis.Redis.from_url(server.url)
        other.set("in", "another database")
        result = project.runpytest_subprocess("-q", f"--jobwire-redis-url={server.url}/3")
        result.assert_outcomes(passed=2)
        assert other.get("in") is not None
        other.close()


def test_nobody_gets_it_unasked(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=2)
