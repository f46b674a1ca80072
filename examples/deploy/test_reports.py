"""The tests of one's own project: a real server for the run, an empty database for each test."""

import reports

import jobwire

pytest_plugins = ["jobwire.testing.plugin"]


async def test_a_report(redis_url: str) -> None:
    worker = jobwire.Worker(redis_url)
    worker.handler(reports.report)
    async with jobwire.Client(redis_url, timeout=10) as client, worker:
        assert await client.submit({"customer": "Ann"}) == {"customer": "Ann", "pages": 1}


async def test_the_handler_alone() -> None:
    assert await reports.report(reports.Order(customer="Ann", pages=2)) == {"customer": "Ann", "pages": 2}
