"""The driver protocol: messages, schemas, and real peer processes that keep or break it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from ci import schemas
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.process import NONSENSE, PeerCommand, PeerFault, PeerProcess
from jobwire_conformance.peers.registry import MissingPeer, UsageFault, resolve
from jobwire_conformance.peers.servers import version_in
from jobwire_conformance.run.runner import probe


def script(tmp_path: Path, text: str) -> PeerCommand:
    path = tmp_path / "peer.py"
    path.write_text(text)
    return PeerCommand(name="cmd:peer", dialect="0.004", argv=(sys.executable, str(path)))


@pytest.mark.parametrize("kind", driver.REQUESTS)
def test_requests_there_and_back(kind: type[msgspec.Struct]) -> None:
    examples = {
        "Start": {"role": "worker", "redis": "redis://x"},
        "Submit": {"seq": 1, "data": {}},
        "Cancel": {"seq": 1},
    }
    message = kind(**examples.get(kind.__name__, {}))
    assert driver.decode_request(driver.encode(message)) == message  # type: ignore[arg-type]  # a member of the union


def test_unknown_fields_are_ignored_and_unknown_messages_are_not() -> None:
    assert driver.decode_request(b'{"type":"bye","new":1}') == driver.Bye()
    with pytest.raises(msgspec.ValidationError):
        driver.decode_request(NONSENSE)


def test_schemas_are_not_stale() -> None:
    assert schemas.stale() == [], "run: python -m ci.schemas"


def test_staleness_is_noticed(tmp_path: Path) -> None:
    assert set(schemas.stale(tmp_path)) == set(schemas.schemas())
    (tmp_path / "of-nobody.json").write_text("{}")
    assert "of-nobody.json" in schemas.stale(tmp_path)


async def test_the_python_peer_shakes_hands() -> None:
    hello = await probe(resolve("python")[0])
    assert (hello.driver, hello.language) == (1, "Python")
    assert set(hello.modes) == {"reliable", "recoverable", "simple"}
    assert set(hello.dialects) == {"0.001", "0.002", "0.003", "0.004", "master"}


async def test_a_peer_that_answers_nonsense_is_refused(tmp_path: Path) -> None:
    peer = script(tmp_path, 'print(\'{"type":"stopped"}\', flush=True)\nimport time; time.sleep(5)')
    with pytest.raises(PeerFault, match="nonsense command was answered with Stopped"):
        await probe(peer, seconds=5)


async def test_a_peer_that_says_no_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PeerFault, match="not an answer of the driver protocol"):
        await probe(script(tmp_path, "print('hello', flush=True)\nimport time; time.sleep(5)"), seconds=5)


async def test_a_peer_that_dies_is_said_to_have_died(tmp_path: Path) -> None:
    with pytest.raises(PeerFault, match=r"status 3.*its stderr ends: 'boom"):
        await probe(script(tmp_path, "import sys; sys.stderr.write('boom'); sys.exit(3)"), seconds=5)


async def test_a_peer_that_says_nothing_ends_in_time(tmp_path: Path) -> None:
    with pytest.raises(PeerFault, match=r"no answer within 0\.5 s"):
        await probe(script(tmp_path, "import time; time.sleep(60)"), seconds=0.5)


async def test_a_peer_of_another_driver_version_is_refused(tmp_path: Path) -> None:
    text = """
import sys
for line in sys.stdin:
    if "hello" in line:
        print('{"type":"hello","driver":9,"name":"x","version":"1","language":"x","runtime":"x","roles":[],'
              '"modes":[],"dialects":[]}', flush=True)
    else:
        print('{"type":"unsupported","what":"it"}', flush=True)
"""
    with pytest.raises(PeerFault, match="speaks driver protocol 9"):
        await probe(script(tmp_path, text), seconds=5)


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(PeerFault, match="cannot start"):
        await probe(PeerCommand(name="x", dialect="0.004", argv=("/nonexistent/peer",)))


async def test_a_peer_that_ignores_the_end_is_killed(tmp_path: Path) -> None:
    peer = PeerProcess(script(tmp_path, "import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(60)"))
    await peer.start()
    await peer.close()
    assert peer.status == -9


@pytest.mark.parametrize("name", ["ruby", "python:0.009", "cmd:", "cmd@0.009:x", "perl:7"])
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(UsageFault):
        resolve(name)


def test_names() -> None:
    assert [command.dialect for command in resolve("python:*")] == ["0.001", "0.002", "0.003", "0.004", "master"]
    assert resolve("cmd@0.003:node 'my peer.js'")[0].argv == ("node", "my peer.js")
    assert resolve("cmd:peer")[0].dialect == "0.004"


def test_perl_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOBWIRE_PERL_ROOT", str(tmp_path))
    with pytest.raises(MissingPeer, match="perl"):
        resolve("perl:0.001")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPeer, match="no perl on PATH"):
        resolve("perl")


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ("redis_version:7.0.15", "Redis 7.0.15"),
        ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2", "Valkey 9.1.2"),
        ("redis_version:7.2.4\r\nredict_version:7.3.6", "redict 7.3.6"),
        ("", "Redis unknown"),
    ],
)
def test_the_servers_name_and_version(info: str, said: str) -> None:
    assert version_in(f"# Server\r\n{info}\r\n".encode()) == said
