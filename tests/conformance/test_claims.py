"""What peers claim: what is not asked for, what is said of it, and that nothing is called conformant without it."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest

from jobwire_conformance.cases.case import Case, Job, Needs, Redis, SubmitJob, load_cases
from jobwire_conformance.cases.templates import make_value, timed
from jobwire_conformance.driver.protocol import BEHAVIOURS, HelloAnswer, decode_request, encode
from jobwire_conformance.driver.protocol import Submit as SubmitMessage
from jobwire_conformance.driver.values import Chars
from jobwire_conformance.peers import python as peer_python
from jobwire_conformance.report.claims import doubts, in_words, lacking, not_tried, spoken_codec
from jobwire_conformance.report.conclusion import conclude, judgement
from jobwire_conformance.report.rendering import FORMATS
from jobwire_conformance.report.report import Header, PeerFacts, Report, VerdictLine
from jobwire_conformance.report.verdicts import Exit, Verdict
from jobwire_conformance.run.axes import PeerSpec, expand
from jobwire_conformance.run.expected import Entry, Expectations, Kind
from jobwire_conformance.run.runner import Planned, RunOptions, run_instance


def hello(**more: object) -> HelloAnswer:
    fields: dict[str, object] = {
        "driver": 1, "name": "x", "version": "1", "language": "Tcl", "runtime": "", "roles": ["client", "worker"],
        "modes": ["reliable"], "dialects": ["0.004"], "codecs": ["json"], **more,
    }  # fmt: skip
    return msgspec.convert({"type": "hello", **fields}, HelloAnswer)


def case(**more: object) -> Case:
    fields = {"id": "a/b", "title": "t", "proves": ["KEY-1"], "source": "s", "jobs": [Job(result="x")], **more}
    return Case(**fields)  # type: ignore[arg-type]  # what the test wants to say


DOCUMENTS = Needs(documents=True)


def test_behaviours_that_lack() -> None:
    wanted = case(needs=Needs(client=["cancel"], worker=["rejects", "recovers"]))
    able = hello(behaviours=["cancel", "rejects", "recovers"])
    assert lacking(wanted, "reliable", "sereal", able, able) == {}
    found = lacking(wanted, "reliable", "sereal", hello(), able)
    assert found == {"client": ["behaviour cancel"]}
    assert in_words(found) == "the client does not claim cancel"
    found = lacking(wanted, "reliable", "sereal", able, hello())
    assert in_words(found) == "the worker does not claim rejects, recovers"


@pytest.mark.parametrize(
    ("codec", "mode", "client", "worker", "expected"),
    [
        ("sereal", "reliable", ["json"], ["sereal"], {"client": ["codec sereal"]}),
        ("sereal", "reliable", ["sereal"], ["json"], {"worker": ["codec sereal"]}),
        ("json", "reliable", ["sereal"], ["sereal"], {"client": ["codec json"]}),
        ("json", "reliable", ["json"], ["sereal"], {}),  # every worker reads JSON
        ("sereal", "simple", ["json"], ["json"], {}),  # an envelope is JSON
    ],
)
def test_codecs_that_lack(codec: str, mode: str, client: list[str], worker: list[str], expected: object) -> None:
    modes = ["reliable", "simple"]
    sides = hello(codecs=client, modes=modes), hello(codecs=worker, modes=modes)
    assert lacking(case(needs=DOCUMENTS), mode, codec, *sides) == expected  # type: ignore[arg-type]  # a mode


def test_where_nothing_is_nested_no_codec_is_needed() -> None:
    assert lacking(case(), "reliable", "sereal", hello(codecs=[]), hello(codecs=[])) == {}
    assert spoken_codec("sereal", hello()) == "json", "no peer is asked for a codec that it does not claim"


def test_a_mode_that_only_the_options_of_a_case_name() -> None:
    found = lacking(case(client={"mode": "recoverable"}), "reliable", "json", hello(), hello())
    assert found == {"client": ["mode recoverable"]}


def test_cases_say_where_documents_travel() -> None:
    """Otherwise a peer without Sereal would be asked for it, and fail."""
    for item in load_cases():
        if "bare-queues" in item.needs.facts or "rejects" in item.needs.worker:
            continue  # 0.001 has a form of its own; what is to be rejected need not be understood
        jobs = [*item.jobs, *(step for step in item.steps if isinstance(step, SubmitJob))]
        data = [value for job in jobs if isinstance(value := timed(make_value(job.data), 1.0), dict)]
        plain = (str, bytes, int, float, Chars)
        nested = any(not isinstance(x, plain) or isinstance(x, bool) for value in data for x in value.values())
        floats = [x for value in data for x in value.values() if isinstance(x, float) and math.isfinite(x)]
        exact = any(float(f"{x:.15g}") != x for x in floats)
        written = any(str(word).startswith("sereal_") for s in item.steps if isinstance(s, Redis) for word in s.command)
        assert item.needs.documents == (nested or exact or written), item.id


def test_every_behaviour_is_known_and_jobwire_claims_them_all() -> None:
    """A peer that claims less is judged by less: the suite's own peer leaves nothing out."""
    asked = {name for item in load_cases() for name in [*item.needs.client, *item.needs.worker]}
    assert asked | {"chars"} == set(BEHAVIOURS)
    assert set(peer_python.BEHAVIOURS) == set(BEHAVIOURS)
    ours = peer_python.about()
    assert (ours.roles, len(ours.modes), ours.codecs) == (["client", "worker"], 3, ["sereal", "json"])


def test_claims_that_no_case_knows_are_told() -> None:
    assert doubts(hello(behaviours=["cancel", "recorded:a/b:"])) == []
    said = doubts(hello(behaviours=["canel"], codecs=["jsn"], dialects=["0.005"]))
    assert [line.split()[1] for line in said] == ["'canel'", "'jsn'", "'0.005'"]


async def test_what_is_not_claimed_is_not_started() -> None:
    spec = PeerSpec("x", "0.004", hello())
    [item] = [Planned(*found) for found in expand([case(needs=DOCUMENTS)], [spec], [spec])]
    line = await run_instance(item, None, RunOptions(commands={}))  # type: ignore[arg-type]  # no server is touched
    assert (line.verdict, line.required) == (Verdict.UNSUPPORTED, False)
    assert line.lacks == {"client": ["codec sereal"], "worker": ["codec sereal"]}


# --- what a run comes to ----------------------------------------------------------------------


def facts(**more: object) -> PeerFacts:
    fields = {"name": "x", "dialect": "0.004", "roles": ["client", "worker"], "modes": ["reliable"], "codecs": ["json"]}
    return PeerFacts(**{**fields, **more})  # type: ignore[arg-type]  # what the test wants to say


def line(verdict: Verdict = Verdict.PASS, **more: object) -> VerdictLine:
    fields = {"case": "a/b", "title": "t", "proves": [], "source": "s", "level": "must", "mode": "reliable",
              "client": "x", "worker": "x", "verdict": verdict, **more}  # fmt: skip
    return VerdictLine(**fields)  # type: ignore[arg-type]  # what the test wants to say


def report(*lines: VerdictLine, peer: PeerFacts | None = None, whole: bool = True) -> Report:
    header = Header(suite="1", driver=1, began="", profile="ci", machine={}, redis={}, peers=[peer or facts()],
                    cases=1, instances=len(lines), whole=whole)  # fmt: skip
    return Report(header=header, verdicts=list(lines), footer=conclude(header, list(lines), [], seconds=1))


ALL_MODES = ["simple", "recoverable", "reliable"]
UNCLAIMED = {"required": False, "lacks": {"client": ["behaviour cancel"]}}


def test_conformant_in_what_is_claimed() -> None:
    found = report(line(), line(Verdict.UNSUPPORTED, **UNCLAIMED))
    assert (found.footer.status, judgement(found)) == (Exit.CONFORMANT, "conformant in what is claimed")
    assert found.footer.not_tried == {"x": "mode simple, mode recoverable, behaviour cancel (1)"}
    assert found.footer.claimed["x"] == (
        "roles client, worker; modes reliable; dialect 0.004; codecs json; behaviours none"
    )
    for name in ("terminal", "markdown", "badge-svg", "html"):
        text = FORMATS[name](found)
        assert "conformant in what is claimed" in text, name
        assert "behaviour cancel (1)" in text or name == "badge-svg", name


def test_nothing_left_out_is_conformant_without_addition() -> None:
    found = report(line(), peer=facts(modes=ALL_MODES))
    assert (found.footer.status, judgement(found)) == (Exit.CONFORMANT, "conformant")


def test_what_a_list_gives_the_reason_for_is_not_left_out() -> None:
    listed = line(Verdict.UNSUPPORTED, link="PROTOCOL.md §29", **UNCLAIMED)
    assert judgement(report(line(), listed, peer=facts(modes=ALL_MODES))) == "conformant"


def test_what_is_claimed_and_then_declined_is_not_conformant() -> None:
    found = report(line(), line(Verdict.UNSUPPORTED))
    assert (found.footer.status, found.footer.why) == (Exit.NOT_CONFORMANT, ["1 unsupported"])
    assert "claim less in hello" in FORMATS["terminal"](found)


def test_a_run_that_tried_nothing_says_so() -> None:
    found = report(line(Verdict.UNSUPPORTED, **UNCLAIMED))
    assert (found.footer.status, found.footer.why) == (Exit.NOT_CONFORMANT, ["nothing was tried"])


def test_a_selection_is_called_one() -> None:
    assert judgement(report(line(), whole=False)) == "conformant as far as selected"
    assert judgement(report(line(Verdict.FAIL), whole=False)) == "not conformant"


def test_a_replay_is_not_blamed_for_what_was_not_recorded() -> None:
    peer = facts(behaviours=["recorded:a/b:reliable"])
    assert not_tried([peer], [line(Verdict.UNSUPPORTED, **UNCLAIMED)]) == {}


def test_no_line_of_the_protocol_holds_another_end_of_line() -> None:
    """Many readers of lines, node:readline and str.splitlines among them, split at these."""
    message = SubmitMessage(seq=1, data={"a": "x\x85y\u2028z\u2029"})
    raw = encode(message)
    assert len(raw.decode().splitlines()) == 1
    assert decode_request(raw) == message


MakeReport = Callable[..., Report]


def test_the_end_of_a_bad_run_says_where_to_look(make_report: MakeReport) -> None:
    assert "jobwire-conformance show group/case-" in FORMATS["terminal"](make_report())
    assert "stderr of worker ends: " in FORMATS["terminal"](make_report())


def test_the_suites_own_lists_speak_of_its_own_peers() -> None:
    """Between other peers an entry of theirs may match nothing, and is not stale."""
    entry = Entry(case="a/b", worker="python:*", reason="r", link="l")
    entries: list[tuple[Kind, Entry]] = [("known-failing", entry), ("flaky", entry)]
    assert len(Expectations(entries).unused([], ["x"], ["python:0.004"])) == 2
    assert len(Expectations(entries, borrowed=1).unused([], ["x"], ["python:0.004"])) == 1
