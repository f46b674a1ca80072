"""The systems compared: for each the commands of its worker and its client, and the place of its installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jobwire-bench"

PACKAGES = {
    "saq": ("saq[hiredis]==0.26.*", "typing_extensions", "uvloop"),
    "arq": ("arq==0.28.*", "hiredis", "uvloop"),
    "huey": ("huey==3.5.*", "redis", "hiredis"),
    "dramatiq": ("dramatiq[redis]==2.2.*", "hiredis"),
    "taskiq": ("taskiq==0.13.*", "taskiq-redis==1.2.*", "hiredis", "uvloop"),
    "celery": ("celery[redis]==5.7.*", "hiredis"),
    "rq": ("rq==3.0.*", "hiredis"),
    "bullmq": ("bullmq==3.4.*", "hiredis", "uvloop"),
}


@dataclass(frozen=True)
class Load:
    """The load of a client: the number of jobs outstanding, the seconds, the payload."""

    concurrency: int
    seconds: float = 2.0
    warmup: float = 0.5
    kind: str = "ints"
    size: int = 0
    slots: int = 64
    workers: int = 1
    rate: float = 0.0


Command = Callable[[int, Load], list[str]]
"""From the server's port and the load to a command line."""


@dataclass(frozen=True)
class System:
    name: str
    worker: Command
    client: Command
    environment: dict[str, str] = field(default_factory=dict)


def _python(program: str, role: str, *more: str, interpreter: str = sys.executable) -> Command:
    def command(port: int, load: Load) -> list[str]:
        told = {
            "--port": port,
            "--concurrency": load.concurrency,
            "--seconds": load.seconds,
            "--warmup": load.warmup,
            "--kind": load.kind,
            "--size": load.size,
            "--slots": load.slots,
            "--rate": load.rate,
        }
        words = [str(word) for pair in told.items() for word in pair]
        return [interpreter, str(PEERS / f"{program}_peer.py"), role, *words, *more]

    return command


def _perl(role: str) -> Command:
    def command(port: int, load: Load) -> list[str]:
        numbers = (port, load.concurrency, load.warmup, load.seconds, load.slots)
        return ["perl", str(PEERS / "perl_peer.pl"), role, *map(str, numbers)]

    return command


def _floor(role: str, program: Path) -> Command:
    def command(port: int, load: Load) -> list[str]:
        more = ("64",) if role == "worker" else (str(load.concurrency), str(load.warmup), str(load.seconds))
        return [str(program), role, "127.0.0.1", str(port), *more]

    return command


# As many jobs at a time as suit each: jobwire and the floor gain by more than 64, the other queues do not.
_SLOTS = ("--slots", "256")


def ours() -> Iterable[System]:
    """jobwire, and the floor in Python, on both event loops."""
    for loop in ("uvloop", "asyncio"):
        told = ("--loop", loop)
        yield System(f"floor, Python, {loop}", _python("floor", "worker", *told), _python("floor", "client", *told))
        worker, client = _python("jobwire", "worker", *_SLOTS, *told), _python("jobwire", "client", *told)
        yield System(f"jobwire, {loop}", worker, client)
    plain = {"JOBWIRE_WIRE_PURE": "1", "JOBWIRE_SEREAL_PURE": "1"}
    yield System(
        "jobwire, uvloop, plain Python",
        _python("jobwire", "worker", *_SLOTS),
        _python("jobwire", "client"),
        plain,
    )
    yield System(
        "jobwire, uvloop, Perl's shared list",
        _python("jobwire", "worker", *_SLOTS, "--shared"),
        _python("jobwire", "client"),
    )


def interpreter_of(checkout: Path) -> str:
    """Return the Python of a checkout's own environment, else this one."""
    python = checkout / ".venv" / "bin" / "python"
    return str(python) if python.exists() else sys.executable


def pair(other: Path) -> list[System]:
    """Return the build in the checkout ``other`` and this one, with 64 slots each; the one with its own environment
    where it has one (``.venv``).
    """
    python = interpreter_of(other)
    told = ("--loop", "uvloop")
    return [
        System(
            "before",
            _python("jobwire", "worker", *told, interpreter=python),
            _python("jobwire", "client", *told, interpreter=python),
            {"PYTHONPATH": str(other.resolve())},
        ),
        System("now", _python("jobwire", "worker", *told), _python("jobwire", "client", *told)),
    ]


def floor_in_c() -> System | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    CACHE.mkdir(parents=True, exist_ok=True)
    program = CACHE / "floor"
    subprocess.run([compiler, "-O2", "-o", str(program), str(PEERS / "floor.c")], check=True)
    return System("floor, C", _floor("worker", program), _floor("client", program))


def perl() -> Iterable[System]:
    """Yield Perl with itself and with jobwire; nothing where Job::Async::Redis is not installed."""
    found = shutil.which("perl")
    probe = ["perl", "-MJob::Async::Redis", "-MJob::Async::Worker::Redis", "-e1"]
    if found is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        return
    yield System("Perl, client and worker", _perl("worker"), _perl("client"))
    # Perl's worker takes from the shared list; jobwire's takes into one of its own, which Perl's client cannot tell.
    yield System("Perl client, jobwire worker", _python("jobwire", "worker", *_SLOTS), _perl("client"))
    yield System("jobwire client, Perl worker", _perl("worker"), _python("jobwire", "client"))


def queues(names: Iterable[str] = PACKAGES) -> Iterable[System]:
    """Yield the other Python queues, each in an environment of its own, made when it is not there yet."""
    for name in names:
        interpreter = _environment(name)
        if interpreter is not None:
            yield System(
                name,
                _python(name, "worker", interpreter=interpreter),
                _python(name, "client", interpreter=interpreter),
                {"PYTHONPATH": str(PEERS)},
            )


def _environment(name: str) -> str | None:
    folder = CACHE / name
    interpreter = folder / "bin" / "python"
    done = folder / "bench-ready"
    if not done.exists():
        print(f"setting up {name} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]]
        if subprocess.run(pip, check=False).returncode:
            print(f"LEFT OUT: {name} could not be installed", file=sys.stderr)
            return None
        done.write_text("\n".join(PACKAGES[name]))
    return str(interpreter)


def versions() -> dict[str, str]:
    """Return the versions installed in the environments, by name."""
    found = {}
    for name in PACKAGES:
        interpreter = CACHE / name / "bin" / "python"
        if interpreter.exists():
            ask = f"import importlib.metadata as m; print(m.version({name!r}))"
            told = subprocess.run([str(interpreter), "-c", ask], capture_output=True, text=True, check=False)
            found[name] = told.stdout.strip()
    return found
