"""One PDF per stay in ``stays/``: its page, printed by headless Chromium."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from clinragen.reporting.build import ReportInput, write_report
from clinragen.reporting.forms.browser import chromium

_DATES = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}")
_EPOCH = rb"/\1 (D:19700101000000"
#: What a page says without labels; the escaped text of a patient cannot have these brackets.
_UNCODED = (">the cohort is not coded yet<", ">what was recorded is not shown<")
_ELEMENTS = re.compile(rb"\(node(\d{8})\)")


def write_pdfs(
    report: ReportInput,
    folder: Path,
    *,
    with_recorded_codes: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Print each stay's page.

    Args:
        report: content of the report.
        folder: an empty folder.
        with_recorded_codes: print recorded codes, and the rationale of a teacher who may have known them.
        progress: called after each stay.

    Raises:
        UserError: there is no Chromium, or it cannot print.
    """
    blinded = report if with_recorded_codes else _blinded(report)
    (folder / "stays").mkdir()
    with tempfile.TemporaryDirectory(prefix=".pages-", dir=folder) as scratch, chromium() as browser:
        for page in _pages(blinded, Path(scratch) / "report"):
            if blinded.truth.labelled != report.truth.labelled:
                page.write_text(page.read_text(encoding="utf-8").replace(*_UNCODED), encoding="utf-8")
            pdf = browser.pdf(page)
            (folder / "stays" / f"{page.stem}.pdf").write_bytes(_settled(pdf))
            progress()


def _blinded(report: ReportInput) -> ReportInput:
    """A report without what was recorded, and what tells of it."""
    questions = None if report.questions is None else report.questions.blinded
    return replace(report, truth=replace(report.truth, labelled=False), teacher=None, questions=questions)


def _pages(report: ReportInput, folder: Path) -> list[Path]:
    """Every stay's page as one file without others."""
    write_report(report, folder)
    return sorted((folder / "stays").glob("*.html"), key=lambda path: int(path.stem))


def _settled(pdf: bytes) -> bytes:
    """The same page gives the same bytes: without the time of printing, and with its elements numbered from 1.

    Chromium counts the elements of all pages that it has shown. Everything keeps its length, as offsets depend on it.
    """
    numbers = {number: rank for rank, number in enumerate(sorted(set(_ELEMENTS.findall(pdf))), 1)}
    return _ELEMENTS.sub(lambda match: b"(node%08d)" % numbers[match[1]], _DATES.sub(_EPOCH, pdf))
