"""Perl peers in containers, ``perl@docker``: the image, the container, and its streams as those of a process."""

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
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobwire_conformance.driver.process import LINE_LIMIT, PeerCommand, PeerFault
from jobwire_conformance.driver.text import one_line
from jobwire_conformance.peers.containers import (
    ContainerFault,
    engine,
    first_line,
    labelled,
    remove,
    translated,
)

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

__all__ = ["ContainerProcess", "launcher", "perl_command", "perl_container", "perl_image"]

FIXTURES = Path(__file__).resolve().parents[3] / "perl_fixtures"
LIBRARIES = "/opt/jobwire/perl"
_READ = 256 * 1024
_STDERR = 2
_GRACE = {"JOBWIRE_PEER_GRACE": "5"}


def _with_cpan() -> bool:
    return os.environ.get("JOBWIRE_DOCKER_CPAN", "1") != "0"


@functools.cache
def perl_image(stack: str, release: str = "") -> str:
    """Build the image of a library stack from ``perl_fixtures/Dockerfile``, as far as it is not built yet; its tag.

    ``release`` is a Debian release other than the file's own. The first build takes minutes. Raises
    :class:`ContainerFault`.
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
    if release:
        arguments["BASE"] = f"debian:{release}-slim"
        tag += f"-{release}"
    elif base := os.environ.get("JOBWIRE_DOCKER_BASE"):
        arguments["BASE"] = base
    engine()
    with translated(f"the image {tag} cannot be built"):
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


def perl_container(
    stack: str, libraries: Path | None, *, release: str = "", env: Mapping[str, str] = _GRACE
) -> DockerContainer:
    """A container of a Perl peer, not started: stdin open, in the host's network, where the suite's proxies listen."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(perl_image(stack, release)).with_envs(PERL_STACK=stack, **env)
    if libraries is not None:
        container.with_volume_mapping(libraries, LIBRARIES, "ro")
    return labelled(container, stdin_open=True, network_mode="host")


def perl_command(name: str, stack: str, root: Path, *, release: str = "", env: Mapping[str, str]) -> PeerCommand:
    """The peer ``name`` on ``stack``; ``root`` is the host's Perl library folder, ``release`` a Debian release other
    than that of the Dockerfile, ``env`` is added to the container's environment. Raises :class:`ContainerFault`."""
    libraries = None if _with_cpan() else root
    if libraries is not None and not (libraries / stack / "lib" / "perl5").is_dir():
        raise ContainerFault(f"JOBWIRE_DOCKER_CPAN=0, but JOBWIRE_PERL_ROOT/{stack}/lib/perl5 is not on this host")
    image = perl_image(stack, release)
    return PeerCommand(
        name=name,
        dialect=stack.partition("+")[0],
        argv=("docker", "run", "-i", image),
        kind="perl",
        launch=launcher(lambda: perl_container(stack, libraries, release=release, env=env)),
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
    """The launcher that :class:`PeerCommand` uses: a new container each time."""

    async def launch(command: PeerCommand) -> ContainerProcess:
        try:
            return await ContainerProcess.open(make())
        except ContainerFault as fault:
            raise PeerFault(f"{command.name}: {fault}") from None

    return launch


class ContainerProcess:
    """A peer in a container, as a :class:`Running`: its stdin, stdout and stderr, its state, signals for it.

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

    # --- the interface of PeerProcess --------------------------------------------------------------

    @property
    def container_id(self) -> str:
        """The engine's name for it."""
        return self._container.get_container_id()

    @property
    def pid(self) -> int | None:
        return None

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
        try:
            if number is signal.SIGSTOP:
                wrapped.pause()
                self._paused = True
            elif number is not signal.SIGCONT:
                wrapped.kill(signal=number.name)
            elif self._paused:
                wrapped.unpause()
                self._paused = False
        except APIError:
            # It has ended meanwhile; nobody waits for ever where the engine has not closed the line.
            if number is signal.SIGKILL:
                self._line.end(socket.SHUT_RDWR)

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
            remove(self._container)

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # the container has ended
            while (line := self._lines.get()) is not None:
                self._line.raw.sendall(line)
        self._line.end(socket.SHUT_WR)

    def _read(self) -> None:
        """Until the end: frames of eight bytes (stream, three zeros, length) and their contents."""
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
        """The exit status in the way of subprocess; output from before the line was there comes from the log."""
        wrapped = self._container.get_wrapped_container()
        try:
            status = int(wrapped.wait(timeout=10)["StatusCode"])
            if not self._heard_stderr:
                self._feed(_STDERR, wrapped.logs(stdout=False, stderr=True))
        except Exception as error:
            # Removed, or the engine is gone: then the peer runs no more either.
            self._feed(_STDERR, f"no exit status from the engine: {first_line(error)}\n".encode())
            return -signal.SIGKILL
        return status if status <= 128 else 128 - status

    def _finish(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)
        self.stdout.feed_eof()
        self.stderr.feed_eof()


def _start_and_attach(container: DockerContainer) -> _Line:
    with translated(f"no container of {container.image}"):
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
            remove(container)
            raise
        opened = _Line(line)
        container.reload()
        if container.status == "exited":
            # The engine would never say so on a line that was there too late; its output is in its log.
            opened.end(socket.SHUT_RDWR)
        return opened


def main() -> int:
    """Build the images of ``perl@docker`` ahead of their use: ``python -m peers.container_peers [STACK…]``."""
    try:
        for stack in sys.argv[1:] or ["0.004"]:
            sys.stdout.write(f"{perl_image(stack)}\n")
    except ContainerFault as fault:
        sys.stderr.write(one_line(str(fault)) + "\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
