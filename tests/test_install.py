"""What pip installs and takes away again: the wheel with its compiled code, and without a compiler plain Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import jobwire
from jobwire import fast

ROOT = Path(__file__).parents[1]
SOURCES = ("jobwire", "conformance", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
NEITHER = {"JOBWIRE_SEREAL_PURE", "JOBWIRE_WIRE_PURE", "JOBWIRE_COMPILED", "PYTHONPATH", "CC"}
PARTS = "from jobwire import fast; print([fast.missing(part) for part in fast.PARTS])"


def run(*words: str | Path, cwd: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in NEITHER} | variables
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def wheel(source: Path, out: Path, **variables: str) -> Path:
    shutil.rmtree(source / "build", ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", "-w", out, source, cwd=out, **variables)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def compiler() -> None:
    program = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"LEFT OUT: there is no C compiler here ({program})")


@pytest.fixture(scope="module")
def compiled_wheel(source: Path, tmp_path_factory: pytest.TempPathFactory, compiler: None) -> Path:
    return wheel(source, tmp_path_factory.mktemp("compiled"), JOBWIRE_COMPILED="required")


@pytest.fixture(scope="module")
def plain_wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel(source, tmp_path_factory.mktemp("plain"), CC="/no/such/compiler")


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """The Python of an environment that knows nothing of this checkout, and finds no compiler."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    return tmp_path / "venv" / "bin" / "python"


def install(python: Path, built: Path) -> None:
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", built, cwd=python.parent, PATH="/nowhere")


def test_a_wheel_brings_the_compiled_code_to_a_machine_without_a_compiler(compiled_wheel: Path, clean: Path) -> None:
    install(clean, compiled_wheel)
    assert run(clean, "-c", PARTS, cwd=clean.parent) == "[None, None]\n"
    program = "from jobwire.sereal import dumps, loads; print(loads(dumps({'a': [1, 'é', None]})))"
    assert run(clean, "-c", program, cwd=clean.parent, PYTHONUTF8="1") == "{'a': [1, 'é', None]}\n"


def test_what_was_installed_goes_whole(compiled_wheel: Path, clean: Path) -> None:
    install(clean, compiled_wheel)
    run(clean, "-c", "import jobwire.sereal", cwd=clean.parent)
    run(clean, "-m", "pip", "uninstall", "-q", "-y", "jobwire", cwd=clean.parent)
    left = [path for path in clean.parents[1].rglob("*") if "jobwire" in str(path.relative_to(clean.parents[1]))]
    assert left == []


def test_without_a_compiler_there_is_plain_python(plain_wheel: Path, clean: Path) -> None:
    install(clean, plain_wheel)
    reason = "it was not built when jobwire was installed"
    assert run(clean, "-c", PARTS, cwd=clean.parent) == f"{[reason, reason]}\n"
    program = "from jobwire.sereal import dumps, loads; print(loads(dumps({'a': [1, None]})))"
    assert run(clean, "-c", program, cwd=clean.parent) == "{'a': [1, None]}\n"


def test_whoever_requires_the_compiled_code_hears_that_it_cannot_be_built(source: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="/no/such/compiler"):
        wheel(source, tmp_path, CC="/no/such/compiler", JOBWIRE_COMPILED="required")


def test_an_upgrade_leaves_compiled_code_of_another_release_alone(
    compiled_wheel: Path, plain_wheel: Path, clean: Path
) -> None:
    install(clean, compiled_wheel)
    where = run(clean, "-c", "import jobwire; print(jobwire.__file__)", cwd=clean.parent).strip()
    package = Path(where).parent
    kept = {path: path.read_bytes() for path in package.glob("*/_speedups*.so")}
    assert len(kept) == 2
    run(clean, "-m", "pip", "uninstall", "-q", "-y", "jobwire", cwd=clean.parent)
    install(clean, plain_wheel)
    for path, content in kept.items():
        path.write_bytes(content)
    face = package / "version.py"
    face.write_text(face.read_text().replace(f'"{jobwire.__version__}"', '"99.0"'))
    said = run(clean, "-c", PARTS, cwd=clean.parent)
    assert said.count(f"is of jobwire {jobwire.__version__}, this is 99.0: install jobwire again") == 2
    assert run(clean, "-c", "import jobwire.sereal as s; print(s.loads(s.dumps([1])))", cwd=clean.parent) == "[1]\n"


def test_the_wheel_holds_the_suite_and_its_data_and_nothing_of_the_checkout(compiled_wheel: Path) -> None:
    names = zipfile.ZipFile(compiled_wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"jobwire", "jobwire_conformance", f"jobwire-{jobwire.__version__}.dist-info"}
    for part in fast.PARTS:
        assert any(name.startswith(f"jobwire/{part}/_speedups.") and not name.endswith(".c") for name in names)
    for folder in ("cases", "expected", "golden"):
        there = {
            str(path.relative_to(ROOT / "conformance"))
            for path in (ROOT / "conformance" / folder).rglob("*")
            if path.is_file()
        }
        assert there
        assert {name.removeprefix("jobwire_conformance/data/") for name in names if f"/data/{folder}/" in name} == there
    assert {"jobwire/py.typed", "jobwire_conformance/report/assets/report.html"} <= set(names)
