"""The package as a whole: what imports what, what is exported, how large the modules are."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import jobwire
import jobwire.sereal
import jobwire.wire

ROOT = Path(__file__).parents[1]
_FOUND = {module.name for module in pkgutil.walk_packages(jobwire.__path__, "jobwire.")}
# Compiled code is asked through jobwire.fast alone.
MODULES = sorted({"jobwire"} | {name for name in _FOUND if not name.endswith("._speedups")})


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``statement``, and had not before."""
    report = "print(json.dumps(sorted(set(sys.modules) - before)))"
    program = f"import json, sys; before = set(sys.modules); {statement}; {report}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


# -- imports


def test_jobwire_wire_loads_neither_redis_nor_an_event_loop() -> None:
    assert not {"redis", "hiredis", "asyncio", "socket", "ssl", "selectors"} & tops(loaded_by("import jobwire.wire"))


def test_jobwire_wire_needs_msgspec_and_nothing_else() -> None:
    # msgspec itself looks for typing_extensions, and takes it where it is.
    loaded = tops(loaded_by("import jobwire.wire")) - sys.stdlib_module_names - {"typing_extensions"}
    assert loaded == {"jobwire", "msgspec"}


@pytest.mark.parametrize("name", ["jobwire", "jobwire.sereal", "jobwire.errors", "jobwire.limits"])
def test_below_the_wire_there_is_only_the_standard_library(name: str) -> None:
    loaded = loaded_by(f"import {name}")
    assert tops(loaded) - sys.stdlib_module_names == {"jobwire"}
    assert "asyncio" not in loaded


def test_jobwire_alone_loads_only_the_errors_and_its_version() -> None:
    loaded = {name for name in loaded_by("import jobwire") if name.startswith("jobwire")}
    assert loaded == {"jobwire", "jobwire.errors", "jobwire.version"}


def test_the_client_comes_with_its_first_use() -> None:
    loaded = loaded_by("import jobwire; jobwire.Client")
    assert {"jobwire.client", "asyncio"} <= loaded
    assert "jobwire.testing" not in loaded
    assert "jobwire.cli" not in loaded


# -- exports


@pytest.mark.parametrize("name", jobwire.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(jobwire, name) is not None
    assert name in dir(jobwire)


def test_the_names_are_exported_once() -> None:
    assert len(jobwire.__all__) == len(set(jobwire.__all__))


def test_what_is_lazy_is_exported_and_what_is_exported_is_typed() -> None:
    lazy = set(jobwire._HOME)
    assert lazy <= set(jobwire.__all__)
    tree = ast.parse((ROOT / "jobwire" / "__init__.py").read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imported = {
        alias.asname or alias.name: statement.module
        for block in blocks
        for statement in ast.walk(block)
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    # Type checkers see the same names, from the same modules.
    assert imported == jobwire._HOME | dict.fromkeys(jobwire._MODULES, "jobwire")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        jobwire.Nothing  # noqa: B018 - the access is the test


def test_every_error_is_exported_by_the_package() -> None:
    assert set(importlib.import_module("jobwire.errors").__all__) <= set(jobwire.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_says_it_exports_is_there(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert [missing for missing in exported if not hasattr(module, missing)] == []
    assert len(exported) == len(set(exported))


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("jobwire.wire.")])
def test_modules_of_the_wire_export_something(name: str) -> None:
    assert importlib.import_module(name).__all__


def test_the_faces_of_wire_and_sereal_are_sorted_and_public() -> None:
    for module in (jobwire.wire, jobwire.sereal):
        assert [name for name in module.__all__ if name.startswith("_")] == []
        assert {name for name in dir(module) if name in module.__all__} == set(module.__all__)


# -- size


@pytest.mark.parametrize(
    "path",
    [
        path
        for package in ("jobwire", "conformance/jobwire_conformance")
        for path in sorted((ROOT / package).rglob("*.py"))
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_module_stays_readable(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= (80 if path.name == "__init__.py" else 800)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "jobwire").rglob("*.py"))
        if (text := path.read_text()).strip() and ast.get_docstring(ast.parse(text)) is None
    ]
    assert silent == []


def test_the_environment_is_made_of_the_pinned_releases() -> None:
    """A release of a tool that comes out tomorrow must not decide whether this checkout passes."""
    lines = (ROOT / "ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    pinned = {canonicalize_name(name): release for name, release in pins}
    needed = [Requirement(text) for text in metadata.requires("jobwire") or ()]
    here = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": "test"})]
    of_tests = {canonicalize_name(one.name) for one in here}
    assert of_tests - set(pinned) == set(), "pin these in ci/constraints.txt"
    if os.environ.get("NEWEST") == "1":
        pytest.skip("NEWEST=1: the newest releases, on purpose")
    assert {name: metadata.version(name) for name in of_tests} == {name: pinned[name] for name in of_tests}
