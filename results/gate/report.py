"""The gate's findings for people, for CI servers (JUnit XML) and for GitHub's step summary."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final
from xml.etree import ElementTree

from vlmguard.results.formats.markdown import markdown
from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.gate.compare import Finding, Status
from vlmguard.results.sanitize import one_line

WORDS: Final[dict[Status, str]] = {
    "good": "as good or better",
    "unproven": "not proven",
    "worse": "WORSE",
    "incomparable": "NOT COMPARABLE",
}
_VERDICTS: Final = {
    0: "Passed: nothing is shown to be worse.",
    1: "Failed: something is worse.",
    2: "Undecided: not everything can be compared.",
}


def text(findings: list[Finding], status: int, attacks: Sequence[str] = ()) -> str:
    """Plain text: a line for each finding, worst first, and a verdict for the exit status.

    Args:
        findings: What was found.
        status: The exit status.
        attacks: What attacks achieve, a line each (`red_team_lines`).
    """
    order = ["worse", "incomparable", "unproven", "good"]
    ranked = sorted(findings, key=lambda each: order.index(each.status))
    lines = [
        f"{WORDS[each.status]}: {one_line(each.run)}: {one_line(each.message)}" for each in ranked
    ]
    return "\n".join([*lines, *map(one_line, attacks), _VERDICTS[status]])


def junit(findings: list[Finding], strict: bool) -> str:
    """JUnit XML: worse is a failure, not comparable an error (if strict, not proven too)."""
    errors: list[Status] = ["incomparable", "unproven"] if strict else ["incomparable"]
    root = ElementTree.Element("testsuites")
    for run, group in groupby(sorted(findings, key=lambda each: each.run), lambda each: each.run):
        cases = list(group)
        suite = ElementTree.SubElement(root, "testsuite", name=one_line(run))
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(_count(cases, ["worse"])))
        suite.set("errors", str(_count(cases, errors)))
        for finding in cases:
            case = ElementTree.SubElement(
                suite, "testcase", classname=one_line(run), name=finding.measure or "comparable"
            )
            message = one_line(finding.message)
            if finding.status == "worse":
                ElementTree.SubElement(case, "failure", message=message)
            elif finding.status in errors:
                ElementTree.SubElement(case, "error", message=message)
            else:
                ElementTree.SubElement(case, "system-out").text = message
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def summary(findings: list[Finding], status: int, attacks: Sequence[str] = ()) -> str:
    """Markdown for GitHub's step summary; arguments as for `text`."""
    sheet = Sheet(
        "vlmguard gate",
        ["Run", "Result", "Finding"],
        [[one_line(each.run), WORDS[each.status], one_line(each.message)] for each in findings],
        notes=[*map(one_line, attacks), _VERDICTS[status]],
        labels=3,
    )
    return markdown(sheet)


def _count(findings: Iterable[Finding], statuses: list[Status]) -> int:
    return sum(finding.status in statuses for finding in findings)
