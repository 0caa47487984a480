"""The report's folder: ``index.html`` and one page per stay, each a single file without external resources.

Patient text is untrusted. Jinja escapes everything, and invisible characters are shown (``visible``); inserted markup
is either our own style and script, or SVG made of numbers and escaped names. In addition the Content-Security-Policy of
every page allows only one style and one script, by their hashes, so that even injected markup could not load or run
anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clinragen import __version__
from clinragen.cohort.sections import section_title, sections_by_stay
from clinragen.errors import UserError
from clinragen.evaluation import faithfulness
from clinragen.evaluation.faithfulness import StayClaims
from clinragen.evaluation.inputs import Contribution, Predictions, Truth, teacher_rationales
from clinragen.evaluation.rows import EvaluationFile
from clinragen.evaluation.stored import load_evaluation
from clinragen.evaluation.table import bounds, number, reason_lines
from clinragen.knowledge.graph import ConceptGraph
from clinragen.outputs import REPORT, output_folder
from clinragen.reporting import charts, views
from clinragen.reporting.cases import Case, CaseFile
from clinragen.reporting.verdicts import claim_text
from clinragen.reporting.visible import finalize, marked_up
from clinragen.verification.claims import STANDINGS


@dataclass(frozen=True)
class ReportInput:
    """Input of a report. ``claims``: those of each prediction; ``nodes``: attributes of the graph's nodes by id;
    ``graph``: gives the warrants of grounds, and is left out for the site without cases."""

    predictions: Predictions
    truth: Truth
    claims: list[StayClaims]
    nodes: Mapping[str, Mapping[str, Any]]
    evaluation: EvaluationFile | None
    teacher: str | None
    graph: ConceptGraph | None = None


def check_evaluation(path: Path, predictions: Predictions) -> EvaluationFile:
    """The evaluation, if it belongs to these predictions.

    Raises:
        UserError: no evaluation, or of other predictions.
    """
    evaluation = load_evaluation(path)
    if evaluation["predictions"]["sha256"] != predictions.table_hash:
        raise UserError(f"{path} evaluates other predictions than {predictions.root}: run clinragen evaluate again")
    return evaluation


def write_report(
    report: ReportInput, out: Path, *, overwrite: bool = False, progress: Callable[[], None] = lambda: None
) -> int:
    """Write the site and return the number of stays.

    Args:
        report: content of the report.
        out: folder to write.
        overwrite: replace an existing folder.
        progress: called after each stay.

    Raises:
        UserError: ``out`` exists and may not be replaced.
    """
    environment = _environment()
    stay_page, index_page = environment.get_template("stay.html"), environment.get_template("index.html")
    order = [int(stay) for stay in sorted(report.predictions.stay_ids)]
    with output_folder(out, REPORT, overwrite=overwrite) as folder:
        (folder / "stays").mkdir()
        rows = []
        for position, view in enumerate(_views(report)):
            page = stay_page.render(
                stay=view,
                task=report.predictions.task,
                before=order[position - 1] if position else None,
                after=order[position + 1] if position + 1 < len(order) else None,
                provenance=_provenance(report),
                teacher=report.teacher,
                remarks=report.predictions.manifest.remarks or [],
            )
            (folder / "stays" / f"{view.stay_id}.html").write_text(page, encoding="utf-8")
            rows.append(_row(view))
            progress()
        page = index_page.render(
            rows=rows,
            task=report.predictions.task,
            names=list(report.predictions.labels.names.values()),
            also=[" ".join((key, *label.published)) for key, label in report.predictions.labels.items()],
            splits=sorted({row["split"] for row in rows}),
            complaints=any(row["complaint"] for row in rows),
            parse_rate=float(report.predictions.parsed.mean()),
            manifest=report.predictions.manifest,
            remarks=report.predictions.manifest.remarks or [],
            evaluation=report.evaluation,
            reliability=_reliability(report.evaluation),
            reasons=reason_lines(report.evaluation.get("reasons")) if report.evaluation else [],
            provenance=_provenance(report),
        )
        (folder / "index.html").write_text(page, encoding="utf-8")
    return len(rows)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clinragen.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    templates = files("clinragen.reporting") / "templates"
    style = (templates / "style.css").read_text(encoding="utf-8")
    script = (templates / "index.js").read_text(encoding="utf-8")
    environment.globals |= {
        "style": Markup(style),
        "style_hash": _source_hash(style),
        "script": Markup(script),
        "script_hash": _source_hash(script),
        "version": __version__,
    }
    environment.filters |= {"number": number, "bounds": bounds, "flatten": views.flatten, "shown": marked_up}
    return environment


def _source_hash(text: str) -> str:
    """The hash source of Content-Security-Policy level 2."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _views(report: ReportInput) -> Iterator[views.StayView]:
    """The pages' content in order of stay_id."""
    predictions, truth = report.predictions, report.truth
    stays = pl.Series("stay_id", predictions.stay_ids)
    series = _by_stay(truth.cohort.series.filter(pl.col("stay_id").is_in(stays.implode())).sort("stay_id", "hour"))
    notes = sections_by_stay(
        truth.cohort.notes.filter(pl.col("stay_id").is_in(stays.implode())), layout=True, whole=True
    )
    taught = teacher_rationales(truth.cohort, report.teacher, predictions.stay_ids) if report.teacher else {}
    names = predictions.labels.names
    system = predictions.system
    grounded = faithfulness.grounded(predictions, report.claims)
    rows = truth.stays.rows(named=True)
    for i in sorted(range(len(rows)), key=lambda i: rows[i]["stay_id"]):
        row = rows[i]
        sections = notes.get(row["stay_id"], [])
        rationales, marked = views.rationales_of(
            {"note": predictions.note_rationales[i], "series": predictions.series_rationales[i]},
            report.claims[i],
            sections,
            {kind: texts[i] for kind, texts in taught.items()},
            report.nodes,
        )
        explained = predictions.attributions.get(row["stay_id"], [])
        carried, hours = views.carried_of(explained, names.__getitem__, report.nodes)
        window = (row["prediction_time"] - row["intime"]).total_seconds() / 3600
        yield views.StayView(
            stay_id=row["stay_id"],
            age=views.age_text(row["age"]),
            sex=views.sex_text(row["sex"]),
            split=row["split"],
            intime=row["intime"],
            outtime=row["outtime"],
            prediction_time=row["prediction_time"],
            parsed=bool(predictions.parsed[i]),
            possible_from=predictions.manifest.possible_from,
            abstains=predictions.abstains[i] if predictions.abstains else [],
            complaint=next((" ".join(text.split()) for key, text in sections if key == "chief_complaint"), ""),
            diagnoses=views.diagnoses_of(
                list(names.values()),
                system.probabilities[i],
                system.thresholds,
                system.listed[i],
                truth.gold[i] if truth.labelled and truth.eligible[i].all() else None,
                grounded[i],
            ),
            rationales=rationales,
            sections=marked,
            groups=views.chart_groups(_series(series.get(row["stay_id"])), window, hours),
            concepts=views.concepts_of(predictions.concepts[i], report.nodes),
            carried=carried,
            cases=_cases(report, i, sections),
        )


def _cases(report: ReportInput, row: int, sections: Sequence[tuple[str, str]]) -> list[Case]:
    """The case for each diagnosis of a stay; none for tasks without diagnoses."""
    predictions, system = report.predictions, report.predictions.system
    if report.graph is None or not predictions.task.argued:
        return []
    keys, titles = list(predictions.labels), [section_title(key) for key, _ in sections]
    by_diagnosis: dict[str, list[Contribution]] = {}
    for one in predictions.contributions[row] if predictions.contributions else ():
        by_diagnosis.setdefault(one["diagnosis"], []).append(one)
    return CaseFile(
        texts=predictions.rationales(row),
        claims=report.claims[row],
        as_text=lambda claim: claim_text(claim, sections, titles, report.nodes),
        contributions=by_diagnosis,
        graph=report.graph,
    ).cases(
        dict(zip(keys, system.probabilities[row].tolist(), strict=True)),
        dict(zip(keys, system.thresholds.tolist(), strict=True)),
        [key for key, listed in zip(keys, system.listed[row], strict=True) if listed],
    )


def _by_stay(table: pl.DataFrame) -> dict[int, pl.DataFrame]:
    parts = table.partition_by("stay_id", as_dict=True, maintain_order=True)
    return {int(key[0]): part for key, part in parts.items()}


def _series(table: pl.DataFrame | None) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    by_variable: dict[str, tuple[list[float], list[float]]] = {}
    if table is not None:
        for hour, name, value in table.select("hour", "variable", "value").iter_rows():
            hours, values = by_variable.setdefault(name, ([], []))
            hours.append(hour)
            values.append(value)
    return dict(by_variable)


def _row(view: views.StayView) -> dict[str, Any]:
    """The row of a stay in the index."""
    judged = [d for d in view.diagnoses if d.verdict]
    judged.sort(key=lambda d: ("agrees", "extra", "missed", "uncoded").index(d.verdict))
    return {
        "stay_id": view.stay_id,
        "age": view.age,
        "sex": view.sex,
        "split": view.split,
        "complaint": view.complaint[:120],
        "diagnoses": judged,
        "abstains": bool(view.abstains),
        "written": " ".join(str(d.index) for d in judged if d.written),
        "recorded": " ".join(str(d.index) for d in judged if d.recorded),
        "n_recorded": view.count("agrees") + view.count("missed"),
        "extra": view.count("extra"),
        "missed": view.count("missed"),
        "f1": view.f1 if view.coded else None,
        "claims": view.claims(),
        **{standing.replace(" ", "_"): view.claims(standing) for standing in STANDINGS},
        "listed": view.written,
        "grounded": view.grounded,
    }


def _provenance(report: ReportInput) -> dict[str, list[tuple[str, str]]]:
    """Where the predictions come from, in groups."""
    manifest = report.predictions.manifest
    entries = manifest.to_json()
    apart = ("training", "thresholds", "labels", "label_set")
    cohort = {k: v for k, v in report.truth.cohort.manifest.items() if isinstance(v, str | int | float)}
    thresholds = {report.predictions.labels[k].name: f"{v:.3f}" for k, v in manifest.thresholds.items()}
    groups = {
        "Predictions": views.flatten({k: v for k, v in entries.items() if k not in apart}),
        "Training": views.flatten(manifest.training or {}),
        "Cohort": views.flatten(cohort),
        "Thresholds": views.flatten(thresholds),
    }
    return {title: rows for title, rows in groups.items() if rows}


def _reliability(evaluation: EvaluationFile | None) -> Markup | None:
    if evaluation is None:
        return None
    return charts.reliability_chart(evaluation["systems"]["model"]["calibration_curve"])
