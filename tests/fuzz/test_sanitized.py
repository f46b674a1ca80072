"""Structured input under AddressSanitizer, compiled and plain code side by side; leaks; and that both would be noticed.

docs/SEREAL.md has the long runs. ``JOBWIRE_SANITIZED_SECONDS`` says how long the run here takes (default 45).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import sanitized
from side_by_side import same
from structures import Documents, Jobs, Values

from jobwire import fast
from jobwire.sereal import PerlObject, ScalarRef

SECONDS = float(os.environ.get("JOBWIRE_SANITIZED_SECONDS", "45"))
REASON = sanitized.missing()
needs_sanitizers = pytest.mark.skipif(REASON is not None, reason=f"LEFT OUT: {REASON}")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is, its compiled code with both sanitizers."""
    return sanitized.build(tmp_path_factory.mktemp("sanitized"))


def run(scratch: Path, *arguments: str, sanitize: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        sanitized.command(*arguments),
        env=sanitized.environment(scratch, sanitized=sanitize),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS + 240,
    )


@needs_sanitizers
@pytest.mark.timeout(SECONDS + 300)
def test_structures_under_the_sanitizers(scratch: Path, record_property: pytest.RecordProperty) -> None:
    done = run(scratch, "--count", "10000000", "--seconds", str(SECONDS), "--seed", str(os.getpid()))
    assert done.returncode == 0, done.stderr[-6000:]
    assert f"compiled: {scratch}" in done.stdout
    assert "document read" in done.stdout
    record_property("table", done.stdout)


def borrowed(source: str) -> str:
    """The fault that was in the decoder once: what references name was not owned, and keys were counted at the end."""
    for was, then in (
        ("(Place){at, Py_NewRef(value)}", "(Place){at, value}"),
        ("        Py_DECREF(r->tracked[i].value);", "        ;"),
        ("if (failed || PyDict_GET_SIZE(dict) != (Py_ssize_t)i + 1)", "if (failed)"),
        ("    return dict;\nfail:", "    if (PyDict_GET_SIZE(dict) == (Py_ssize_t)count)\n        return dict;\nfail:"),
    ):
        assert was in source, was
        source = source.replace(was, then)
    return source


def too_small(source: str) -> str:
    return source.replace("(size_t)size * sizeof(Place)", "(size_t)size * sizeof(Place) / 8")


def out_of_bounds(source: str) -> str:
    return source.replace(") % KEY_SLOTS]", ")]")


@needs_sanitizers
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize(
    ("fault", "report"),
    [(borrowed, "heap-use-after-free"), (too_small, "heap-buffer-overflow"), (out_of_bounds, "out of bounds")],
)
def test_a_planted_fault_is_found(tmp_path: Path, fault: sanitized.Change, report: str) -> None:
    original = (sanitized.ROOT / "jobwire/sereal/_speedups.c").read_text()
    assert fault(original) != original
    # The inputs are always the same ones; a slow machine under load takes a minute to come to the one that tells.
    done = run(sanitized.build(tmp_path, change=fault), "--count", "1000000", "--seconds", "240")
    assert done.returncode != 0
    assert report in done.stderr, done.stderr[-3000:]


def leaking(source: str) -> str:
    return source.replace("    PyMem_Free(r->tracked);\n", "")


@needs_sanitizers
def test_nothing_leaks(tmp_path: Path) -> None:
    done = run(sanitized.build(tmp_path, flags=("-O2",)), "--leaks", "60000", sanitize=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.rsplit(":", 1)[1].split()[0]) < 0.1, done.stdout


@needs_sanitizers
def test_a_leak_is_noticed(tmp_path: Path) -> None:
    original = (sanitized.ROOT / "jobwire/sereal/_speedups.c").read_text()
    assert leaking(original) != original
    done = run(sanitized.build(tmp_path, flags=("-O2",), change=leaking), "--leaks", "20000", sanitize=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout.rsplit(":", 1)[1].split()[0]) > 1, done.stdout


def test_the_same_seed_makes_the_same_structures() -> None:
    one, other = iter(Documents(7)), iter(Documents(7))
    assert [next(one) for _ in range(500)] == [next(other) for _ in range(500)]
    first, second = Jobs(7), Jobs(7)
    assert [first.reply() for _ in range(100)] == [second.reply() for _ in range(100)]
    assert same([Values(7).value()], [Values(7).value()])


def test_sharing_and_types_are_compared() -> None:
    inner: list[object] = []
    cyclic: list[object] = [1]
    cyclic.append(cyclic)
    assert same([inner, inner, cyclic], [inner, inner, cyclic])
    for one, other in (
        ([inner, inner], [[], []]),
        ([[], []], [inner, inner]),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("a", b"a"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        (PerlObject("A", []), PerlObject("B", [])),
        (ScalarRef(1), ScalarRef(2)),
        ([1], [1, 2]),
    ):
        assert not same(one, other)
        assert same(one, one)
    assert same(float("nan"), float("nan"))


@pytest.mark.skipif(
    not fast.available("sereal"),
    reason="LEFT OUT: the compiled code is not built: install a C compiler, then ci/setup test",
)
def test_most_documents_are_right_enough_for_the_compiled_code() -> None:
    done = subprocess.run(
        sanitized.command("--count", "5000"), capture_output=True, text=True, check=True, timeout=120
    ).stdout
    counts = {line.rsplit(":", 1)[0].strip(): int(line.rsplit(":", 1)[1]) for line in done.splitlines()[2:]}
    assert counts["document read"] > 2000
    assert counts["document refused"] > 1000
    for kind in ("job", "submission", "completion", "value written", "result"):
        assert counts[f"{kind} read"] > 10, kind
