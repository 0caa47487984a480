"""The pages of stays, written part by part: in this process, or in several."""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment

from clinragen import catalog
from clinragen.added_variables import AddedVariables
from clinragen.evaluation.faithfulness import ClaimChecker, StayCharts
from clinragen.knowledge.warrants import Warrant
from clinragen.reporting.assets import Assets, environment_of, harmless
from clinragen.reporting.index import Index
from clinragen.reporting.provenance import provenance_groups
from clinragen.reporting.stay import ReportInput, StayViews
from clinragen.verification.rationale import Verifier

#: Stays of a part: only one part is in memory.
STAYS = 256


@dataclass
class Warrants:
    """The edges of the graph that the pages name: they stand once for all pages.

    Attributes:
        edges: by their names.
    """

    edges: dict[str, Warrant] = field(default_factory=dict)

    def of(self, warrant: Warrant) -> str:
        """The name of an edge: the same for the same edge, whichever pages name it."""
        digest = hashlib.blake2s(f"{warrant.text}\n{warrant.source}".encode(), digest_size=5).digest()
        name = base64.b32encode(digest).decode().lower()
        self.edges[name] = warrant
        return name

    @property
    def script(self) -> str:
        """All that were asked for."""
        sources = sorted({one.source for one in self.edges.values() if one.source})
        rank = {source: position for position, source in enumerate(sources)}
        edges = {name: [one.text, rank.get(one.source)] for name, one in sorted(self.edges.items())}
        content = {"sources": sources, "edges": edges}
        return f"const WARRANTS = {harmless(json.dumps(content, separators=(',', ':'), ensure_ascii=True))};\n"


@dataclass(frozen=True)
class PageWriter:
    """Writes the pages of parts of a report.

    Attributes:
        common: what all parts have in common; its stays do not count.
        order: ids of all stays, ascending.
        single_file: make each page a single file.
    """

    common: ReportInput
    order: list[int]
    single_file: bool

    @cached_property
    def _environment(self) -> Environment:
        return environment_of(Assets(self.single_file))

    @cached_property
    def _verifier(self) -> Verifier | None:
        return None if self.common.graph is None else Verifier(self.common.graph)

    @cached_property
    def _provenance(self) -> dict[str, list[tuple[str, str]]]:
        """Pages that share files have it in the index."""
        return provenance_groups(self.common) if self.single_file else {}

    @cached_property
    def _neighbours(self) -> dict[int, tuple[int | None, int | None]]:
        """The stays before and after each."""
        around = zip([None, *self.order[:-1]], [*self.order[1:], None], strict=True)
        return dict(zip(self.order, around, strict=True))

    def write(self, part: ReportInput, folder: Path) -> tuple[Index, Warrants]:
        """Write the pages of a part.

        Args:
            part: without what all have in common.
            folder: where the pages go.

        Returns:
            The rows of the index, and the edges that the pages name.
        """
        common, predictions = self.common, part.predictions
        whole = replace(part, graph=common.graph, nodes=common.nodes)
        charts = StayCharts.of(part.truth.cohort, predictions.stay_ids)
        if whole.claims is None and common.graph is not None:
            checker = ClaimChecker(predictions, part.truth, common.graph, self._verifier, charts)
            whole = replace(whole, claims=checker.check())
        index, warrants = Index(predictions.labels), Warrants()
        task = predictions.task
        template = self._environment.get_template("stay.html")
        for view in StayViews(whole, charts):
            before, after = self._neighbours[view.stay_id]
            page = template.render(
                stay=view,
                task=task,
                before=before,
                after=after,
                manifest=predictions.manifest,
                teacher=part.teacher,
                remarks=predictions.manifest.remarks or [],
                warrant_name=None if self.single_file else warrants.of,
                provenance=self._provenance,
            )
            (folder / f"{view.stay_id}.html").write_bytes(page.encode())
            index.add(view)
        return index, warrants


def write_pages(
    report: ReportInput, folder: Path, *, single_file: bool, processes: int, progress: Callable[[int], object]
) -> tuple[Index, Warrants]:
    """Write the page of each stay.

    Args:
        report: content of the report.
        folder: where the pages go.
        single_file: make each page a single file.
        processes: number of processes; those beyond the first are new ones.
        progress: called with the number of stays of each part that is done.

    Returns:
        The index, and the edges that the pages name.
    """
    order = sorted(int(stay) for stay in report.predictions.stay_ids)
    writer = PageWriter(report.of_rows([]), order, single_file)
    index, warrants = Index(report.predictions.labels), Warrants()
    for rows, named in _written(writer, report, folder, processes):
        index.extend(rows)
        warrants.edges |= named.edges
        progress(rows.stays)
    index.settle()
    return index, warrants


def _written(writer: PageWriter, report: ReportInput, folder: Path, processes: int) -> Iterator[tuple[Index, Warrants]]:
    by_stay = sorted(range(len(writer.order)), key=lambda row: report.predictions.stay_ids[row])
    parts = [by_stay[start : start + STAYS] for start in range(0, len(by_stay), STAYS)]
    processes = min(processes, len(parts) // 2)  # to begin a process takes as long as half a part
    if processes < 2:
        for rows in parts:
            yield writer.write(report.of_rows(rows), folder)
        return
    with ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _begin, (writer, report.predictions.added)
    ) as pool:
        waiting = [
            pool.submit(_write_part, replace(report.of_rows(rows), graph=None, nodes={}), folder) for rows in parts
        ]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_process: dict[str, Any] = {}


def _begin(writer: PageWriter, added: AddedVariables) -> None:
    """What each new process does first."""
    catalog.add(added.variables, added.spellings, "the predictions")
    _process["writer"] = writer


def _write_part(part: ReportInput, folder: Path) -> tuple[Index, Warrants]:
    return _process["writer"].write(part, folder)
