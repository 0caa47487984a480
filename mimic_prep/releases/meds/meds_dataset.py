"""Preparation of a MEDS dataset: check, convert to tables, prepare; an export of clinragen is converted back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow.parquet as pq

from clinragen.artifacts import read_json, sha256_file
from clinragen.errors import UserError
from clinragen.outputs import check_place
from clinragen.schema import CohortPaths
from mimic_prep.file_scan import columns_of
from mimic_prep.mimic import MimicReader
from mimic_prep.release_check import ReleaseCheck, TableCheck
from mimic_prep.releases.meds.convert import NEEDED, Converted, convert, scratch_beside, shards_of
from mimic_prep.releases.meds.dataset_splits import FILE, read_splits
from mimic_prep.releases.meds.tables import MEDS, events
from mimic_prep.releases.meds.vocabulary import load_codes

if TYPE_CHECKING:
    from clinragen.cohort.manifest import CohortManifest
    from mimic_prep.prepare import PreparationRequest


class MedsReader(MimicReader):
    """Reads the tables of a converted dataset."""

    def __init__(self, root: Path, converted: Converted) -> None:
        super().__init__(replace(MEDS, events=events()))
        self.warnings = list(converted.warnings)
        self.account = {
            "meds": {"shards": converted.shards, "events": converted.account, "unknown_codes": converted.unknown},
        }
        path = root / FILE
        self.inputs = {FILE: sha256_file(path)} if path.is_file() else {}
        self.splits = read_splits(path) if path.is_file() else None


def prepare(request: PreparationRequest) -> CohortManifest:
    """Prepare a MEDS dataset, or convert an exported cohort back.

    Raises:
        UserError: no dataset, no known codes, or options that do not apply.
    """
    from clinragen.adapters.meds import is_export
    from mimic_prep.prepare import prepare_tables

    raw = request.folder("MEDS")
    if not raw.is_dir():
        raise UserError(f"{raw} not found: --raw expects the folder of a MEDS dataset")
    check_place(request.out, (raw,))
    if is_export(raw):
        return _bring_back(request)
    codes = load_codes(request.options["codes"])
    with scratch_beside(request.out) as scratch:
        return prepare_tables(request, MedsReader(raw, convert(raw, codes, scratch)), scratch)


def _bring_back(request: PreparationRequest) -> CohortManifest:
    """The original cohort of an export by clinragen, which is already prepared."""
    from clinragen.adapters.meds import import_cohort

    given = {
        "--protocol": request.protocol != "admission",
        "--set": bool(request.settings),
        "--codes": request.options["codes"] != "default",
    }
    if odd := [option for option, is_given in given.items() if is_given]:
        raise UserError(
            f"{request.raw} is a cohort that clinragen exported, with the protocol it was prepared by: {odd[0]} cannot "
            "apply; leave it out, or prepare the raw tables anew"
        )
    import_cohort(request.folder("MEDS"), request.out, overwrite=request.overwrite)
    return cast("CohortManifest", read_json(CohortPaths(request.out).manifest, "the manifest of a cohort"))


def check(root: Path) -> ReleaseCheck:
    """Check the shards of a MEDS dataset: readable, with the three required columns."""
    checks = []
    for path in shards_of(root):
        shard = TableCheck("events", path.relative_to(root).as_posix())
        columns = columns_of(path)
        if missing := [name for name in NEEDED if name not in columns]:
            shard.problems.append(f"columns missing: {', '.join(missing)}" if columns else "not readable as Parquet")
        else:
            shard.rows = pq.read_metadata(path).num_rows
        checks.append(shard)
    return ReleaseCheck("MEDS", None, checks, [])
