"""The outcome as JUnit XML, which CI systems display."""

from __future__ import annotations

from xml.etree import ElementTree

from runtimes.outcomes import FAILED, NOT_EXECUTED, UNDECIDED, Verification


def to_junit(outcome: Verification) -> str:
    """Returns a suite per bundle and a case per artifact; one that is undecided counts as a failure of that type."""
    root = ElementTree.Element("testsuites")
    for bundle in outcome.bundles:
        suite = ElementTree.SubElement(root, "testsuite", name=bundle.bundle)
        if bundle.why:
            case = ElementTree.SubElement(suite, "testcase", classname=bundle.bundle, name="integrity")
            ElementTree.SubElement(case, "failure", type=FAILED, message=bundle.why)
        for a in bundle.artifacts:
            case = ElementTree.SubElement(suite, "testcase", classname=bundle.bundle, name=a.title)
            if a.outcome in (FAILED, UNDECIDED):
                ElementTree.SubElement(case, "failure", type=a.outcome, message=" ".join(a.remarks))
            elif a.outcome == NOT_EXECUTED:
                ElementTree.SubElement(case, "skipped", message=a.why)
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(c.find("failure") is not None for c in cases)))
        suite.set("skipped", str(sum(c.find("skipped") is not None for c in cases)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
