"""``jobwire.sereal`` alone: what it imports, and the compiled code that it can do without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from sereal_nodes import bare, build, describe, nodes

from jobwire import fast
from jobwire.sereal import build as building
from jobwire.sereal import dumps, loads

PROBE = """
import sys
before = set(sys.modules)
import jobwire.sereal
jobwire.sereal.loads(jobwire.sereal.dumps({"a": [1, 2.5, None]}))
allowed = set(sys.stdlib_module_names) | {"jobwire"}
print(sorted(name for name in set(sys.modules) - before if name.partition(".")[0] not in allowed))
"""


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout.strip()


def test_it_imports_the_standard_library_alone() -> None:
    assert python(PROBE) == "[]"


def test_the_compiled_code_can_be_turned_off() -> None:
    code = "from jobwire import fast; print(fast.available('sereal'), fast.decode(b'', 0, 0, 0, 1, 1))"
    assert python(code, JOBWIRE_SEREAL_PURE="1") == "False NotImplemented"


def test_turning_on_and_off() -> None:
    fast.turn_off()
    assert fast.decode(b"\x01", 0, 0, 0, 1, 1) is NotImplemented
    assert fast.encode(1, b"", 1, True, 0, 0, 1) is NotImplemented
    fast.turn_on()
    assert (fast.decode(b"\x01", 0, 0, 0, 1, 1) == (1, 1)) == fast.available("sereal")
    assert (fast.encode(1, b"", 1, True, 0, 0, 1) == b"\x01") == fast.available("sereal")


@pytest.mark.skipif(
    not fast.available("sereal"), reason="the compiled code is not built: python -m jobwire.sereal.build"
)
@given(node=nodes())
@settings(max_examples=200, deadline=None)
def test_both_codes_write_the_same_bytes_and_read_the_same_values(node: Any) -> None:
    value = build(node)
    for version in (1, 3, 5):
        for share_keys in (True, False):
            fast.turn_off()
            by_python = dumps(value, version=version, share_keys=share_keys)
            assert describe(loads(by_python, strings="exact")) == bare(node)
            fast.turn_on()
            assert dumps(value, version=version, share_keys=share_keys) == by_python
            assert describe(loads(by_python, strings="exact")) == bare(node)


def test_building_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = (sysconfig.get_config_var("LDSHARED") or "cc").split()[0]
    if shutil.which(compiler) is None:
        pytest.skip(f"no C compiler ({compiler}) on PATH: install one to build the compiled code")
    monkeypatch.setattr(building, "target", lambda directory=tmp_path: tmp_path / building_name())
    assert building.main([]) == 0
    assert str(tmp_path / building_name()) in capsys.readouterr().out
    assert (tmp_path / building_name()).stat().st_size > 10_000
    assert building.main(["--remove"]) == 0
    assert not (tmp_path / building_name()).exists()


def building_name() -> str:
    return f"_speedups{sysconfig.get_config_var('EXT_SUFFIX')}"


def test_building_it_without_a_compiler(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: "no-such-compiler-here" if name == "LDSHARED" else "")
    assert building.main([]) == 1
    assert "works without" in capsys.readouterr().err
