"""Every contract of ``lint-imports`` can be broken: an import planted in a copy of the packages breaks it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("jobwire", "conformance/jobwire_conformance", "endurance")
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS: list[str] = [contract["name"] for contract in SETTINGS["contracts"]]


class Plant(NamedTuple):
    """``module`` imports ``target``, which ``contract`` (or how its name begins) forbids."""

    contract: str
    module: str
    target: str


#: At least one a contract. Each is planted at the end of the module, for types only, and in a function.
PLANTS = [
    Plant("jobwire: commands over faces", "jobwire.wire.keys", "jobwire.transport"),
    Plant("jobwire: commands over faces", "jobwire.client.client", "jobwire.worker.worker"),
    Plant("jobwire: commands over faces", "jobwire.limits", "jobwire.errors"),
    Plant("jobwire.wire: modes over", "jobwire.wire.scripts", "jobwire.wire.codec.jobs"),
    Plant("jobwire.wire: modes over", "jobwire.wire.states", "jobwire.wire.workers"),
    Plant("jobwire.client: client over", "jobwire.client.handle", "jobwire.client.outstanding"),
    Plant("jobwire.worker: worker over", "jobwire.worker.registration", "jobwire.worker.executor"),
    Plant("jobwire.worker: worker over", "jobwire.worker.handlers", "jobwire.worker.delivery"),
    Plant("nothing outside jobwire.wire names", "jobwire.worker.executor", "jobwire.wire.modes.simple"),
    Plant("the wire is sans-IO", "jobwire.wire.keys", "socket"),
    Plant("the Sereal codec stands alone", "jobwire.sereal.decoder", "msgspec"),
    Plant("redis-py and hiredis live", "jobwire.cli.top", "redis"),
    Plant("the package never imports its suite", "jobwire.cli.tap", "jobwire_conformance.tap.entry"),
    Plant("the wheel never imports", "jobwire_conformance.cli.chaos", "endurance.chaos.command"),
    Plant("suite: cli >", "jobwire_conformance.rules.watch", "jobwire_conformance.report.report"),
    Plant("suite: cli >", "jobwire_conformance.run.steps", "jobwire_conformance.tap.fields"),
    Plant("suite: cli >", "jobwire_conformance.peers.python", "jobwire_conformance.selftest.mutants"),
    Plant("suite: no cycles", "jobwire_conformance.rules.facts", "jobwire_conformance.rules.forms"),
    Plant("judgement imports nothing", "jobwire_conformance.rules.scripts", "jobwire.wire.scripts"),
    Plant("judgement imports nothing", "jobwire_conformance.run.runner", "jobwire"),
]
WAYS = {
    "plainly": "\nimport {target}\n",
    "for types only": "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import {target}\n",
    "in a function": "\ndef _lazily() -> None:\n    import {target}\n",
}


def test_every_contract_has_a_plant_and_no_plant_is_of_a_contract_that_went() -> None:
    planted = {plant.contract for plant in PLANTS}
    assert [name for name in CONTRACTS if not name.startswith(tuple(planted))] == []
    assert [start for start in planted if sum(name.startswith(start) for name in CONTRACTS) != 1] == []


def test_no_import_is_excepted() -> None:
    """But for that of the codec, which judgement shares."""
    allowed = {"jobwire_conformance.** -> jobwire.sereal", "jobwire_conformance.** -> jobwire.sereal.**"}
    excepted = {item for contract in SETTINGS["contracts"] for item in contract.get("ignore_imports", [])}
    assert excepted <= allowed
    assert not SETTINGS.get("exclude_type_checking_imports", False)
    assert all(not contract.get("exclude_type_checking_imports") for contract in SETTINGS["contracts"])


#: Lints once for each file that it is told to change, and puts the file back. In one process: the graph is kept.
LINTING = """
import contextlib, io, json, pathlib, sys
sys.path.insert(0, ".")
from importlinter.cli import lint_imports
said = []
for path, planted in json.load(sys.stdin):
    file = pathlib.Path(path)
    sound = file.read_text() if file.exists() else None
    file.write_text((sound or "") + planted)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        lint_imports(cache_dir="cache")
    file.unlink() if sound is None else file.write_text(sound)
    said.append(out.getvalue())
json.dump(said, sys.stdout)
"""
TRIALS = [(plant, way) for plant in PLANTS for way in WAYS]
#: (contract, container) of the layers that must name every module in it.
EXHAUSTIVE = [
    (contract["name"], container)
    for contract in SETTINGS["contracts"]
    if contract.get("exhaustive")
    for container in contract["containers"]
]


def module_at(place: Path, name: str) -> Path:
    path = place.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def broken_in(said: str) -> list[str]:
    """The contracts that ``lint-imports`` calls broken."""
    joined = " ".join(said.split())
    assert "Contracts: " in joined, said
    return [name for name in CONTRACTS if f"{' '.join(name.split())} BROKEN" in joined]


class Found(NamedTuple):
    sound: list[str]
    unlisted: list[list[str]]
    planted: dict[tuple[Plant, str], list[str]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The contracts that are broken in a copy of the packages, as it is and with each import planted."""
    place = tmp_path_factory.mktemp("contracts")
    for package in PACKAGES:
        source = ROOT / package
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.c", "data")
        shutil.copytree(source, place / source.name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", place)
    plan = [(str(module_at(place, "jobwire.errors")), "")]
    plan += [(str(place.joinpath(*container.split("."), "attic.py")), "") for _, container in EXHAUSTIVE]
    plan += [(str(module_at(place, plant.module)), WAYS[way].format(target=plant.target)) for plant, way in TRIALS]
    done = subprocess.run(
        [sys.executable, "-P", "-c", LINTING],
        input=json.dumps(plan), cwd=place, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sound, *rest = map(broken_in, json.loads(done.stdout))
    unlisted, planted = rest[: len(EXHAUSTIVE)], rest[len(EXHAUSTIVE) :]
    return Found(sound, unlisted, dict(zip(TRIALS, planted, strict=True)))


def test_the_copy_breaks_nothing(found: Found) -> None:
    assert found.sound == []


def test_a_module_that_no_layer_names_is_caught(found: Found) -> None:
    assert EXHAUSTIVE
    for (name, container), broken in zip(EXHAUSTIVE, found.unlisted, strict=True):
        assert name in broken, container


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.module}-{plant.target}")
def test_a_planted_import_is_caught(plant: Plant, way: str, found: Found) -> None:
    broken = found.planted[plant, way]
    assert any(name.startswith(plant.contract) for name in broken), broken
