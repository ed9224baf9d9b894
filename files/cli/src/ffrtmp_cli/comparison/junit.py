"""Comparison as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from xml.etree import ElementTree as Tree

from ffrtmp_analysis.comparison.differences import ComparisonVerdict, ControlShift
from ffrtmp_analysis.comparison.quantities import RULES
from ffrtmp_analysis.comparison.sentences import control_sentence, difference_sentence

from ffrtmp_cli.comparison.document import ComparisonDocument


def junit_xml(document: ComparisonDocument) -> bytes:
    """Return a comparison as a test suite with a test for each difference.

    Regressions are failures. What is not comparable, and nodes that changed, are skipped tests,
    because they show neither a success nor a failure.

    Args:
        document: The comparison.
    """
    suite = Tree.Element("testsuite", name=f"{document.a} and {document.b}")
    for shift in document.controls:
        _add_control(suite, shift)
    for number, found in enumerate(document.differences):
        name = f"{found.source}/{found.configuration}: {RULES[found.quantity].name}"
        case = Tree.SubElement(suite, "testcase", classname=found.node, name=name)
        sentence = difference_sentence(found)
        if number in document.regressions:
            Tree.SubElement(case, "failure", type=found.verdict.value, message=sentence)
        elif found.verdict is ComparisonVerdict.NOT_COMPARABLE:
            Tree.SubElement(case, "skipped", message=sentence)
        else:
            Tree.SubElement(case, "system-out").text = sentence
    for name, missing in ((document.a, document.only_in_a), (document.b, document.only_in_b)):
        for scenario in missing:
            node, _, label = scenario.partition(": ")
            case = Tree.SubElement(suite, "testcase", classname=node, name=label)
            Tree.SubElement(case, "skipped", message=f"Only {name} has results.")
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for kind, attribute in (("failure", "failures"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(kind) is not None for case in cases)))
    suite.set("errors", "0")
    root = Tree.Element("testsuites")
    root.append(suite)
    Tree.indent(root)
    content: bytes = Tree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _add_control(suite: Tree.Element, shift: ControlShift) -> None:
    case = Tree.SubElement(suite, "testcase", classname=shift.node, name="control encodes")
    sentence = control_sentence(shift)
    if shift.is_shifted:
        Tree.SubElement(case, "skipped", message=sentence)
    else:
        Tree.SubElement(case, "system-out").text = sentence
