"""The protocol document: its form, its sources, its generated parts, and the table of what proves it."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from ci import requirements as r
from jobwire import sereal

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "conformance" / "golden"

HEAD = """\
| area | about |
|---|---|
| KEY | keys |

## 5 Keys (KEY)

"""
GOOD = '- <a id="KEY-1"></a>**KEY-1** [peer] A key MUST be bytes. *Source:* defined by jobwire.\n'


class Case(NamedTuple):
    id: str
    proves: list[str]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def document() -> r.Document:
    return r.load_document()


# -- the document of the repository


def test_document_has_its_form(document: r.Document) -> None:
    assert document.problems == ()
    assert len(document.requirements) > 200
    assert set(document.areas) == {requirement.area for requirement in document.requirements}


def test_every_cited_recording_is_there(document: r.Document) -> None:
    assert r.check_recordings(document, GOLDEN) == []


def test_every_line_with_an_id_was_read(document: r.Document) -> None:
    """The parser may not overlook an item: what looks like one in the text is one in the index."""
    text = r.PROTOCOL.read_text(encoding="utf-8")
    assert set(re.findall(r'<a id="([A-Z]+-\d+)">', text)) == {requirement.id for requirement in document.requirements}


def test_a_requirement_is_found_by_its_id(document: r.Document) -> None:
    found = document["RES-3"]
    assert (found.area, found.number, found.role, found.level) == ("RES", 3, "worker", "must")
    assert [source.kind for source in found.sources] == ["perl", "observed"]
    with pytest.raises(KeyError):
        document["RES-999"]


@pytest.mark.parametrize("name", ["check_protocol", "render_docs"])
def test_generated_parts_are_fresh_and_nothing_is_unaccounted_for(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "ci" / f"{name}.py")], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- the rules of the form


def problems(*lines: str, head: str = HEAD) -> str:
    return "\n".join(r.parse(head + "".join(lines)).problems)


def test_a_good_document_has_no_problem() -> None:
    assert problems(GOOD) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[peer] ", "", "does not have the form"),
        (" *Source:* defined by jobwire.", "", "does not have the form"),
        ("**KEY-1**", "**KEY-2**", "KEY-2 has the anchor of KEY-1"),
        ("[peer]", "[server]", "KEY-1 binds 'server'"),
        ("MUST", "must", "KEY-1 has 0 key words"),
        ("A key MUST be bytes.", "A key MUST be bytes and SHOULD be short.", "KEY-1 has 2 key words"),
        ("MUST", "SHALL", "KEY-1 has 1 key words (SHALL)"),
        ("bytes.", "bytes", "KEY-1 is not one sentence"),
        ("A key MUST be bytes.", "Keys are bytes. All MUST be.", "KEY-1 is not one sentence"),
        ("defined by jobwire", "somebody said so", "source of no known form: 'somebody said so'"),
        ("defined by jobwire", "recording 0.004.jsonl", "source of no known form"),
        ("defined by jobwire", "Job-Async 0.004 Job.pm", "source of no known form"),
        ("be bytes", "be as KEY-7 says", "KEY-7 is cited and does not exist"),
        ("be bytes", "be [so](#nowhere)", "the link #nowhere leads nowhere"),
    ],
)
def test_each_breach_is_named(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in problems(GOOD.replace(old, new, 1))


def test_ids_are_unique() -> None:
    assert "KEY-1 is used twice; it stands in line 7 too" in problems(GOOD, GOOD)


def test_a_requirement_stands_in_the_section_of_its_area() -> None:
    assert "KEY-1 stands in the section '6 IDs (ID)'" in problems("## 6 IDs (ID)\n", GOOD)


def test_areas_are_those_that_are_used() -> None:
    assert "the area KEY has no requirement" in problems("")
    assert "the area KEY is not in the table" in problems(GOOD, head="## 5 Keys (KEY)\n")


def test_key_words_stand_in_requirements_only() -> None:
    assert "line 7: SHOULD stands outside a requirement" in problems("Keys SHOULD be short.\n", GOOD)
    assert problems("## 1 Conventions\n", "MUST is a key word.\n", "## 5 Keys (KEY)\n", GOOD) == ""
    assert problems("```text\nMUST\n```\n", "    MUST\n", GOOD) == ""


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("Job-Async-Redis 0.001–0.004,master Client/Redis.pm (submit)", "perl"),
        ("JSON-MaybeUTF8 2.000 MaybeUTF8.pm (decode_json_utf8)", "perl"),
        ("recording 0.004-multi0-basic.jsonl:7", "recording"),
        ("observed on Job-Async-Redis 0.003–0.004,master", "observed"),
        ("specification RFC 8259", "specification"),
        ("defined by jobwire", "jobwire"),
    ],
)
def test_sources_have_kinds(source: str, kind: str) -> None:
    (requirement,) = r.parse(HEAD + GOOD.replace("defined by jobwire", source)).requirements
    assert [found.kind for found in requirement.sources] == [kind]


@pytest.mark.parametrize(("word", "level"), [("MUST NOT", "must"), ("SHOULD NOT", "should"), ("MAY", "may")])
def test_levels(word: str, level: str) -> None:
    (requirement,) = r.parse(HEAD + GOOD.replace("MUST", word)).requirements
    assert requirement.level == level


def test_missing_recordings_and_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n{}\n", encoding="utf-8")

    def cited(source: str) -> list[str]:
        return r.check_recordings(r.parse(HEAD + GOOD.replace("defined by jobwire", source)), tmp_path)

    assert cited("recording a.jsonl:2") == []
    assert cited("recording a.jsonl:3") == ["line 7: KEY-1: recording a.jsonl:3 has no such line"]
    assert cited("recording a.jsonl:0") == ["line 7: KEY-1: recording a.jsonl:0 has no such line"]
    assert cited("recording b.jsonl:1") == ["line 7: KEY-1: no recording b.jsonl"]


# -- requirements, register, cases


@pytest.fixture
def small() -> r.Document:
    second = GOOD.replace("KEY-1", "KEY-2")
    third = GOOD.replace("KEY-1", "KEY-3").replace("MUST", "MAY")
    return r.parse(HEAD + GOOD + second + third)


def test_a_requirement_needs_a_case_a_test_or_a_reason(small: r.Document, tmp_path: Path) -> None:
    (tmp_path / "test_key.py").write_text("def test_it() -> None: ...\n", encoding="utf-8")
    one = [Case("keys/first", ["KEY-1"])]
    missing = "KEY-2 is proven by no case; write one, or list it in requirements.toml with the reason"
    assert r.check_coverage(small, r.Register(), one, tmp_path) == [missing]
    assert r.check_coverage(small, r.Register(unproven={"KEY-2": "needs two servers"}), one, tmp_path) == []
    assert r.check_coverage(small, r.Register(tested={"KEY-2": "test_key.py::test_it"}), one, tmp_path) == []
    other = r.Register(tested={"KEY-2": "test_key.py::test_other"})
    assert r.check_coverage(small, other, one, tmp_path) == ["[tested] KEY-2: there is no test_key.py::test_other"]
    assert r.check_coverage(small, r.Register(), [*one, Case("keys/second", ["KEY-2"])], tmp_path) == []


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (r.Register(retired=["KEY-1"]), "KEY-1 was withdrawn and is used again"),
        (r.Register(unproven={"KEY-9": "why"}), "[unproven] names KEY-9, which does not exist"),
        (r.Register(tested={"KEY-9": "why"}), "[tested] names KEY-9, which does not exist"),
        (r.Register(unproven={"KEY-2": " "}), "[unproven] KEY-2 gives nothing"),
        (r.Register(tested={"KEY-2": "a.py"}), "[tested] KEY-2: there is no a.py"),
        (r.Register(tested={"KEY-2": "a.py"}, unproven={"KEY-2": "b"}), "KEY-2 stands in [tested] and [unproven]"),
        (r.Register(unproven={"KEY-1": "no case yet"}), "KEY-1 is listed as unproven, but keys/first proves it"),
    ],
)
def test_the_register_cannot_go_stale(small: r.Document, tmp_path: Path, register: r.Register, said: str) -> None:
    assert said in "\n".join(r.check_coverage(small, register, [Case("keys/first", ["KEY-1"])], tmp_path))


def test_a_case_cannot_cite_what_does_not_exist(small: r.Document) -> None:
    found = r.check_coverage(small, r.Register(), [Case("keys/first", ["KEY-1", "KEY-2", "KEY-8"])])
    assert found == ["case keys/first cites KEY-8, which does not exist"]


def test_proven_entries_leave_the_list(small: r.Document) -> None:
    text = '# why\nretired = []\n[tested]\nKEY-1 = "a.py"\n[unproven]\nKEY-1 = "x"\nKEY-2 = "y"\n'
    proven = r.coverage(small, [Case("keys/first", ["KEY-1"])])
    assert r.without_proven(text, proven) == text.replace('KEY-1 = "x"\n', "")


def test_the_coverage_page_says_what_proves_each(small: r.Document) -> None:
    register = r.Register(unproven={"KEY-2": "needs two servers"})
    page = r.render_coverage(small, register, [Case("keys/a", ["KEY-1"]), Case("keys/b", ["KEY-1"])])
    assert (
        "2 requirements (MUST and SHOULD) in 1 areas: 1 proven by cases, 0 by tests of the code, 1 by nothing" in page
    )
    assert "| [KEY-1](PROTOCOL.md#KEY-1) | must | peer | `keys/a`<br>`keys/b` |" in page
    assert "| [KEY-2](PROTOCOL.md#KEY-2) | must | peer | *unproven:* needs two servers |" in page
    assert "| [KEY-3](PROTOCOL.md#KEY-3) | may | peer | a permission |" in page
    assert "**nothing**" in r.render_coverage(small, r.Register(), [])


# -- generated blocks


def test_a_stale_block_is_noticed_and_renewed() -> None:
    render = script("render_docs")
    text = r.PROTOCOL.read_text(encoding="utf-8")
    stale = text.replace("W->>R: BRPOPLPUSH", "W->>R: BLPOP").replace("stateDiagram-v2", "nothing")
    assert stale != text
    assert render.rendered(stale) == text
    assert render.rendered("no block") == "no block"


def test_an_unknown_block_is_refused() -> None:
    render = script("render_docs")
    with pytest.raises(SystemExit, match="known are dialects"):
        render.rendered("<!-- generated: poem -->\n<!-- end of poem -->\n")
    with pytest.raises(SystemExit, match="not of the form"):
        render.rendered("<!-- generated: example nothing -->\n<!-- end of example -->\n")


# -- claims of the text that can be asked of recordings and code


def test_recorded_ids_have_the_form_of_the_grammar() -> None:
    form = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{12}")
    variants = set()
    for path in GOLDEN.glob("*-multi?-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            for found in re.findall(rb"job::([^\r]*)", bytes.fromhex(json.loads(line).get("hex", ""))):
                match = form.fullmatch(found)
                assert match is not None, found
                variants.add(match[1])
    assert variants == {b"0", b"1", b"2", b"3", b"8", b"9", b"a", b"b"}


def test_the_sereal_examples_say_what_the_text_says() -> None:
    assert sereal.loads(b"=\xf3rl\x05\x00(+\x03\x01\x02\x03") == [1, 2, 3]
    document = b'=\xf3rl\x05\x00(*\x03an%adQaxC"\x00\x00\xc0?,qJSON::PP::Boolean(\x01-\x13(\x00akav'
    assert sereal.loads(document) == {"k": "v", "n": None, "d": {"x": [1.5, True, False]}}
