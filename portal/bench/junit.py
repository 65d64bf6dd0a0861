"""Writes the results of a suite as JUnit XML, for continuous integration. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from portal.bench.suite import CaseResult

# Characters that XML 1.0 does not allow, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(results: Sequence[CaseResult], seconds: float) -> str:
    """The results as one `testsuite`. A failed case has its differences, and a case that could not run its reason."""
    counts = {
        "tests": len(results),
        "failures": sum(result.state == "failed" for result in results),
        "errors": sum(result.state == "error" for result in results),
        "skipped": sum(result.state == "skipped" for result in results),
    }
    about = {key: str(value) for key, value in counts.items()} | {"time": f"{seconds:.3f}"}
    root = ElementTree.Element("testsuites", {"name": "codemode test", **about})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "codemode", **about})
    for result in results:
        _case(suite, result)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, result: CaseResult) -> None:
    title = _text(result.case.title)
    name = _text(result.case.name or result.case.file.name.split(".")[0])
    case = ElementTree.SubElement(
        suite, "testcase", {"classname": title, "name": name, "file": title, "time": f"{result.seconds:.3f}"}
    )
    if result.state == "skipped":
        ElementTree.SubElement(case, "skipped", {"message": _text(result.reason or "")})
    elif result.state == "error":
        ElementTree.SubElement(case, "error", {"message": _text(result.reason or "")})
    elif result.state == "failed":
        about = ", ".join(mismatch.about for mismatch in result.mismatches)
        failure = ElementTree.SubElement(case, "failure", {"message": f"not as expected: {about}"})
        lines = [line for mismatch in result.mismatches for line in (mismatch.title, *mismatch.lines)]
        failure.text = _text("\n".join(lines))


def _text(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
