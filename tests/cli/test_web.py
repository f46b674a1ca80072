"""``jobwire web`` as a process, on a real server; the page in a real Chromium."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

import jobwire
from jobwire.errors import ConfigError
from jobwire.testing.server import RedisServer

pytest.importorskip("starlette", reason="LEFT OUT: jobwire web: pip install 'jobwire[web]'")
from jobwire.cli.web.guard import Guard, Refused, is_loopback

HOSTILE = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>\u202e \x1b[2J"
CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")


class Web:
    """A running ``jobwire web``."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"X-Jobwire": "1", **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection.request(
            "GET" if body is None else "POST", f"/{path}", None if body is None else json.dumps(body), sent
        )
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json else content.decode(), dict(answer.headers.items())


@contextmanager
def serve(*arguments: str) -> Iterator[Web]:
    command = [sys.executable, "-m", "jobwire", "web", "--port", "0", "--interval", "0.2", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+:(\d+)/", process.stdout.readline())
        assert found is not None, process.communicate(timeout=10)
        yield Web(int(found[1]))
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert "Traceback" not in said, said


@pytest.fixture
def filled(redis_url: str) -> str:
    """A server with two dead jobs, one waiting, one rejected entry, and one in the hands of a Perl worker."""
    with redis.Redis.from_url(redis_url) as server:
        for job_id in ("d1", "d2"):
            server.hset(
                f"job::{job_id}",
                mapping={
                    "_reply_to": "c",
                    "_queued": "1000.5",
                    "text_a": HOSTILE,
                    "_error": f"E: {HOSTILE}",
                    "_queue": "jobs::pending",
                },
            )
            server.lpush("jobs::dead", job_id)
        server.hset(
            "job::w1", mapping={"_reply_to": "c", "_queued": "1000.5", "text_name": "日本", "text_big": "x" * 100_000}
        )
        server.lpush("jobs::pending", "w1")
        server.hset(
            "job::p1", mapping={"_reply_to": "c", "_queued": "1000.5", "_started": "1001", "text_name": "perl's"}
        )
        server.lpush("jobs::processing", "p1")
        server.hset("job::bad", mapping={"_reply_to": "c", "foo_bar": "x"})
        record = {"at": 1.0, "worker": "w", "queue": "jobs::pending", "entry": {"$bytes": "YmFk"}, "reason": HOSTILE}
        server.lpush("jobs::rejected", json.dumps(record))
    return redis_url


def test_it_shows_requeues_and_drops(filled: str) -> None:
    with serve(filled) as web:
        _, setting, _ = web.ask("api/setting")
        assert setting["sources"] == [f"{filled} jobs"]
        _, overview, _ = web.ask("api/overview")
        assert overview["state"]["processing"] == 1
        assert (overview["state"]["dead"], overview["state"]["rejected"]) == (2, 1)
        assert overview["times"]["processing"]["delay"] == pytest.approx(500)
        _, running, _ = web.ask("api/jobs?kind=running")
        assert running["rows"][0]["data"] == {"name": "perl's"}
        _, waiting, _ = web.ask("api/jobs?kind=waiting")
        assert waiting["rows"][0]["data"] == {"name": "日本", "big": "(too long to be shown in a list)"}
        _, job, _ = web.ask("api/job?id=w1")
        assert len(job["report"]["job"]["data"]["big"]) == 100_000
        assert web.ask("api/requeue", {"kind": "dead", "ids": ["d1", "gone"]})[1] == {"done": 1, "asked": 2}
        assert web.ask("api/drop", {"kind": "dead", "ids": ["d2"]})[1] == {"done": 1, "asked": 1}
        assert web.ask("api/requeue", {"kind": "rejected", "ids": ["bad"]})[1] == {"done": 1, "asked": 1}
        with redis.Redis.from_url(filled) as server:
            assert server.lrange("jobs::pending", 0, -1) == [b"bad", b"d1", b"w1"]
            assert not server.exists("jobs::dead", "jobs::rejected", "job::d2")


def test_real_workers_are_seen_and_ended_jobs_are_counted(redis_url: str) -> None:
    worker = jobwire.sync.Worker(redis_url, max_concurrent_jobs=2, id="web-1")
    worker.handler(lambda job: "done")
    with serve(redis_url) as web, jobwire.sync.Client(redis_url, timeout=20) as client, worker:
        web.ask("api/overview")  # from now on it counts
        for _ in range(20):
            assert client.submit({"a": 1}).result() == "done"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            _, overview, _ = web.ask("api/overview")
            if overview["samples"] and overview["samples"][-1][3] == 20:
                break
            time.sleep(0.1)
        assert overview["samples"][-1][3] == 20
        assert [one["id"] for one in overview["state"]["workers"]] == ["web-1"]


def test_a_look_at_a_large_database_asks_for_known_names_alone(redis_url: str) -> None:
    """The commands of a look are as many with 20,000 jobs as with none."""
    with serve(redis_url, "--no-rates", "--interval", "3600") as web, redis.Redis.from_url(redis_url) as server:
        web.ask("api/overview")
        counts = []
        for many in (0, 20_000):
            with server.pipeline(transaction=False) as pipe:
                for number in range(many):
                    pipe.hset(f"job::{number}", mapping={"_queued": "1", "text_a": "b"})
                    pipe.lpush("jobs::pending", number)
                pipe.execute()
            server.config_resetstat()
            assert web.ask("api/overview")[0] == 200
            calls = {name: facts["calls"] for name, facts in server.info("commandstats").items()}
            assert "cmdstat_scan" not in calls
            assert "cmdstat_keys" not in calls
            counts.append(sum(calls.values()))
        assert counts[1] <= counts[0] + 100  # the rows at both ends of the queue


def test_what_is_wrong_is_said(filled: str) -> None:
    with serve(filled) as web:
        for path in ("api/jobs?kind=all", "api/jobs?kind=dead&offset=-1", "api/jobs?kind=dead&offset=x", "api/job?id="):
            status, answer, _ = web.ask(path)
            assert status == 400
            assert answer["error"]
        assert web.ask("api/overview?s=7")[0] == 404
        assert web.ask("api/drop", {"kind": "rejected", "ids": ["bad"]})[0] == 400
        assert web.ask("api/drop", {"kind": "dead", "ids": "d1"})[0] == 400
        assert web.ask("api/drop", ["x"])[0] == 400
        assert web.ask("api/requeue", {"kind": "running", "ids": ["p1"]})[0] == 400
        assert web.ask("api/steps")[0] == 404


def test_a_server_that_is_away_is_said_and_found_again() -> None:
    with RedisServer() as server, serve(server.url) as web:
        assert web.ask("api/overview")[0] == 200
        server.kill()
        assert web.ask("api/overview")[0] == 503
        server.restart()
        assert web.ask("api/overview")[0] == 200
    with serve("redis://127.0.0.1:1") as web:
        status, answer, _ = web.ask("api/overview")
        assert status == 503
        assert "127.0.0.1:1" in answer["error"]


# -- who may ask


def test_only_the_page_itself_may_ask(filled: str) -> None:
    with serve(filled) as web:
        assert web.ask("api/overview", Sec_Fetch_Site="cross-site")[0] == 403
        assert web.ask("api/overview", Host="evil.example:80")[0] == 403
        assert web.ask("api/overview", Host=f"localhost:{web.port}")[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
        connection.request(
            "POST", "/api/drop", json.dumps({"kind": "dead", "ids": ["d1"]})
        )  # as a form of another site
        assert connection.getresponse().status == 403
        connection.close()
        _, page, headers = web.ask("")
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "http://" not in page
        assert "https://" not in page


def test_a_token(filled: str, tmp_path: Path) -> None:
    word = tmp_path / "token"
    word.write_text("a-token-of-many-letters\n")
    with serve(filled, "--token-file", str(word), "--host", "127.0.0.1") as web:
        assert web.ask("api/overview")[0] == 401
        assert web.ask("api/overview", Authorization="Bearer wrong")[0] == 401
        assert web.ask("api/overview", Authorization="Bearer a-token-of-many-letters")[0] == 200
        assert web.ask("")[0] == 200  # the page holds no data


def test_a_proxy_in_front_and_reading_only(filled: str) -> None:
    with serve(filled, "--behind", "X-Remote-User", "--name", "jobs.example", "--read-only") as web:
        assert web.ask("api/overview")[0] == 401
        assert web.ask("api/overview", X_Remote_User="ann", Host="jobs.example")[0] == 200
        assert web.ask("api/overview", X_Remote_User="ann", Host="evil.example")[0] == 403
        assert web.ask("api/overview", X_Remote_User="ann")[0] == 200
        assert web.ask("api/drop", {"kind": "dead", "ids": ["d1"]}, X_Remote_User="ann")[0] == 403


def test_it_does_not_open_itself_to_the_network() -> None:
    command = [sys.executable, "-m", "jobwire", "web", "--host", "0.0.0.0", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "not loopback" in done.stderr
    with pytest.raises(ConfigError, match="too short"):
        Guard(host="0.0.0.0", port=1, token="short").check_setting()
    assert [is_loopback(host) for host in ("127.0.0.9", "::1", "localhost", "10.0.0.1", "host")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(Refused):
        Guard(host="127.0.0.1", port=80).check({"x-jobwire": "1", "host": "127.0.0.1.evil.example"}, writes=False)


# -- the page


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver", reason="LEFT OUT: selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("LEFT OUT: no Chromium with its driver (Debian: chromium, chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(executable_path=DRIVER))
    driver.implicitly_wait(10)
    yield driver
    driver.quit()


def see(browser: Any, pattern: str) -> str:
    """Wait until the page's text has ``pattern``; the text."""
    from selenium.webdriver.support.wait import WebDriverWait

    def text(_: Any) -> str:
        found = browser.execute_script("return document.body.innerText")
        return found if re.search(pattern, found) else ""

    return str(WebDriverWait(browser, 20).until(text))


def press(browser: Any, selector: str) -> None:
    from selenium.webdriver.common.by import By

    browser.find_element(By.CSS_SELECTOR, selector).click()


def test_the_page_shows_hostile_data_as_text_and_asks_before_it_drops(filled: str, browser: Any) -> None:
    with serve(filled) as web:
        browser.get(web.url)
        text = see(browser, "looked at")
        assert re.search(r"dead\s+2", text)
        press(browser, "[data-view=dead]")
        text = see(browser, "1–2 of 2")
        assert "<script>document.title='hit'</script>" in text
        assert "\\u202e \\u001b[2J" in text
        assert "\u202e" not in text
        press(browser, "input[aria-label='choose d2']")
        press(browser, "#drop")
        see(browser, "Delete for good")
        press(browser, "#dialog-buttons button[value='']")
        with redis.Redis.from_url(filled) as server:
            assert server.exists("job::d2"), "Cancel drops nothing"
            press(browser, "#drop")
            press(browser, "#dialog-buttons button.danger")
            see(browser, "drop: 1 of 1 done")
            assert not server.exists("job::d2")
        press(browser, "[data-view=rejected]")
        see(browser, "Rejected: 1")
        press(browser, "[data-view=waiting]")
        see(browser, "日本")
        browser.find_element("css selector", "#find-id").send_keys("w1\n")
        see(browser, "reply to")
        assert browser.title == "jobwire"
        errors = [
            entry
            for entry in browser.get_log("browser")
            if entry["level"] == "SEVERE" and "favicon" not in entry["message"]
        ]
        assert not errors, "the policy of the page was broken"


def test_keys_and_names_for_screen_readers(filled: str, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    with serve(filled) as web:
        browser.get(web.url)
        see(browser, "looked at")
        body = browser.find_element("css selector", "body")
        body.send_keys("4")
        see(browser, "Dead: 2")
        assert browser.find_element("css selector", "nav [aria-current]").text == "Dead"
        nameless = browser.execute_script(
            "return [...document.querySelectorAll('button, input, select')].filter(e => !(e.innerText || e.ariaLabel "
            "|| (e.labels && e.labels.length))).length"
        )
        assert nameless == 0
        body.send_keys("/")
        assert browser.switch_to.active_element.get_attribute("id") == "find-id"
        browser.switch_to.active_element.send_keys("d1", Keys.ENTER)
        see(browser, "Job d1")
        browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        browser.set_window_size(400, 800)
        wide = browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, "no scrolling sideways on a phone"


def test_the_token_is_asked_for_and_kept_out_of_the_address(filled: str, browser: Any, tmp_path: Path) -> None:
    word = tmp_path / "token"
    word.write_text("a-token-of-many-letters")
    with serve(filled, "--token-file", str(word)) as web:
        browser.get(web.url)
        see(browser, "wants a token")
        browser.find_element("css selector", "#token").send_keys("a-token-of-many-letters")
        press(browser, "#dialog-buttons button[value=yes]")
        see(browser, "looked at")
        browser.get("about:blank")
        browser.get(f"{web.url}#token={quote('a-token-of-many-letters')}")
        see(browser, "looked at")
        assert "token" not in browser.current_url
