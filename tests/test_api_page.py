"""docs/API.md: every public name is there, as the code has it now."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")


def load_renderer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_api", ROOT / "ci" / "render_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


renderer = load_renderer()
SECTIONS = dict(re.findall(r"\n## (jobwire\S*)\n(.*?)(?=\n## |\Z)", PAGE, re.DOTALL))


def test_the_page_is_up_to_date() -> None:
    assert renderer.rendered() == PAGE, "run  python ci/render_api.py --write"


@pytest.mark.parametrize("module_name", ["jobwire", "jobwire.wire", "jobwire.sync", "jobwire.rpc", "jobwire.sereal"])
def test_every_public_name_stands_there(module_name: str) -> None:
    exported = set(importlib.import_module(module_name).__all__)
    named = set(re.findall(r"^### `(\w+)`$", SECTIONS[module_name], re.MULTILINE))
    again = re.search(r"^The same as under `jobwire`: (.*)\.$", SECTIONS[module_name], re.MULTILINE)
    assert exported == named | set(re.findall(r"`(\w+)`", again[1] if again else ""))


def resolve(path: str) -> object:
    """The object that a dotted path names; raises ``AttributeError`` where there is none."""
    parts = path.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AttributeError(path)


ATTRIBUTES_OF_INSTANCES = {"jobwire.Client.id", "jobwire.Worker.id"}


@pytest.mark.parametrize("path", sorted({*renderer.COUNTERPARTS} - ATTRIBUTES_OF_INSTANCES))
def test_a_counterpart_is_that_of_a_public_name(path: str) -> None:
    resolve(path)


def methods_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that a class, or a base of ours, defines."""
    seen: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("jobwire"):
            seen |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
    for name, value in sorted(seen.items()):
        if isinstance(value, property | classmethod | staticmethod) or inspect.isfunction(value):
            yield name, value


@pytest.mark.parametrize("name", ["Client", "Worker", "JobHandle"])
def test_the_main_classes_have_a_counterpart_for_every_method(name: str) -> None:
    kind = resolve(f"jobwire.{name}")
    assert inspect.isclass(kind)
    missing = [method for method, _ in methods_of(kind) if f"jobwire.{name}.{method}" not in renderer.COUNTERPARTS]
    assert not missing, f"add these to docs/perl-counterparts.toml: {missing}"


def test_every_counterpart_stands_on_the_page() -> None:
    assert PAGE.count("*In Perl:* ") >= len(renderer.COUNTERPARTS)


def public_functions() -> list[tuple[str, object]]:
    found = []
    for module_name in renderer.MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value):
                found.append((f"{module_name}.{name}", value))
            elif inspect.isclass(value) and value.__module__.startswith("jobwire"):
                found += [
                    (f"{module_name}.{name}.{method}", getattr(member, "__func__", member))
                    for method, member in methods_of(value)
                    if not isinstance(member, property)
                ]
    return found


@pytest.mark.parametrize(("path", "function"), [pytest.param(*pair, id=pair[0]) for pair in public_functions()])
def test_every_parameter_and_result_has_a_type(path: str, function: object) -> None:
    assert callable(function)
    signature = inspect.signature(function)
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")]
    assert not bare
    assert signature.return_annotation is not signature.empty


def test_docstrings_are_there() -> None:
    # In jobwire.wire a function that carries a command's name says all there is to say.
    faces = ("jobwire.Client", "jobwire.JobHandle", "jobwire.Worker", "jobwire.sync", "jobwire.rpc", "jobwire.testing")
    silent = [path for path, function in public_functions() if not inspect.getdoc(function)]
    assert not [path for path in silent if path.startswith(faces)]


def test_every_constant_and_alias_has_a_meaning() -> None:
    """They have no docstring at run time: the page alone shows it."""
    entries = re.findall(r"^### `(\w+)`\n\n```python\n(?:(?!```).*\n)+```\n\n(?=##|\Z)", PAGE, re.MULTILINE)
    assert not entries, "write a docstring below the assignment"
