"""The tasks of CONTRIBUTING.md, done in a scratch copy: each touches the files that the page names, and works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


class Copy:
    """A copy of the package; remembers which of its files were written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.touched: set[str] = set()
        for name in ("jobwire", "conformance"):
            ignored = shutil.ignore_patterns("__pycache__", "golden")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)

    def add(self, path: str, text: str) -> None:
        assert not (self.root / path).exists()
        (self.root / path).write_text(text)
        self.touched.add(path)

    def change(self, path: str, before: str, after: str) -> None:
        text = (self.root / path).read_text()
        assert before in text, f"{path} has no {before!r}"
        (self.root / path).write_text(text.replace(before, after))
        self.touched.add(path)

    def run(self, program: str, *arguments: str) -> str:
        path = os.pathsep.join([str(self.root), str(self.root / "conformance")])
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def check(self, task: str, *, at_most: int = 5) -> None:
        """The page names every file that the task touched."""
        assert len(self.touched) <= at_most
        section = re.search(rf"^\*\*{task}\.\*\*(.*?)(?=^\*\*|^## )", PAGE, re.MULTILINE | re.DOTALL)
        assert section is not None, f"CONTRIBUTING.md does not say how to add: {task}"
        for path in self.touched:
            folder = path.rpartition("/")[0]
            assert f"`{path}`" in section[1] or f"`{folder}/" in section[1], f"{task}: {path}"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


EXCHANGE = """
import asyncio, sys
import jobwire
import jobwire.wire

assert jobwire.__file__.startswith(sys.argv[2]), jobwire.__file__

async def main() -> None:
    worker = jobwire.Worker(sys.argv[1], mode="toy", prefix="toy")
    worker.handler(lambda job: str(job.data["text"])[::-1])
    async with jobwire.Client(sys.argv[1], mode="toy", prefix="toy", timeout=10) as client, worker:
        print(await client.submit({"text": "abc"}))

asyncio.run(main())
"""


def test_a_mode(copy: Copy, redis_url: str) -> None:
    copy.add(
        "jobwire/wire/modes/toy.py",
        '''"""Mode ``toy``: as ``recoverable``."""

from jobwire.wire.modes.recoverable import Recoverable


class Toy(Recoverable):
    name = "toy"
''',
    )
    registry = "jobwire/wire/modes/__init__.py"
    copy.change(
        registry,
        "from jobwire.wire.modes.simple",
        "from jobwire.wire.modes.toy import Toy\nfrom jobwire.wire.modes.simple",
    )
    copy.change(registry, "(Simple, Recoverable, Reliable)", "(Simple, Recoverable, Reliable, Toy)")
    life = "jobwire/wire/lifecycle.py"
    copy.change(
        life, 'Literal["simple", "recoverable", "reliable"]', 'Literal["simple", "recoverable", "reliable", "toy"]'
    )
    copy.change(life, '("simple", "recoverable", "reliable")', '("simple", "recoverable", "reliable", "toy")')
    copy.change(life, '= ("recoverable", "reliable")', '= ("recoverable", "reliable", "toy")')
    assert copy.run(EXCHANGE, redis_url, str(copy.root)) == "cba"
    copy.check("A mode")


def test_a_command(copy: Copy) -> None:
    copy.add(
        "jobwire/cli/hello.py",
        '''"""Say hello."""

from __future__ import annotations

import argparse

HELP = "say hello"


def configure(parser: argparse.ArgumentParser) -> None:
    del parser


async def run(options: argparse.Namespace) -> int:
    del options
    print("hello")
    return 0
''',
    )
    copy.change("jobwire/cli/main.py", '    "worker",', '    "hello",\n    "worker",')
    assert copy.run("import sys; from jobwire.cli import main; sys.exit(main(['hello']))") == "hello"
    copy.check("A command")


def test_a_dialect(copy: Copy) -> None:
    table = "jobwire/wire/codec/dialects.py"
    copy.change(
        table,
        '            Dialect(name="0.002"',
        '            Dialect(name="0.999", timing_fields=False),\n            Dialect(name="0.002"',
    )
    program = """
from jobwire.wire import decode_job, dialect_named, encode_job
fields = encode_job({"a": "b"}, reply_to="c", queued=1.5, dialect=dialect_named("0.999"))
print(sorted(fields), decode_job("j", fields, dialect=dialect_named("0.999")).data)
"""
    assert copy.run(program) == "[b'_reply_to', b'text_a'] {'a': 'b'}"
    copy.check("A dialect")


def test_another_retry(copy: Copy) -> None:
    file = "jobwire/worker/retry.py"
    copy.change(
        file,
        "def decide_by(",
        "def once(job: Job, failure: Failure) -> Decision:\n"
        "    return Requeue() if job.attempts == 0 else leave(job, failure)\n\n\ndef decide_by(",
    )
    copy.change(file, 'Literal["leave", "retry", "reply"]', 'Literal["leave", "retry", "reply", "once"]')
    copy.change(file, '{"leave": leave,', '{"once": once, "leave": leave,')
    program = """
from jobwire.wire import Failure, Job
from jobwire.worker.retry import decide_by
decide = decide_by("once", max_attempts=3, retry_delay=1.0)
jobs = [Job(id="j", data={}, meta=meta) for meta in ({}, {"_attempts": "1"})]
print([type(decide(job, Failure("E", "m"))).__name__ for job in jobs])
"""
    assert copy.run(program) == "['Requeue', 'Bury']"
    copy.check("Another retry")


def test_a_case(copy: Copy, redis_url: str) -> None:
    file = "conformance/cases/10-values-scalars.toml"
    case = (
        '[[case]]\nid = "values/text/twice"\ntitle = "Two texts come back"\n'
        'proves = ["FLD-2"]\nsource = "defined by jobwire"\n'
        'jobs = [{ data = { op = "reverse", value = "ab" }, result = "ba" }]\n'
    )
    first = '[[case]]\nid = "values/text/utf8"'
    copy.change(file, first, f"{case}\n{first}")
    program = """
import sys
from jobwire_conformance.cli import main
peers = ["--client", "python", "--worker", "python"]
sys.exit(main(["run", *peers, "--run", "values/text/twice", "--redis", sys.argv[1]]))
"""
    said = copy.run(program, redis_url)
    assert "conformant as far as selected" in said
    assert "1 cases" in said
    copy.check("A case")


def test_a_verdict(copy: Copy) -> None:
    copy.change(
        "conformance/jobwire_conformance/report/verdicts.py",
        '    LENIENT = "lenient"',
        '    LATE = "late", "…", "warn", "33", "", True\n    LENIENT = "lenient"',
    )
    program = """
from jobwire_conformance.report.conclusion import conclude
from jobwire_conformance.report.rendering import FORMATS
from jobwire_conformance.report.report import Header, Report, VerdictLine
from jobwire_conformance.report.verdicts import Verdict

line = VerdictLine(
    case="a/b", title="t", proves=["KEY-1"], source="s", level="must", mode="reliable", verdict=Verdict.LATE
)
header = Header(
    suite="1", driver=1, began="2026-01-01", profile="ci", machine={}, redis={}, peers=[], cases=1, instances=1
)
report = Report(header=header, verdicts=[line], footer=conclude(header, [line], [], seconds=1))
print(report.footer.conformant, *(name for name, render in FORMATS.items() if "late" in render(report)))
"""
    conformant, *shown = copy.run(program).split()
    assert conformant == "True"
    assert {"terminal", "markdown", "html", "jsonl"} <= set(shown)
    copy.check("A verdict")


def test_a_metric(copy: Copy) -> None:
    pytest.importorskip("prometheus_client")
    file = "jobwire/metrics.py"
    copy.change(
        file,
        '            "workers": GaugeMetricFamily(',
        '            "free": GaugeMetricFamily("jobwire_worker_free_slots", "Free slots now.", labels=_WORKER),\n'
        '            "workers": GaugeMetricFamily(',
    )
    copy.change(
        file,
        '                ("workers", 1),\n',
        '                ("free", health.slots - health.running),\n                ("workers", 1),\n',
    )
    program = """
from prometheus_client import CollectorRegistry, generate_latest
import jobwire, jobwire.metrics
registry = CollectorRegistry()
jobwire.metrics.observe_worker(jobwire.Worker(max_concurrent_jobs=7), registry=registry)
print([line for line in generate_latest(registry).decode().splitlines() if "free_slots{" in line])
"""
    assert copy.run(program) == """['jobwire_worker_free_slots{mode="reliable",prefix="jobs"} 7.0']"""
    copy.check("A metric")
