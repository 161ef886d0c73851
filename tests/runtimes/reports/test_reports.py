"""Reports of a verification: what people see first, what CI systems read, and that a page stands alone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from arbex.errors import MissingPackageError
from runtimes.changes import changes_since, states_of
from runtimes.outcomes import BundleReport, Verification
from runtimes.reports import write_report
from runtimes.reports.junit import to_junit
from runtimes.reports.markdown import to_markdown
from runtimes.reports.page import environment, to_html
from tests.runtimes.reports.outcomes import comparison, every_outcome, row

OUTCOME = every_outcome()


class Page(HTMLParser):
    """Collects the tags of a page and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "line", "circle", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "circle"):
            assert self.open.pop() == tag


def test_markdown_is_a_line_per_artifact_and_the_reasons() -> None:
    lines = to_markdown(OUTCOME).splitlines()
    assert lines[0] == "### Parity with PyTorch: not passed"
    table = [line for line in lines if line.startswith("|")][2:]
    assert [line.split(" | ")[3] for line in table] == [
        "✅ passed",
        "❔ undecided",
        "❌ failed",
        "➖ not run",
        "❌ failed",
    ]
    assert "<script" not in to_markdown(OUTCOME)
    assert len(lines) < 20


def test_junit_counts_what_is_undecided_as_a_failure_of_that_type() -> None:
    cpu, android = ElementTree.fromstring(to_junit(OUTCOME))
    assert (cpu.get("tests"), cpu.get("failures"), cpu.get("skipped")) == ("4", "2", "1")
    assert [found.get("type") for found in cpu.iter("failure")] == ["undecided", "failed"]
    assert android.get("failures") == "1"


def test_the_page_is_well_formed_and_needs_nothing_from_outside() -> None:
    text = to_html(OUTCOME)
    page = Page(text)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object"}
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) == 30
    assert all(str(source).startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"url\(|@import|https?://", text)


def test_the_page_shows_the_outcome_first_and_opens_what_did_not_pass() -> None:
    text = to_html(OUTCOME)
    assert text.index("Parity with PyTorch") < text.index("model.fp32.onnx") < text.index("<details")
    details = [attributes for tag, attributes in Page(text).tags if tag == "details"]
    assert ["open" in attributes for attributes in details] == [False, True, True]
    for words in ("needs about 900 images", "glasses=yes", "Reliability", "test/anger/", "Provenance", "A file is mis"):
        assert words in text


def test_names_are_escaped() -> None:
    text = to_html(OUTCOME)
    assert "<b>joy" not in text
    assert "&lt;b&gt;joy" in text


def test_without_labels_and_groups_the_page_leaves_them_out() -> None:
    found = comparison(0.1)
    found.labeled = False
    found.by_group.clear()
    bare = replace(row("m.onnx", "passed"), parity=found.parity(), evidence=found.evidence())
    text = to_html(Verification((BundleReport(bundle="b", artifacts=(bare,)),)))
    assert "Reliability" not in text
    assert "Agreement by group" not in text
    assert "Agreement by PyTorch&#39;s answer" in text or "Agreement by PyTorch's answer" in text


def test_every_report_shows_what_changed() -> None:
    before = states_of(OUTCOME.bundles)
    later = (replace(OUTCOME.bundles[0], artifacts=OUTCOME.bundles[0].artifacts[1:3]),)
    worse = (replace(later[0], artifacts=(replace(later[0].artifacts[0], outcome="failed"), later[0].artifacts[1])),)
    outcome = Verification(worse, changes_since(before, worse))
    for text in (to_markdown(outcome), to_html(outcome)):
        assert "undecided → failed" in text
        assert "passed → absent" in text
    assert [change["before"]["outcome"] for change in outcome.to_json()["changes"]] == [
        "undecided",
        "failed",
        "passed",
        "not executed",
    ]


def test_a_page_needs_jinja2_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r"arbex\[report\]"):
        write_report(tmp_path / "report.html", OUTCOME)
    assert not list(tmp_path.iterdir())
    write_report(tmp_path / "report.md", OUTCOME)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

MEASURE = """<script>
const wrapped = [...document.querySelectorAll('td')].filter(cell => !cell.querySelector('svg, code')
  && !cell.style.whiteSpace && cell.getClientRects().length && cell.clientHeight > 40).length;
document.title = JSON.stringify({wide: document.documentElement.scrollWidth - innerWidth, wrapped});
</script>"""


@pytest.mark.lab
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1280, 420])
def test_a_browser_shows_it_without_wrapped_figures_or_a_page_that_is_too_wide(width: int, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(to_html(OUTCOME).replace("</body>", MEASURE + "</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    command = [str(BROWSER), *options, (tmp_path / "page.html").as_uri()]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"<title>(.*?)</title>", text)
    assert found is not None
    measured = json.loads(found[1])
    assert measured["wrapped"] == 0
    assert measured["wide"] <= 0
