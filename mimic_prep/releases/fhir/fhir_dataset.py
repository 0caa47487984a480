"""Preparation of a FHIR export: read its files, lay them out as tables, prepare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from msgspec import json

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.errors import UserError
from clinragen.outputs import check_place
from mimic_prep.cache import held_beside
from mimic_prep.inclusion import Attrition, Population
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.note_selection import NOTES
from mimic_prep.protocol import Protocol
from mimic_prep.release_check import ReleaseCheck, TableCheck
from mimic_prep.releases.fhir import files
from mimic_prep.releases.fhir.clock import WRITTEN, check_offsets, only_utc
from mimic_prep.releases.fhir.convert import convert
from mimic_prep.releases.fhir.layout import REQUIRED, LaidOut, lay_out
from mimic_prep.releases.fhir.tables import FHIR, PROBLEMS
from mimic_prep.releases.fhir.template import template
from mimic_prep.releases.fhir.versions import Parts
from mimic_prep.releases.fhir.vocabulary import Mapping, load_mapping

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest

TO_FILL, IDENTITIES = "codes_to_fill.yaml", "identities.csv"
_MOST_SHOWN, _MOST_PROBLEMS = 30, 60


class FhirReader(MimicReader):
    """Reads the tables that an export was laid out in."""

    def __init__(self, parts: Parts, laid_out: LaidOut, mapping: Mapping, inputs: dict[str, str]) -> None:
        super().__init__(FHIR)
        self._parts = parts
        unmapped = parts.unmapped()
        self.inputs = inputs
        self.files = {
            TO_FILL: template(unmapped, parts.odd_units()),
            IDENTITIES: laid_out.identities.write_csv(),
        }
        shown = [[system, code, rows] for (system, code, _), rows in unmapped.most_common(_MOST_SHOWN)]
        self.account = {
            "fhir": {"stays_by": laid_out.placed.kind, "unmapped_codes": len(unmapped), "most_frequent": shown}
        }
        self.warnings = list(laid_out.placed.warnings)
        if unmapped:
            self.warnings.append(
                f"{len(unmapped):,} codes of {sum(unmapped.values()):,} rows have no meaning here: {TO_FILL} of the "
                "cohort lists them; name the variables of those that matter, and pass it with --codes"
            )

    def population(self, raw: RawTables, attrition: Attrition) -> Population:
        """As in MIMIC; the account of the export's files goes with it."""
        raw.ledger.merge(self._parts.ledger())
        return super().population(raw, attrition)

    def texts(self, raw: RawTables, stays: pl.DataFrame, diagnoses: pl.DataFrame, protocol: Protocol) -> pl.DataFrame:
        """Notes and digests, and the problem list as a section of the history."""
        texts = super().texts(raw, stays, diagnoses, protocol)
        if "past_medical_history" not in protocol.notes.sections or protocol.notes.digest == "never":
            return texts
        return pl.concat([texts, _problems(raw, stays)])


def _problems(raw: RawTables, stays: pl.DataFrame) -> pl.DataFrame:
    """The problems of each stay's patient that were recorded before its admission."""
    subjects = stays["subject_id"].unique().implode()
    rows = raw.read(
        PROBLEMS, lambda rows: rows.skip(~pl.col("subject_id").is_in(subjects), "patient not in the cohort")
    )
    begin = pl.min_horizontal("admittime", "intime")
    listed = rows.join(stays.with_columns(begin=begin), on="subject_id").filter(pl.col("time") <= pl.col("begin"))
    listed = listed.sort("stay_id", "time", "title").unique(["stay_id", "title"], keep="first", maintain_order=True)
    lists = listed.group_by("stay_id", "begin", maintain_order=True).agg(
        pl.col("title").head(_MOST_PROBLEMS).str.join("; ")
    )
    return lists.select(
        "stay_id",
        pl.concat_str(pl.lit("problems-"), "stay_id").alias("note_id"),
        pl.lit("problem_list").alias("kind"),
        pl.lit("past_medical_history").alias("section"),
        pl.col("begin").cast(NOTES["time"]).alias("time"),
        (pl.col("title") + ".").alias("text"),
    )


@contextmanager
def work_beside(out: Path) -> Iterator[Path]:
    """The folder of finished parts: accessible to its owner only, since it contains patient data.

    It stays if the preparation fails, so that the next one resumes, and is removed once the cohort exists.

    Raises:
        UserError: another process is preparing the same cohort.
    """
    import shutil

    with held_beside(out, "fhir") as folder:
        shutil.rmtree(folder / "tables", ignore_errors=True)  # left by a killed process
        for name in ("parts", "tables"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def prepare(request: PreparationRequest) -> CohortManifest:
    """Prepare a FHIR export.

    Raises:
        UserError: no export, a damaged file, no stay, or options that do not apply.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    from mimic_prep import protocol as protocols
    from mimic_prep.prepare import prepare_tables

    root = request.folder("FHIR")
    if not root.is_dir():
        raise UserError(f"{root} not found: --raw expects the folder of a FHIR export")
    check_place(request.out, (root,))
    protocols.load(request.protocol, list(request.settings))  # fail fast
    mapping = load_mapping(request.options["codes"])
    zone = request.options["zone"]
    with work_beside(request.out) as work:
        bars = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()
        with Progress(*bars, console=request.console, transient=True) as progress:
            task = progress.add_task("reading FHIR")
            of_file, digests = convert(
                root, work / "parts", mapping, zone,
                lambda name, size: progress.update(task, advance=size, description=f"reading {name}"),
                added=request.added, processes=request.workers,
            )  # fmt: skip
        parts = Parts(of_file)
        check_offsets(parts.offsets(), zone not in ("default", WRITTEN), root)
        laid_out = lay_out(parts, work / "tables", request.options["stays"])
        if zone == "default" and only_utc(parts.offsets()):
            laid_out.placed.warnings.append(
                "the times are in UTC, and so are days and hours without --zone: name the hospital's, such as "
                "--zone America/New_York"
            )
        inputs = dict(digests)
        inputs["options"] = sha256_json(
            [request.options["codes"] == "default" or sha256_file(Path(request.options["codes"])), zone]
        )
        return prepare_tables(request, FhirReader(parts, laid_out, mapping, inputs), work / "tables")


def check(root: Path) -> ReleaseCheck:
    """Check the files of an export: readable to their end, resources in them, and those of the required types."""
    checks = []
    absent = set(REQUIRED)
    for path in files.export_files(root):
        row = TableCheck("resources", path.relative_to(root).as_posix(), rows=0)
        try:
            if files.is_lines(path):
                for block in files.blocks(path, str(path), lambda _: None):
                    row.rows = (row.rows or 0) + sum(1 for line in block.lines if line.strip())
                    absent -= {kind for kind in absent if _holds(block.content, kind)}
            else:
                content = files.document(path, str(path))
                entries = content.get("entry") if isinstance(content, dict) else content
                row.rows = len(entries) if isinstance(entries, list) else 1
                absent -= {kind for kind in absent if _holds(json.encode(content), kind)}
        except UserError as error:
            row.rows = None
            row.problems.append(str(error))
        if row.rows == 0:
            row.problems.append("no resource: the file is empty")
        checks.append(row)
    problems = [f"no {kind} in any file: ask for it, too" for kind in REQUIRED if kind in absent]
    return ReleaseCheck("FHIR", None, checks, problems)


def _holds(content: bytes, kind: str) -> bool:
    """Whether a JSON text has a resource of a type."""
    name = f'"{kind}"'.encode()
    return name in content and re.search(rb'"resourceType"\s*:\s*' + name, content) is not None
