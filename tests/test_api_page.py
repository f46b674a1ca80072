"""docs/API.md: every public name is there, as the code has it now."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

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
    assert exported == set(re.findall(r"^### `(\w+)`$", SECTIONS[module_name], re.MULTILINE))


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


@pytest.mark.parametrize("path", sorted({*renderer.COUNTERPARTS, *renderer.MEANINGS} - ATTRIBUTES_OF_INSTANCES))
def test_what_is_said_by_hand_is_said_of_something(path: str) -> None:
    resolve(path)


@pytest.mark.parametrize("name", ["Client", "Worker", "JobHandle"])
def test_the_main_classes_have_a_counterpart_for_every_method(name: str) -> None:
    kind = resolve(f"jobwire.{name}")
    assert inspect.isclass(kind)
    missing = [
        method for method, _ in renderer.methods_of(kind) if f"jobwire.{name}.{method}" not in renderer.COUNTERPARTS
    ]
    assert not missing, f"say in ci/render_api.py what these are in Perl, or that they are nothing: {missing}"


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
                    for method, member in renderer.methods_of(value)
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
