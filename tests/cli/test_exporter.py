"""``jobwire exporter``: what Prometheus and statsd are told, and that dashboard and alerts ask for nothing else."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
import yaml
from prometheus_client.parser import text_string_to_metric_families

import jobwire
from jobwire import sync
from jobwire.testing.server import RedisServer
from tests.support.command import Process, Start, get

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"
APPLICATION = """
import jobwire

worker = jobwire.Worker({url!r}, id="w")
worker.handler(lambda job: 1 / int(job.data["by"]))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        started.append(Process(tmp_path, *arguments, **environment))
        return started[-1]

    yield start
    for process in started:
        process.popen.kill()
        process.popen.wait()


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.fixture
def fleet(redis: redis_py.Redis) -> None:
    now = time.time()
    for number in range(3):
        redis.hset(f"job::{number}", mapping={"_reply_to": "c", "_queued": now - 100 + number})
        redis.lpush("jobs::pending", number)
    redis.lpush("jobs::high", "x", "y")
    redis.lpush("jobs::named", "z")
    redis.lpush("jobs::processing", "5")
    redis.lpush("jobs::processing::alive", "6", "7")
    redis.sadd("jobs::workers", "alive", "gone")
    redis.hset("jobs::queues", mapping={"alive": b"\0jobs::pending\0jobs::high"})
    redis.set("jobs::worker::alive", "nonce", px=30_000)
    redis.lpush("jobs::dead", "d")
    redis.lpush("jobs::rejected", "r", "s")
    redis.hset("jobs::attempts", "d", 1)
    redis.lpush("other::pending", "o")


def test_a_fleet_as_prometheus_sees_it(start: Start, redis_url: str, fleet: None, unused_tcp_port: int) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    process = start(
        "exporter", "--prefix", "jobs", "other", "--queue", "named", "--listen", listen, JOBWIRE_URL=redis_url
    )
    process.has_logged("metrics at http://")
    status, body = get(unused_tcp_port, "/metrics")
    assert status == 200
    found = samples(body.decode())
    assert found["jobwire_redis_up"] == {(): 1}
    assert found["jobwire_queue_length"] == {
        ("jobs", "pending"): 3,
        ("jobs", "high"): 2,
        ("jobs", "named"): 1,
        ("other", "pending"): 1,
        ("other", "named"): 0,
    }
    assert 100 <= found["jobwire_queue_next_seconds"]["jobs", "pending"] < 160
    assert found["jobwire_running_jobs"]["shared", "jobs"] == 1
    assert found["jobwire_running_jobs"]["own", "jobs"] == 2
    assert found["jobwire_fleet_workers"] == {
        ("jobs", "alive"): 1,
        ("jobs", "silent"): 1,
        ("other", "alive"): 0,
        ("other", "silent"): 0,
    }
    assert found["jobwire_dead_jobs"] == {("jobs",): 1, ("other",): 0}
    assert found["jobwire_rejected_entries"]["jobs",] == 2
    assert found["jobwire_jobs_with_losses"]["jobs",] == 1
    assert get(unused_tcp_port, "/")[0] == 404
    process.stops()


def test_redis_goes_and_comes(start: Start, unused_tcp_port: int) -> None:
    with RedisServer() as server:
        process = start("exporter", "--url", server.url, "--listen", str(unused_tcp_port))
        process.has_logged("metrics at http://")
        server.kill()
        assert samples(get(unused_tcp_port, "/metrics")[1].decode()) == {"jobwire_redis_up": {(): 0}}
        server.restart()
        assert samples(get(unused_tcp_port, "/metrics")[1].decode())["jobwire_redis_up"] == {(): 1}
        process.stops(signal.SIGINT)


def test_a_look_does_not_search(
    start: Start, redis_url: str, redis: redis_py.Redis, fleet: None, unused_tcp_port: int
) -> None:
    """However many jobs there are: no SCAN, no KEYS, no whole list."""
    process = start("exporter", "--url", redis_url, "--listen", str(unused_tcp_port))
    process.has_logged("metrics at http://")
    redis.config_resetstat()
    get(unused_tcp_port, "/metrics")
    sent = set(redis.info("commandstats"))
    process.stops()
    assert not {f"cmdstat_{name}" for name in ("scan", "keys", "lrange", "smembers", "hgetall")} & sent


def test_every_metric_of_dashboard_and_alerts_is_there(
    start: Start, redis_url: str, tmp_path: Path, unused_tcp_port_factory: Any
) -> None:
    (tmp_path / "app.py").write_text(APPLICATION.format(url=redis_url))
    at_worker, at_exporter = unused_tcp_port_factory(), unused_tcp_port_factory()
    worker = start("worker", "app:worker", "--health", str(at_worker))
    exporter = start("exporter", "--url", redis_url, "--listen", str(at_exporter))
    worker.has_logged("takes reliable jobs")
    exporter.has_logged("metrics at http://")
    with sync.Client(redis_url, timeout=15) as client:
        assert client.submit({"by": "2"}).result() == 0.5
        with pytest.raises(jobwire.JobFailed):
            client.submit({"by": "0"}).result()
    there = {}
    for port in (at_worker, at_exporter):
        there |= samples(get(port, "/metrics")[1].decode())
    asked: dict[str, set[str]] = {}
    for name in ("grafana-dashboard.json", "alerts.yml"):
        for metric in re.findall(r"\bjobwire_\w+", (MONITORING / name).read_text()):
            asked.setdefault(metric, set()).add(name)
    assert len(asked) > 10
    assert {metric: files for metric, files in asked.items() if metric not in there} == {}
    # And nothing is shown that nobody looks at.
    shown = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in there if name.startswith("jobwire_")}
    assert {name for name in shown if name not in {re.sub(r"_bucket$", "", metric) for metric in asked}} == {
        "jobwire_jobs"
    } & shown


def test_dashboard_and_alerts_have_their_form() -> None:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(places) == len(set(places)) == len({panel["id"] for panel in dashboard["panels"]})
    assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_statsd_hears_what_the_perl_monitor_says(
    start: Start, redis_url: str, redis: redis_py.Redis, unused_udp_port: int
) -> None:
    now = time.time()
    redis.hset("job::1", mapping={"_queued": now - 10, "_started": now - 8, "_processed": now - 5})
    redis.hset("job::2", mapping={"_queued": now - 20})
    redis.hset("job::3", mapping={"_queued": "odd"})
    redis.lpush("jobs::processing", "1")
    redis.lpush("jobs::processing::w", "2")
    redis.sadd("jobs::workers", "w")
    redis.lpush("jobs::pending", "3")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", unused_udp_port))
        receiver.settimeout(15)
        process = start("exporter", "--url", redis_url, "--statsd", f"127.0.0.1:{unused_udp_port}", "--interval", "60")
        heard = [receiver.recv(1000).decode() for _ in range(7)]
        process.stops()
    figures = [re.fullmatch(r"job_queue\.jobs\.(\w+\.\w+):([\d.]+)\|ms", line) for line in heard]
    values: dict[str, list[float]] = {}
    for figure in figures:
        assert figure is not None
        values.setdefault(figure[1], []).append(float(figure[2]))
    assert values["processing.count"] == [2]
    assert values["pending.count"] == [1]
    assert [age // 10_000 for age in sorted(values["processing.age"])] == [1, 2]
    assert values["processing.delay"] == [pytest.approx(2000, abs=1)]
    assert values["processing.work"] == [pytest.approx(3000, abs=1)]
    assert values["processing.total"] == [pytest.approx(5000, abs=1)]
