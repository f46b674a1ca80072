"""Containers through testcontainers: the engine, and Redis servers (``--redis docker``).

Variables, beside those of Docker and testcontainers themselves:

``JOBWIRE_DOCKER_BASE``    image that the Perl image is built on, instead of the one that its Dockerfile names
``JOBWIRE_DOCKER_CPAN``    ``0``: install nothing from CPAN; containers mount the host's Perl library folder, read-only
``JOBWIRE_CPAN_MIRROR``    URL of a CPAN mirror, for the build of the image
``JOBWIRE_REDIS_IMAGES``   images of Redis servers, separated by spaces; the first is the one of ``--redis docker``
``JOBWIRE_DOCKER_RUN``     value of the label ``jobwire.run`` of every container, by which a caller finds leftovers
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

__all__ = [
    "ContainerFault",
    "RedisContainer",
    "engine",
    "first_line",
    "labelled",
    "redis_images",
    "remove",
    "translated",
]

HOW = (
    "install Docker and testcontainers (pip install 'jobwire[conformance]') and let DOCKER_HOST name the engine, "
    "or run the command by ci/docker"
)
_DEFAULT_REDIS = "redis:7.4"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class ContainerFault(RuntimeError):
    """No engine, no image, or no container of it; the message names the remedy."""


@contextlib.contextmanager
def translated(what: str, hint: str = "") -> Iterator[None]:
    """Errors of the Docker SDK, of its HTTP client and of testcontainers, as :class:`ContainerFault`."""
    try:
        yield
    except ContainerFault:
        raise
    except ImportError as error:
        raise ContainerFault(f"{what}: {error.name} is not installed; {HOW}") from None
    except Exception as error:
        # Three packages with error types of their own, none of which shares a base with another.
        raise ContainerFault(f"{what}: {first_line(error)}{hint}") from error


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def engine() -> str:
    """The version of the engine that answers; raises :class:`ContainerFault` where none does."""
    with translated("no Docker engine answers", f"; {HOW}"):
        from testcontainers.core.docker_client import DockerClient, get_docker_host

        host = get_docker_host() or "unix:///var/run/docker.sock"
        if host.startswith("unix://"):
            # Where nothing listens the SDK would leave an open socket behind.
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(host.removeprefix("unix://"))
        client = DockerClient().client
        try:
            return str(client.version()["Version"])
        finally:
            client.close()


def redis_images() -> list[str]:
    """The images that ``JOBWIRE_REDIS_IMAGES`` names; one of Redis 7 where it names none."""
    return os.environ.get("JOBWIRE_REDIS_IMAGES", "").split() or [_DEFAULT_REDIS]


def labelled(container: DockerContainer, **options: Any) -> DockerContainer:
    """The container with its options, and with the label by which ``ci/docker`` finds it."""
    return container.with_kwargs(labels={"jobwire.run": os.environ.get("JOBWIRE_DOCKER_RUN", "")}, **options)


def remove(container: DockerContainer) -> None:
    """Remove a container, whatever its state; never raises."""
    # A container that is gone needs no removal, and the end of a case is no place to complain.
    with contextlib.suppress(Exception):
        container.stop()


class RedisContainer:
    """A Redis server in a container, as :class:`jobwire.testing.server.RedisServer` is one in a process.

    Its port on the host stays the same when it is restarted, and so does its data (append-only file). Where
    the engine is on this machine the port is bound to loopback only.
    """

    def __init__(self, image: str) -> None:
        self.image = image
        with translated(f"no container of {image}"):
            self._container = self._make(image)
            try:
                self._container.start()
                self._wait_until_up(30)
            except Exception:
                remove(self._container)
                raise

    def _make(self, image: str) -> DockerContainer:
        from testcontainers.core.container import DockerContainer

        from jobwire.testing.server import free_port

        container = DockerContainer(image)
        # Official images and those of ci/docker take options of the server as their command.
        # The server's default, a sync each second, holds writes back while a sync runs: a kill would lose answered
        # writes. Without one the kernel has each write before its answer goes out.
        durable = ["--appendonly", "yes", "--appendfsync", "no", "--save", ""]
        container.with_command([*durable, "--protected-mode", "no"])
        self.host = container.get_docker_client().host()
        # The engine would choose another port at each restart.
        self.port = free_port()
        local = self.host in _LOOPBACK
        if local:
            self.host = "127.0.0.1"
        bound: Any = (self.host, self.port) if local else self.port
        container.ports["6379/tcp"] = bound
        return labelled(container)

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
        with translated(f"{self.image} cannot be restarted"):
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
        remove(self._container)

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
