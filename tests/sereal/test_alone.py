"""``jobwire.sereal`` alone: what it imports, and the compiled code that it can do without."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings

from jobwire import fast
from jobwire.sereal import dumps, loads
from tests.support.sereal_nodes import bare, build, describe, nodes

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
    not fast.available("sereal"), reason="the compiled code is not built: install a C compiler, then ci/setup test"
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
