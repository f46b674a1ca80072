"""What type checkers make of the blocking face and of RPC: as precise as the asynchronous one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

GOOD = """
from collections.abc import Iterator
from typing import Any, assert_type

import msgspec

import jobwire
from jobwire import rpc, sync


class Pong(msgspec.Struct):
    pong: int


def blocking(client: sync.Client) -> None:
    assert_type(client.submit({"a": 1}), sync.JobHandle[Any])
    typed = client.submit({"a": 1}, result_type=Pong, timeout=None, queue=b"q")
    assert_type(typed, sync.JobHandle[Pong])
    assert_type(typed.result(timeout=1.5), Pong)
    assert_type(typed.cancel(), bool)
    assert_type(client.results([typed]), Iterator[tuple[sync.JobHandle[Pong], Pong | jobwire.JobError]])
    assert_type(client.submit_many([{}]), list[sync.JobHandle[Any]])
    assert_type(client.state("x"), jobwire.JobState)
    with sync.Client("redis://", mode="simple", timeout=None, max_outstanding=5) as again:
        assert_type(again, sync.Client)


async def calls(client: jobwire.Client) -> None:
    assert_type(await rpc.call(client, "ping", {}, result_type=Pong, timeout=3), Pong)
    assert_type(await rpc.call(client, "ping"), Any)
    assert_type(rpc.decode_reply("{}", result_type=int), int)


def working(worker: sync.Worker, other: jobwire.Worker) -> None:
    @worker.handler
    def first(job: jobwire.Job) -> str:
        return "x"

    assert_type(first(jobwire.Job(id="x", data={})), str)

    for server in (rpc.Server(worker), rpc.Server(other)):

        @server.method("ping")
        async def ping(params: Pong) -> Pong:
            return params

    sync.Worker("redis://", max_concurrent_jobs=5).run(grace=1)
"""

BAD = """
import jobwire
from jobwire import rpc, sync

sync.Client(prefx="a")
sync.Client(max_outstanding="many")
sync.Worker(mode=5)
sync.Client().submit({}, timout=5)
sync.Client().submit({}, result_type=int).result() + "x"
rpc.Server(sync.Client())
"""


def check(tool: str, program: str, tmp_path: Path) -> dict[int, str]:
    """The lines that the tool complains of."""
    file = tmp_path / "program.py"
    file.write_text(program)
    root = Path(__file__).resolve().parents[1]
    options = ["--strict", "--no-error-summary", "--config-file="] if tool == "mypy" else []
    command = [sys.executable, "-m", tool, *options, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300, check=False)
    output = done.stdout + done.stderr
    found = re.findall(r"program\.py:(\d+)(?::\d+)?(?: -)?:? error: (.*)", output)
    assert done.returncode == (1 if found else 0), output
    return {int(line): message for line, message in found}


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_what_is_right_passes(tool: str, tmp_path: Path) -> None:
    assert check(tool, GOOD, tmp_path) == {}


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_what_is_wrong_is_found(tool: str, tmp_path: Path) -> None:
    wrong = {number for number, line in enumerate(BAD.splitlines(), 1) if line and "import" not in line}
    assert check(tool, BAD, tmp_path).keys() == wrong


AS_USERS_DO = """
from typing import Annotated, Literal

import msgspec

import jobwire


class Card(msgspec.Struct, tag="card"):
    number: str


class Cash(msgspec.Struct, tag="cash"):
    amount: int


async def main(client: jobwire.Client, worker: jobwire.Worker) -> Card | Cash | None:
    rpc = jobwire.rpc.Server(worker)
    rpc.method("x", timeout=1.5)(lambda params: params)
    await client.submit({}, result_type=Literal["a", "b"])
    await client.submit({}, result_type=Annotated[int, msgspec.Meta(ge=0)])
    jobwire.sync.Client().submit({}, result_type=int | None).result()
    return await client.submit({}, result_type=Card | Cash | None)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the package as a wheel brings it: this one's may have a link in its place."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    shutil.copytree(
        Path(__file__).parents[1] / "jobwire", site / "jobwire", ignore=shutil.ignore_patterns("__pycache__")
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin" / "python"


@pytest.mark.parametrize("tool", [["mypy", "--strict", "--python-executable"], ["pyright", "--pythonpath"]])
def test_an_installed_package_shows_its_faces(tool: list[str], installed: Path, tmp_path: Path) -> None:
    """Away from this project's own settings, where what a package does not export is hidden."""
    (tmp_path / "app.py").write_text(AS_USERS_DO)
    command = [sys.executable, "-m", *tool, str(installed), str(tmp_path / "app.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
