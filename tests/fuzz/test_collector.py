"""Whatever the garbage collector runs while compiled code works: nobody sees half a value or uses what was let go of.

Each program runs alone, as what is tested would end it.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from jobwire import fast

pytestmark = pytest.mark.skipif(
    not (fast.available("sereal") and fast.available("wire")),
    reason="LEFT OUT: the compiled code is not built: install a C compiler, then ci/setup test",
)

MEDDLE = """
import gc
from jobwire import fast
from jobwire.limits import Limits
from jobwire.sereal import dumps, loads
from jobwire.wire import Keyspace, Reliable, Submission, Taken

seen = 0

def meddle(phase, info):
    "Look into every new list and tuple; then let go of what `targets` holds."
    global seen
    seen += 1
    for generation in range(3) if phase == "start" else ():
        for found in gc.get_objects(generation=generation)[-40:]:
            if type(found) in (list, tuple):
                for item in found:
                    type(item)
    for target in targets:
        target.clear()

targets = []
gc.callbacks.append(meddle)
gc.set_threshold(1, 1, 1)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", "-c", MEDDLE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_reading_a_document() -> None:
    program = """
        value = [[[n, {"k": [n]}] for n in range(20)] for _ in range(5)]
        document = dumps(value)
        for _ in range(50):
            assert loads(document) == value
        print(seen > 50, gc.isenabled())
    """
    assert run(program) == "True True\n"


def test_writing_what_changes_meanwhile() -> None:
    program = """
        for _ in range(50):
            inner = {f"k{n}": [n, {"x": "y" * 40}] for n in range(30)}
            value = [inner, "\\ud800", list(inner.values()), 2**64 - 1]
            targets[:] = [inner, value]
            try:
                dumps(value)
            except Exception as error:  # whatever there is to say of it
                str(error)
            targets.clear()
        print(seen > 50, gc.isenabled())
    """
    assert run(program) == "True True\n"


def test_reading_a_job_whose_reply_and_plans_go_away() -> None:
    program = """
        from jobwire.wire import DIALECTS, Job
        names = [b"_reply_to", b"_queued", b"text_a", b"text_b", b"_x"]
        plans = {b"_reply_to": ("", ""), b"_queued": ("", ""), b"_x": ("meta", "_x")}
        for n in range(200):
            reply = [item for name in names for item in (bytes(name), b"\\xff" + bytes([n % 256]) * 50)]
            mine = dict(plans) | {b"text_a": ("text", "a" * 50 + str(n)), b"text_b": ("text", "b" * 50 + str(n))}
            targets[:] = [reply, mine]
            fast.jobs(Job, Job.__struct_fields__, [b"id"], None, [reply], mine, 100, 1000, False)
            targets.clear()
        print(seen > 50)
    """
    assert run(program) == "True\n"


def test_submitting_what_changes_when_its_names_are_asked_for() -> None:
    program = """
        for n in range(200):
            meta = {"m" * 50 + str(k): "v" * 50 + str(n) for k in range(5)}
            data = {"d" * 50 + str(k): "w" * 50 + str(n) for k in range(5)}

            def pair(name, value):
                meta.clear()
                gc.collect()
                return (name.encode(), value.encode())

            def field(name):
                data.clear()
                gc.collect()
                return name.encode()

            class All:
                def __contains__(self, item):
                    return True

            for names in (meta, {}):
                fast.hash_fields((b"HMSET", b"k"), 1e9, dict(names) and meta, data, pair, field, frozenset())
        print("done")
    """
    assert run(program) == "done\n"
