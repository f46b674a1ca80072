"""The repository as a whole: what must not be in it, whether its documents are right, whether its examples run."""

from __future__ import annotations

import ast
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.perl_peer import environment, missing

ROOT = Path(__file__).resolve().parents[1]
OWN_URL = "redis://127.0.0.1"
TIMEOUT = 60


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository; of a source archive, all that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    found = {path for pattern in patterns or ("*",) for path in ROOT.rglob(pattern) if path.is_file()}
    return sorted(path for path in found if not {".venv", ".git"} & set(path.relative_to(ROOT).parts))


def lines_with(pattern: str, paths: list[Path]) -> list[str]:
    """``file:line: text`` of every match."""
    wanted = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if wanted.search(line)
    ]


# -- what must not be there


def test_there_are_files_to_look_at() -> None:
    assert len(tracked("*.py")) > 100
    assert len(tracked("*.md")) >= 5


def others(*patterns: str) -> list[Path]:
    """As ``tracked``, without this file, which names what it looks for."""
    return [path for path in tracked(*patterns) if path != Path(__file__).resolve()]


def test_every_type_ignore_says_what_it_ignores() -> None:
    assert lines_with(r"#\s*type:\s*ignore(?!\[)", others("*.py")) == []


#: Folders that every machine has, ours in a container, what we serve, and those that tests make up.
_PATHS = "api|reports|bin|dev|etc|lib|proc|run|sys|usr|var|opt/jobwire|exec|no|nonexistent|nowhere|packaged"
A_PATH = rf"(?:(?<![\w.~}}\])*$/-])|file://)/(?!(?:{_PATHS})/)[a-z]+/(?=\w)"
_HOSTS = ["docker.io", "example.com", "example.org", "github.com", "img.shields.io", "json-schema.org"]
# Documentation that docs/FEATURES.md names.
_HOSTS += [
    "arq-docs.helpmanual.io",
    "docs.bullmq.io",
    "docs.celeryq.dev",
    "dramatiq.io",
    "manpages.ubuntu.com",
    "prometheus.io",
    "python-rq.org",
]
_HOSTS += ["taskiq-python.github.io"]
_HOSTS += ["keepachangelog.com", "redis.io", "semver.org", "www.w3.org"]
_KNOWN = "|".join(map(re.escape, _HOSTS))
A_HOST = rf"(?<![\w.-])(?!(?:{_KNOWN})(?![\w.-]))(?:[a-z0-9-]+\.)+(?:org|com|net|io|dev)(?![\w-])"


def test_no_path_of_a_machine_and_no_registry() -> None:
    """Absolute paths and hosts that are not known to be harmless."""
    paths = [path for path in tracked() if path.suffix != ".jsonl"]
    assert lines_with(A_PATH, paths) == []
    assert lines_with(A_HOST, paths) == []


@pytest.mark.parametrize("before", ["", " ", '"', "'", "=", ":", "(", "`", "file://"])
def test_paths_and_hosts_are_noticed(before: str) -> None:
    somewhere = "/".join(["", "some", "where"])
    assert re.search(A_PATH, f"{before}{somewhere}")
    assert not re.search(A_PATH, f"{before}/usr/bin/perl")
    assert re.search(A_HOST, "//packages.registry" + ".org/simple")
    assert not re.search(A_HOST, f"{before}//github.com/x")


def test_nothing_is_left_to_do() -> None:
    assert lines_with(r"\b(TODO|FIXME|XXX)\b", others("*.py", "*.pm", "*.pl", "*.md", "*.toml", "ci/*")) == []


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("ci/*.py"), *ROOT.glob("examples/*.py")]), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_script_stays_readable(path: Path) -> None:
    """As the modules of the packages, which tests/test_package.py counts."""
    assert len(path.read_text().splitlines()) <= 800


# -- the wire is spelled in one place

COMMANDS = """
    APPEND AUTH BLMOVE BLPOP BRPOP BRPOPLPUSH CLIENT DEL EVAL EVALSHA EXEC EXISTS EXPIRE GET HDEL HELLO HGET HGETALL
    HINCRBY HKEYS HMGET HMSET HSET HSETNX LINDEX LLEN LMOVE LPOP LPOS LPUSH LRANGE LREM LTRIM MULTI PEXPIRE PING PUBLISH
    RPOP RPOPLPUSH RPUSH SADD SCAN SCRIPT SELECT SET SISMEMBER SMEMBERS SREM SUBSCRIBE TTL TYPE UNLINK UNSUBSCRIBE WATCH
""".split()  # noqa: SIM905 - sixty lines otherwise
"""What jobwire, or a change to it, could want to send."""


def constants(path: Path) -> Iterator[tuple[int, str]]:
    """What can be part of a command: bytes literals, and arguments that are one word of text. No messages."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            yield node.lineno, node.value.decode("latin-1")
        elif isinstance(node, ast.Call):
            for argument in node.args:
                text = argument.value if isinstance(argument, ast.Constant) else None
                if isinstance(text, str) and re.fullmatch(r"\S+", text):
                    yield node.lineno, text


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "jobwire").rglob("*.py"))
        if "wire" not in path.relative_to(ROOT / "jobwire").parts
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_commands_and_keys_are_spelled_in_the_wire_alone(path: Path) -> None:
    spelled = [
        (line, text)
        for line, text in constants(path)
        if text in COMMANDS
        or re.search(r"^(job|client)::|::(pending|processing|dead|rejected|workers?|attempts)\b", text)
    ]
    assert spelled == []


def test_that_would_be_noticed(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text('"""HMSET job::x"""\nsend(b"HMSET", b"job::1")\nlog("HMSET failed")\nrun("DEL")\n')
    assert sorted(text for _, text in constants(sample)) == ["DEL", "HMSET", "job::1"]


# -- documents

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Headings as GitHub names them, and explicit anchors."""
    text = FENCE.sub("", page.read_text())
    found = set(re.findall(r'<a id="([^"]+)">', text))
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            dead.append(target)
    assert dead == []


def test_the_index_of_the_documents_is_complete() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in tracked("docs/*.md") if page.name != "README.md" and page.name not in index] == []


def test_every_module_that_a_script_or_document_runs_is_there() -> None:
    own = re.compile(r"python[0-9.]*\"? -m ((?:jobwire|endurance|bench|ci)[a-z_.]*)")
    places = (ROOT, ROOT / "conformance")
    named = {
        name.rstrip(".")
        for path in others("*.md", "*.yml", "*.toml", "ci/*", "examples/*")
        if path.name != "CHANGELOG.md"  # it also names what is gone
        for name in own.findall(path.read_text(errors="replace"))
    }
    assert len(named) >= 5
    found = {
        name
        for name in named
        for place in places
        if (place / name.replace(".", "/")).with_suffix(".py").is_file()
        or (place / name.replace(".", "/") / "__main__.py").is_file()
    }
    assert named - found == set()


def test_every_dependency_has_its_reason() -> None:
    pages = (ROOT / "CONTRIBUTING.md").read_text()
    listed = re.findall(r'"([A-Za-z0-9_-]+)(?:\[[a-z]+\])?>=', (ROOT / "pyproject.toml").read_text())
    assert len(listed) > 10
    assert sorted({name for name in listed if f"`{name}`" not in pages}) == []


# -- the README's examples, run


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def is_worker(block: str) -> bool:
    return "jobwire.Worker(" in block or "->worker(" in block


PYTHON = blocks("python")
PERL = blocks("perl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def start_worker(block: str, url: str, folder: Path, *, perl: bool) -> subprocess.Popen[bytes]:
    """The README's worker, as it says to run it."""
    code = block.replace(OWN_URL, url)
    if perl:
        (folder / "worker.pl").write_text(code)
        return subprocess.Popen(["perl", "worker.pl"], cwd=folder, env=environment("0.004"))
    (folder / "myapp.py").write_text(code)
    command = [sys.executable, "-c", "from jobwire.cli import main; raise SystemExit(main())", "worker", "myapp:worker"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)


@pytest.fixture(params=["python", "perl"])
def readme_worker(request: pytest.FixtureRequest, redis_url: str, folder: Path) -> Iterator[None]:
    perl = request.param == "perl"
    # Either side may be Perl; nothing is started for a test that is left out.
    if "perl" in request.node.callspec.params.values() and (reason := missing("0.004")):
        pytest.skip(f"NO PERL: {reason}")
    process = start_worker(next(filter(is_worker, PERL if perl else PYTHON)), redis_url, folder, perl=perl)
    yield
    assert process.poll() is None, "the worker ended by itself"
    process.send_signal(signal.SIGKILL if perl else signal.SIGTERM)
    status = process.wait(TIMEOUT)
    assert perl or status == 0


def run_block(block: str, url: str, folder: Path) -> str:
    command = ["perl", "-"] if "use strict" in block else [sys.executable, "-W", "error", "-"]
    done = subprocess.run(
        command,
        input=block.replace(OWN_URL, url),
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment("0.004") if command[0] == "perl" else None,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("block", [block for block in PYTHON if not is_worker(block)], ids=range(len(PYTHON) - 1))
def test_a_python_example_prints_what_its_comments_say(
    block: str, redis_url: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    if "jobwire.Client" in block:
        worker = start_worker(next(filter(is_worker, PYTHON)), redis_url, folder, perl=False)
        request.addfinalizer(lambda: (worker.terminate(), worker.wait(TIMEOUT)))
    printed = run_block(block, redis_url, folder).splitlines()
    said = re.findall(r"^ *print\(.*\)  # (.+)$", block, re.MULTILINE)
    assert said
    assert printed[: len(said)] == said


@pytest.mark.usefixtures("readme_worker")
@pytest.mark.parametrize("language", ["python", "perl"])
def test_each_client_of_the_readme_with_each_worker(language: str, redis_url: str, folder: Path) -> None:
    client = next(block for block in (PERL if language == "perl" else PYTHON) if "submit(" in block)
    assert run_block(client, redis_url, folder) == "esaelp em esrever\n"


# -- the demo


def run_on_terminal(*command: str, **more: str) -> tuple[int, str]:
    """Exit status and output of a program that believes it writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, cwd=ROOT, env={**os.environ, **more}
    )
    os.close(theirs)
    output = b""
    deadline = time.monotonic() + TIMEOUT
    try:
        while time.monotonic() < deadline and (chunk := os.read(ours, 65536)):
            output += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    return process.wait(TIMEOUT), output.decode()


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "NO_COLOR"])
def test_the_demo_without_perl(colour: bool) -> None:
    status, said = run_on_terminal(
        sys.executable, "ci/demo.py", "--no-perl", NO_COLOR="" if colour else "1", PYTHONIOENCODING="utf-8"
    )
    assert status == 0, said
    assert ("\x1b[" in said) == colour
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "a recorded Perl client is played instead" in plain
    assert "Every answer equals the one that a real Perl worker gave" in plain
    assert "12 jobs, every result right" in plain
    assert max(len(line.rstrip()) for line in plain.splitlines()) <= 92
    assert "Traceback" not in plain
    assert "Warning" not in plain


def test_the_demo_with_perl() -> None:
    if reason := missing("0.004"):
        pytest.skip(f"NO PERL: {reason}")
    done = subprocess.run(
        [sys.executable, "ci/demo.py"], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for exchange in ("Python client → Python worker", "Perl client → Python worker", "Python client → Perl worker"):
        assert exchange in done.stdout
    assert "10 jobs, every result right" in done.stdout
