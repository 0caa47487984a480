"""Read ``evaluation.json`` with a complete check, so that its users need no checks of their own.

Also handles an earlier evaluation: it is replaced only on request, and its controls are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from clinragen import versions
from clinragen.artifacts import read_json
from clinragen.choices import CONTROLS, FORMER_SERIES_INPUTS
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import METRICS
from clinragen.evaluation.rows import CLAIM_ROWS, EvaluationFile
from clinragen.evaluation.table import GROUP_SCORES, KIND_SCORES, SITE_SCORES
from clinragen.outputs import EVALUATION, MANIFEST, PREDICTIONS, check_output_file
from clinragen.schema import RATIONALE_KINDS
from clinragen.shape import differs, of

FILE, CLAIMS = "evaluation.json", "claims.jsonl"
_LONGEST_LINE = 10_000_000  # characters of a line of claims that are checked
_SHAPE = of(EvaluationFile)
_SYSTEMS = ("model", "prevalence", *CONTROLS)


def load_evaluation(path: Path) -> EvaluationFile:
    """Read a file written by ``clinragen evaluate``.

    Raises:
        UserError: missing, damaged, or of a version that is not read; the error names the place.
    """
    stored = _todays_names(read_json(path, "an evaluation written by `clinragen evaluate`"))
    versions.EVALUATION.check(stored, path)
    evaluation = cast(EvaluationFile, stored)  # valid once the check below has passed
    if trouble := differs(stored, _SHAPE) or _alien(evaluation):
        raise UserError(f"{path} is no evaluation as this version writes them: {trouble}; run clinragen evaluate again")
    return evaluation


def _todays_names(evaluation: dict[str, Any]) -> dict[str, Any]:
    """An evaluation, also one of the release before, with its controls under the names of today; null is absent."""
    renamed = dict(evaluation)
    for section in ("systems", "cost_of_control"):
        if isinstance(by_control := evaluation.get(section), dict):
            there = {name: value for name, value in by_control.items() if value is not None}
            renamed[section] = {FORMER_SERIES_INPUTS.get(name, name): value for name, value in there.items()}
    for former, today in FORMER_SERIES_INPUTS.items():
        if isinstance(renamed.get("systems"), dict) and isinstance(system := renamed["systems"].get(today), dict):
            renamed["systems"][today] = system | {"title": str(system.get("title")).replace(former, today)}
    return renamed


def replaceable(out: Path, *, overwrite: bool, inputs: Sequence[Path | None]) -> dict[str, Any] | None:
    """Check in advance whether an evaluation may be written into a folder; returns the existing one, or None.

    Raises:
        UserError: the folder is of another kind, the files exist and may not be replaced, or are no evaluation.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"--out {out} is no folder: name one, or leave it out for the folder of the predictions")
    if any(path is not None and os.path.realpath(path) == os.path.realpath(out) for path in inputs):
        raise UserError(f"--out {out} is what the command reads: choose another folder for the evaluation")
    kind = read_json(out / MANIFEST, "a manifest").get("kind") if (out / MANIFEST).is_file() else None
    if kind not in (None, PREDICTIONS.name, EVALUATION.name):
        raise UserError(f"--out {out} is a {kind}: choose another folder for the evaluation")
    for name in (FILE, CLAIMS):
        check_output_file(out / name, (b"{",), overwrite=overwrite, inputs=inputs)
        if (out / name).exists() and not _written_by_evaluate(out / name):
            raise UserError(f"--out {out}: {name} is none that clinragen evaluate wrote, so it is left alone: move it")
    path = out / FILE
    return _todays_names(read_json(path, "an evaluation")) if path.is_file() else None


def _written_by_evaluate(path: Path) -> bool:
    """Whether a file looks like an evaluation of this or an earlier version."""
    try:
        if path.name == FILE:
            return {"predictions", "systems"} <= read_json(path, "an evaluation").keys()
        with path.open(encoding="utf-8") as lines:
            row = json.loads(lines.readline(_LONGEST_LINE))
        return isinstance(row, dict) and {"stay_id", *RATIONALE_KINDS} <= row.keys()
    except (UserError, ValueError, RecursionError):
        return False


def lost_controls(before: dict[str, Any] | None, evaluation: EvaluationFile) -> list[str]:
    """Controls of an earlier evaluation of the same predictions that a new one lacks."""
    if before is None or not _same(before, evaluation, "predictions") or not _same(before, evaluation, "cohort"):
        return []
    systems = before["systems"] if isinstance(before["systems"], dict) else {}
    return [name for name in CONTROLS if name in systems and name not in evaluation["systems"]]


def _same(before: dict[str, Any], evaluation: EvaluationFile, part: Literal["predictions", "cohort"]) -> bool:
    entry = before.get(part)
    return isinstance(entry, dict) and entry.get("sha256") == evaluation[part].get("sha256")


def keep_controls(path: Path, before: dict[str, Any] | None, evaluation: EvaluationFile) -> EvaluationFile:
    """The new evaluation, with those controls of an earlier one of the same predictions that were not run again.

    Raises:
        UserError: they used other bootstrap replicates, so they cannot be compared with the new scores.
    """
    absent = lost_controls(before, evaluation)
    if not absent or before is None:
        return evaluation
    if before.get("bootstrap") != evaluation["bootstrap"] or differs(before, _SHAPE):
        bootstrap = before.get("bootstrap")
        settings = bootstrap if isinstance(bootstrap, dict) else {}
        options = [f"--{key} {settings[key]}" for key in ("replicates", "seed") if key in settings]
        raise UserError(
            f"{path}: this run would lose the controls {' and '.join(absent)}, which were evaluated with "
            f"{' '.join(options) or 'an earlier version'}: pass the same, run them again, or choose another --out"
        )
    systems = {name: before["systems"][name] for name in absent}
    costs = {name: before["cost_of_control"][name] for name in absent if name in before["cost_of_control"]}
    return {
        **evaluation,
        "systems": evaluation["systems"] | systems,
        "cost_of_control": evaluation["cost_of_control"] | costs,
    }


def _alien(evaluation: EvaluationFile) -> str | None:
    """The first inconsistency between parts of the right shape."""
    if set(evaluation["systems"]) - set(_SYSTEMS):
        return "systems holds one that is unknown"
    if set(evaluation["cost_of_control"]) - set(CONTROLS):
        return "cost_of_control holds a control that is unknown"
    labels = {row["key"] for row in evaluation["phenotypes"]}
    if set(evaluation["left_out"]) - labels:
        return "left_out names a label that is not among the phenotypes"
    return _absent(evaluation)


def _tabled(evaluation: EvaluationFile) -> Iterator[tuple[str, Iterable[str], Mapping[str, object]]]:
    """The scores by kind of label, site and group that are shown: where they stand, their names, the scores."""
    for row in (evaluation.get("by_label") or {"kinds": []})["kinds"]:
        yield "by_label.kinds.scores", KIND_SCORES, row["scores"]
    for sites in (evaluation.get("sites") or {"tables": []})["tables"]:
        for site in sites["rows"]:
            if site["scores"] is not None:
                yield "sites.tables.rows.scores", SITE_SCORES, site["scores"]
    for groups in (evaluation.get("groups") or {"tables": []})["tables"]:
        for group in groups["rows"]:
            if group["scores"] is not None:
                yield "groups.tables.rows.scores", GROUP_SCORES, group["scores"]
                yield "groups.tables.rows.gaps", GROUP_SCORES, group["gaps"] or {}


def _absent(evaluation: EvaluationFile) -> str | None:
    """The first entry that is looked up by name and is not there."""
    systems, claims = evaluation["systems"], evaluation["claims"]
    looked_up: list[tuple[str, Iterable[str], Mapping[str, object]]] = [
        ("systems", ("model",), systems),
        *((f"systems.{name}.scores", METRICS, system["scores"]) for name, system in systems.items()),
        ("claims", RATIONALE_KINDS, claims),
        *((f"claims.{kind}", CLAIM_ROWS[kind], claims.get(kind, {})) for kind in RATIONALE_KINDS),
        *_tabled(evaluation),
    ]
    missing = (
        f"{section}.{name}: is missing"
        for section, names, present in looked_up
        for name in names
        if name not in present
    )
    return next(missing, None)
