"""Containers through testcontainers: Perl peers (``perl@docker``) and Redis servers (``--redis docker``).

Variables, beside those of Docker and testcontainers themselves:

``JOBWIRE_DOCKER_BASE``    image that the Perl image is built on, instead of the one that its Dockerfile names
``JOBWIRE_DOCKER_CPAN``    ``0``: install nothing from CPAN; containers mount the host's Perl library folder, read-only
``JOBWIRE_CPAN_MIRROR``    URL of a CPAN mirror, for the build of the image
``JOBWIRE_REDIS_IMAGES``   images of Redis servers, separated by spaces; the first is what ``--redis docker`` means
``JOBWIRE_DOCKER_RUN``     value of the label ``jobwire.run`` of every container, by which a caller finds what is left
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .process import LINE_LIMIT, PeerCommand, PeerFault

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

__all__ = [
    "ContainerFault",
    "ContainerProcess",
    "RedisContainer",
    "engine",
    "perl_command",
    "perl_container",
    "perl_image",
    "redis_images",
]

FIXTURES = Path(__file__).resolve().parents[2] / "perl_fixtures"
LIBRARIES = "/opt/jobwire/perl"
HOW = (
    "install Docker and testcontainers (pip install 'jobwire[conformance]') and let DOCKER_HOST name the engine, "
    "or run the command by ci/docker"
)
_DEFAULT_REDIS = "redis:7.4"
_READ = 256 * 1024
_STDERR = 2
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ContainerFault(RuntimeError):
    """No engine, no image, or no container of it; says what to do."""


@contextlib.contextmanager
def _translated(what: str, hint: str = "") -> Iterator[None]:
    """Errors of the Docker SDK, of its HTTP client and of testcontainers, as :class:`ContainerFault`."""
    try:
        yield
    except ContainerFault:
        raise
    except ImportError as error:
        raise ContainerFault(f"{what}: {error.name} is not installed; {HOW}") from None
    except Exception as error:
        # Three packages with error types of their own, none of which shares a base with another.
        raise ContainerFault(f"{what}: {_first_line(error)}{hint}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def engine() -> str:
    """The version of the engine that answers; raises :class:`ContainerFault` where none does."""
    with _translated("no Docker engine answers", f"; {HOW}"):
        from testcontainers.core.docker_client import DockerClient

        client = DockerClient().client
        try:
            return str(client.version()["Version"])
        finally:
            client.close()


def redis_images() -> list[str]:
    """The images that ``JOBWIRE_REDIS_IMAGES`` names; one of Redis 7 where it names none."""
    return os.environ.get("JOBWIRE_REDIS_IMAGES", "").split() or [_DEFAULT_REDIS]


def _labelled(container: DockerContainer, **options: Any) -> DockerContainer:
    return container.with_kwargs(labels={"jobwire.run": os.environ.get("JOBWIRE_DOCKER_RUN", "")}, **options)


# --- Perl peers -------------------------------------------------------------------------------


def _with_cpan() -> bool:
    return os.environ.get("JOBWIRE_DOCKER_CPAN", "1") != "0"


@functools.cache
def perl_image(stack: str) -> str:
    """Build the image of a library stack from ``perl_fixtures/Dockerfile``, as far as it is not built yet; its tag.

    The first build takes minutes. Raises :class:`ContainerFault`.
    """
    if not (FIXTURES / "Dockerfile").exists():
        raise ContainerFault("perl_fixtures/Dockerfile is not here: run the suite from a checkout")
    arguments = {"WITH_CPAN": "0"}
    tag = "jobwire-perl:host-libraries"
    if _with_cpan():
        if stack == "master":
            raise ContainerFault("master was never released to CPAN: mount its folder (JOBWIRE_DOCKER_CPAN=0)")
        arguments = {"WITH_CPAN": "1", "STACKS": stack, "CPAN_MIRROR": os.environ.get("JOBWIRE_CPAN_MIRROR", "")}
        tag = f"jobwire-perl:{stack.replace('+', '-')}"
    if base := os.environ.get("JOBWIRE_DOCKER_BASE"):
        arguments["BASE"] = base
    engine()
    with _translated(f"the image {tag} cannot be built"):
        from testcontainers.core.image import DockerImage

        # Networks of a build are the engine's; where that does no forwarding, only the host's own reaches a mirror.
        image = DockerImage(
            path=FIXTURES, tag=tag, clean_up=False, buildargs=arguments, network_mode="host", rm=True, forcerm=True
        )
        try:
            image.build()
        finally:
            image.get_docker_client().client.close()
    return tag


def perl_container(stack: str, libraries: Path | None) -> DockerContainer:
    """A container of a Perl peer, not started: stdin open, in the host's network, where the suite's proxies listen."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(perl_image(stack)).with_envs(PERL_STACK=stack, JOBWIRE_PEER_GRACE="5")
    if libraries is not None:
        container.with_volume_mapping(libraries, LIBRARIES, "ro")
    return _labelled(container, stdin_open=True, network_mode="host")


def perl_command(stack: str, root: Path) -> PeerCommand:
    """The peer ``perl@docker:<stack>``; ``root`` is the host's Perl library folder. Raises :class:`ContainerFault`."""
    libraries = None if _with_cpan() else root
    if libraries is not None and not (libraries / stack / "lib" / "perl5").is_dir():
        raise ContainerFault(f"JOBWIRE_DOCKER_CPAN=0, but JOBWIRE_PERL_ROOT/{stack}/lib/perl5 is not on this host")
    image = perl_image(stack)
    return PeerCommand(
        name=f"perl@docker:{stack}",
        dialect=stack.partition("+")[0],
        argv=("docker", "run", "-i", image),
        kind="perl",
        launch=launcher(lambda: perl_container(stack, libraries)),
    )


class _Line:
    """The connection to a container's stdin, stdout and stderr."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        #: The SDK hands out a read-only file over a socket, or (TLS) the socket itself.
        self.raw: socket.socket = getattr(opened, "_sock", opened)
        self.raw.settimeout(None)

    def exactly(self, length: int) -> bytes:
        """So many bytes, or none at the end."""
        got = bytearray()
        while len(got) < length:
            chunk = self.raw.recv(min(_READ, length - len(got)))
            if not chunk:
                return b""
            got += chunk
        return bytes(got)

    def end(self, how: int) -> None:
        """No more of one direction, or of both."""
        with contextlib.suppress(OSError):  # it has ended already
            self.raw.shutdown(how)

    def close(self) -> None:
        """Give both back: the socket stays open as long as the file on it."""
        self._opened.close()
        self.raw.close()


def launcher(make: Callable[[], DockerContainer]) -> Callable[[PeerCommand], Awaitable[ContainerProcess]]:
    """What :class:`PeerCommand` starts a peer with: a new container each time."""

    async def launch(command: PeerCommand) -> ContainerProcess:
        try:
            return await ContainerProcess.open(make())
        except ContainerFault as fault:
            raise PeerFault(f"{command.name}: {fault}") from None

    return launch


class ContainerProcess:
    """A peer in a container, as :class:`.process.Running`: its stdin, stdout and stderr, its state, signals for it.

    SIGSTOP and SIGCONT pause and resume the container, every other signal goes to its first process. The
    engine's API blocks; threads read and write, so that no answer waits for the event loop.
    """

    def __init__(self, container: DockerContainer, line: _Line, *, keep: bool) -> None:
        self._container = container
        self._line = line
        self._keep = keep
        self._paused = False
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._heard_stderr = False
        self.stdout = asyncio.StreamReader(limit=LINE_LIMIT)
        self.stderr = asyncio.StreamReader(limit=LINE_LIMIT)
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    @classmethod
    async def open(cls, container: DockerContainer, *, keep: bool = False) -> ContainerProcess:
        """Start the container (again, where it has ended) and attach to it; ``keep``: :meth:`dispose` leaves it there.

        Raises :class:`ContainerFault`.
        """
        return cls(container, await asyncio.to_thread(_start_and_attach, container), keep=keep)

    # --- what PeerProcess asks for --------------------------------------------------------------

    @property
    def container_id(self) -> str:
        """The engine's name for it."""
        return self._container.get_container_id()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative where a signal ended it; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def write(self, line: bytes) -> None:
        """Queue bytes for stdin."""
        self._lines.put(line)

    def end_input(self) -> None:
        """Close stdin once all that was queued is written."""
        self._lines.put(None)

    async def wait(self) -> int:
        """Wait for the end; the exit status."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> None:
        """Returns once the engine has done it: the next step of a case must find it done."""
        from docker.errors import APIError

        wrapped = self._container.get_wrapped_container()
        with contextlib.suppress(APIError):  # it has ended meanwhile
            if number is signal.SIGSTOP:
                wrapped.pause()
                self._paused = True
            elif number is not signal.SIGCONT:
                wrapped.kill(signal=number.name)
            elif self._paused:
                wrapped.unpause()
                self._paused = False

    async def dispose(self) -> None:
        """Leave it, and remove the container."""
        self.end_input()
        await asyncio.to_thread(self._leave)

    # --- in threads -----------------------------------------------------------------------------

    def _leave(self) -> None:
        self._line.end(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._line.close()
        if not self._keep:
            _remove(self._container)

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the container has ended
            while (line := self._lines.get()) is not None:
                self._line.raw.sendall(line)
        self._line.end(socket.SHUT_WR)

    def _read(self) -> None:
        """Until the end: frames of eight bytes (stream, three zeros, length) and what they hold."""
        with contextlib.suppress(OSError):
            while header := self._line.exactly(8):
                stream, length = struct.unpack(">BxxxL", header)
                self._feed(stream, self._line.exactly(length))
        status = self._status()
        # The loop may be gone where nobody waited for the end.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish, status)

    def _feed(self, stream: int, data: bytes) -> None:
        self._heard_stderr |= stream == _STDERR
        reader = self.stderr if stream == _STDERR else self.stdout
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(reader.feed_data, data)

    def _status(self) -> int:
        """The exit status in the way of subprocess; what was said before the line was there comes from the log."""
        wrapped = self._container.get_wrapped_container()
        try:
            status = int(wrapped.wait(timeout=10)["StatusCode"])
            if not self._heard_stderr:
                self._feed(_STDERR, wrapped.logs(stdout=False, stderr=True))
        except Exception as error:
            # Removed, or the engine is gone: then the peer runs no more either.
            self._feed(_STDERR, f"no exit status from the engine: {_first_line(error)}\n".encode())
            return -signal.SIGKILL
        return status if status <= 128 else 128 - status

    def _finish(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)
        self.stdout.feed_eof()
        self.stderr.feed_eof()


def _start_and_attach(container: DockerContainer) -> _Line:
    with _translated(f"no container of {container.image}"):
        if container._container is None:
            container.start()
        else:
            container.get_wrapped_container().start()
        try:
            # A peer says nothing on stdout before it is asked, so nothing is lost between start and attach.
            line = container.get_docker_client().client.api.attach_socket(
                container.get_container_id(), params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
        except Exception:
            _remove(container)
            raise
        return _Line(line)


def _remove(container: DockerContainer) -> None:
    # What is gone already needs no removal, and the end of a case is no place to complain.
    with contextlib.suppress(Exception):
        container.stop()


# --- Redis ------------------------------------------------------------------------------------


class RedisContainer:
    """A Redis server in a container, as :class:`jobwire.testing.server.RedisServer` is one in a process.

    Its port on the host stays the same when it is restarted, and so does its data (append-only file). Where
    the engine is on this machine the port is bound to loopback only.
    """

    def __init__(self, image: str) -> None:
        self.image = image
        with _translated(f"no container of {image}"):
            self._container = self._make(image)
            try:
                self._container.start()
                self._wait_until_up(30)
            except Exception:
                _remove(self._container)
                raise

    def _make(self, image: str) -> DockerContainer:
        from testcontainers.core.container import DockerContainer

        container = DockerContainer(image)
        # Official images and those of ci/docker take options of the server as their command.
        container.with_command(["--appendonly", "yes", "--save", "", "--protected-mode", "no"])
        self.host = container.get_docker_client().host()
        # The engine would choose another port at each restart.
        self.port = _free_port()
        local = self.host in _LOOPBACK
        if local:
            self.host = "127.0.0.1"
        bound: Any = (self.host, self.port) if local else self.port
        container.ports["6379/tcp"] = bound
        return _labelled(container)

    @property
    def container_id(self) -> str:
        """The engine's name for it."""
        return self._container.get_container_id()

    @property
    def running(self) -> bool:
        """Whether the server runs, paused or not."""
        wrapped = self._container.get_wrapped_container()
        wrapped.reload()
        return str(wrapped.status) in {"running", "paused"}

    def restart(self) -> None:
        """Stop it (where it runs) and start it with the same data; returns when it answers."""
        with _translated(f"{self.image} cannot be restarted"):
            self._container.get_wrapped_container().restart(timeout=10)
            self._wait_until_up(30)

    def kill(self) -> None:
        """Take it away, as a crash would."""
        self._container.get_wrapped_container().kill()

    def pause(self) -> None:
        """Connections stay open, and nothing is answered."""
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        """The end of :meth:`pause`."""
        self._container.get_wrapped_container().unpause()

    def stop(self) -> None:
        """Remove the container and its data."""
        _remove(self._container)

    def _wait_until_up(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._answers():
            if time.monotonic() > deadline or not self.running:
                said = self._container.get_wrapped_container().logs(tail=5).decode("utf-8", "replace").strip()
                raise ContainerFault(f"{self.image} does not answer PING; its log ends: {said}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        # The engine's forwarder accepts before the server listens: only an answer counts.
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as line:
                line.sendall(b"PING\r\n")
                return line.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Build what ``perl@docker`` needs ahead of its use: ``python -m jobwire_conformance.containers [STACK…]``."""
    try:
        for stack in sys.argv[1:] or ["0.004"]:
            sys.stdout.write(f"{perl_image(stack)}\n")
    except ContainerFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
