"""JUnit XML: a suite a pair of peers, a test case an instance."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from xml.etree import ElementTree as ET

from jobwire_conformance.report.report import Report, VerdictLine

__all__ = ["render"]

# XML 1.0 has no way to say most control characters, not even escaped.
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


def _clean(text: str) -> str:
    return _UNSPEAKABLE.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def _name(line: VerdictLine) -> str:
    return " ".join([line.case, *(f"{key}={value}" for key, value in line.axes.items())])


def render(report: Report) -> str:
    """The whole report as one XML document."""
    suites: dict[str, list[VerdictLine]] = defaultdict(list)
    for line in report.verdicts:
        suites[f"{line.mode} {line.client or 'runner'} to {line.worker or 'runner'}"].append(line)
    root = ET.Element("testsuites", name="jobwire conformance", time=f"{report.footer.seconds:.3f}")
    for name, lines in suites.items():
        kinds = Counter(line.verdict.junit for line in lines)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_clean(name),
            tests=str(len(lines)),
            failures=str(kinds["failure"]),
            errors=str(kinds["error"]),
            skipped=str(kinds["skipped"]),
            time=f"{sum(line.seconds for line in lines):.3f}",
            timestamp=report.header.began.rstrip("Z"),
        )
        for line in lines:
            _case(suite, name, line)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, name: str, line: VerdictLine) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_clean(name), name=_clean(_name(line)), time=f"{line.seconds:.3f}"
    )
    text = _clean(f"{line.reason}\nexpected: {line.expected}\nactual: {line.actual}\nproves: {' '.join(line.proves)}")
    kind = line.verdict.junit
    if kind == "skipped":
        ET.SubElement(case, kind, message=_clean(f"{line.verdict}: {line.reason}")[:300])
    elif kind:
        ET.SubElement(case, kind, message=_clean(line.reason)[:300], type=str(line.verdict)).text = text
    if line.stderr:
        joined = "\n".join(f"--- {who}\n{said}" for who, said in line.stderr.items())
        ET.SubElement(case, "system-err").text = _clean(joined[-4000:])
