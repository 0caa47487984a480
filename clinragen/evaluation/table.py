"""An evaluation as tables for the terminal."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clinragen import tasks
from clinragen.evaluation.rows import Coverage, EvaluationFile, Interval, LabelSets, ReasonsPart
from clinragen.schema import RATIONALE_KINDS

TITLES = {"zeroed": "the model with zeroed series", "permuted": "the model with permuted series"}
#: A ratio beyond this says only that random evidence is worth next to nothing.
MOST_TIMES = 1000
_COLUMNS = {
    "macro_auroc": "macro\nAUROC",
    "macro_auprc": "macro\nAUPRC",
    "written_micro_f1": "micro F1\nwritten",
    "written_macro_f1": "macro F1\nwritten",
    "thresholded_micro_f1": "micro F1\nthreshold",
    "ece": "calibr.\nerror",
}


def number(value: float | None) -> str:
    """Three decimals without the leading zero, as usual in papers; an en dash if undefined.

    >>> number(0.8512), number(-0.05), number(1.0), number(None)
    ('.851', '−.050', '1.000', '–')
    """
    if value is None:
        return "–"
    text = f"{abs(value):.3f}"
    return ("−" if value < 0 and float(text) else "") + (text[1:] if text.startswith("0") else text)


def bounds(score: Interval) -> str:
    """``.820–.879``, ``−.073 to .039``, or nothing."""
    if score["low"] is None:
        return ""
    return f"{number(score['low'])}{' to ' if score['low'] < 0 else '–'}{number(score['high'])}"


def with_interval(score: Interval) -> str:
    """``.851 (.820–.879)``."""
    return number(score["value"]) + (f" ({bounds(score)})" if bounds(score) else "")


def _stacked(score: Interval) -> str:
    """The value above its interval."""
    return f"{number(score['value'])}\n{bounds(score)}"


def render(evaluation: EvaluationFile, *, per_phenotype: bool = True) -> RenderableType:
    """Tables of systems, differences to controls, phenotypes, and texts."""
    remarks = [Text(f"Note: {remark}", style="yellow") for remark in evaluation["predictions"].get("remarks") or []]
    parts: list[RenderableType] = [*remarks, _systems(evaluation), *_costs(evaluation)]
    if evaluation["left_out"]:
        names = {row["key"]: row["name"] for row in evaluation["phenotypes"]}
        listed = "; ".join(names[key] for key in evaluation["left_out"])
        parts.append(Text(f"Left out of AUROC and AUPRC, one class only: {listed}"))
    if per_phenotype:
        parts.append(_phenotypes(evaluation))
    if sets := evaluation.get("label_sets"):
        parts.append(Text(sets_text(sets)))
    parts += [_texts(evaluation), _claims(evaluation)]
    if _task(evaluation).argued:
        parts.append(Text(coverage_text(evaluation["coverage"])))
        parts += [
            Text(f"{line.title}: {line.value}; {line.meaning}") for line in reason_lines(evaluation.get("reasons"))
        ]
    return Group(*parts)


def _systems(evaluation: EvaluationFile) -> Table:
    cohort = evaluation["cohort"]
    splits = ", ".join(f"{count} {name}" for name, count in cohort["splits"].items())
    table = Table(
        title=f"{cohort['stays']} stays of {cohort['patients']} patients ({splits}); 95 % interval by patient"
    )
    table.add_column("", no_wrap=True)
    for title in _COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name, system in evaluation["systems"].items():
        scores = [system["scores"][metric] for metric in _COLUMNS]
        table.add_row(system["title"], *map(_stacked, scores), style="bold" if name == "model" else None)
    return table


def _costs(evaluation: EvaluationFile) -> list[Text]:
    return [
        Text(f"macro AUROC of the model minus that of {TITLES[name]}: {with_interval(cost['macro_auroc'])}")
        for name, cost in evaluation["cost_of_control"].items()
        if "macro_auroc" in cost
    ]


def _phenotypes(evaluation: EvaluationFile) -> Table:
    task = _task(evaluation)
    table = Table(title=task.panel, show_edge=False)
    table.add_column("phenotype" if task.name == tasks.DEFAULT else "label", no_wrap=True)
    stays = evaluation["cohort"]["stays"]
    ineligible = any(row.get("n_eligible", stays) < stays for row in evaluation["phenotypes"])
    counts = ("positive", "eligible") if ineligible else ("positive",)
    for title in (*counts, "share", "AUROC", "AUPRC", "F1\nwritten", "F1\nthreshold", *task.scorers):
        table.add_column(title, justify="right", no_wrap=True)
    for row in evaluation["phenotypes"]:
        table.add_row(
            row["name"],
            str(row["n_positive"]),
            *([str(row.get("n_eligible", stays))] if ineligible else []),
            number(row["prevalence"]),
            with_interval(row["auroc"]),
            number(row["auprc"]),
            number(row.get("written_f1")),
            number(row["thresholded_f1"]),
            *(number((row.get("scores") or {}).get(name)) for name in task.scorers),
        )
    return table


def _texts(evaluation: EvaluationFile) -> Table:
    texts = evaluation["text"]
    against = f"teacher {texts['teacher']}" if texts["teacher"] else "no teacher to compare with"
    table = Table(title=f"Rationales ({against}); {evaluation['parse_rate']:.1%} of outputs parsed", show_edge=False)
    table.add_column("")
    for title in ("ROUGE-L", "BLEU-4", "words", "empty", "too long", "distinct-1", "distinct-2", "distinct-4"):
        table.add_column(title, justify="right")
    for kind in RATIONALE_KINDS:
        row = texts[kind]
        table.add_row(
            kind,
            number(row["rouge_l"]),
            number(row["bleu"]),
            f"{row['words']['mean']:.0f}",
            str(row["empty"]),
            str(row["too_long"]),
            *map(number, (row["distinct_1"], row["distinct_2"], row["distinct_4"])),
        )
    return table


_CLAIMS = {
    "finding": "findings",
    "series": "measurements",
    "diagnosis": "diagnoses",
    "all": "all",
}


def _claims(evaluation: EvaluationFile) -> Table:
    table = Table(title="Claims of the rationales against the chart; 95 % interval by patient", show_edge=False)
    table.add_column("", no_wrap=True)
    for title in (
        "claims per\nrationale",
        "states\nabsence",
        "supported",
        "contradicted",
        "not in\nthe chart",
        "rationales\nwholly supported",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for kind, rows in evaluation["claims"].items():
        for about, row in rows.items():
            per = row["per_rationale"]["value"]
            shares = [_stacked(share) for share in (row["supported"], row["contradicted"], row["not_in_the_chart"])]
            whole = _stacked(row["wholly_supported"]) if about == "all" else ""
            table.add_row(
                f"{kind}: {_CLAIMS[about]}",
                f"{per:.1f}",
                str(row["absences"]),
                *shares,
                whole,
                style="bold" if about == "all" else None,
            )
    return table


def _task(evaluation: EvaluationFile) -> tasks.Task:
    return tasks.load(evaluation.get("task") or tasks.DEFAULT)


def sets_text(sets: LabelSets) -> str:
    """The sets of possible labels, as a sentence.

    >>> sets_text({"promised": 0.9, "held": {"value": 0.91, "low": 0.88, "high": 0.94},
    ...            "size": {"value": 6.2, "low": 5.9, "high": 6.5}})
    'Sets of possible labels hold .910 (.880–.940) of those of a stay, promised .900, with 6.2 labels on average'
    """
    held, size = with_interval(sets["held"]), sets["size"]["value"]
    return (
        f"Sets of possible labels hold {held} of those of a stay, promised {number(sets['promised'])}, with "
        f"{size or 0:.1f} labels on average"
    )


def coverage_text(coverage: Coverage) -> str:
    """Coverage as one line of text, with those that rest on little, and those without a ground of which it is said.

    >>> coverage_text({"listed": 205, "grounded": 123, "share": {"value": 0.6, "low": 0.5, "high": 0.7}})
    'Coverage: 123 of 205 listed diagnoses with a stated ground: .600 (.500–.700)'
    """
    counts = f"{coverage['grounded']} of {coverage['listed']} listed diagnoses with a stated ground"
    line = f"Coverage: {counts}: {with_interval(coverage['share'])}"
    if "marked" in coverage and "on_circumstances" in coverage:
        left = coverage["listed"] - coverage["grounded"]
        line += f"; {coverage['on_circumstances']} of these on age or place of treatment alone"
        line += f", {unknown} on what is no known sign" if (unknown := coverage.get("on_estimates")) else ""
        line += f". Of the {left} others, {coverage['marked']} are said to have none" if left else ""
    return line


class ReasonLine(NamedTuple):
    """A measure of the reasons that rationales give: its name, its value with interval, and what it means."""

    title: str
    value: str
    meaning: str


def reason_lines(reasons: ReasonsPart | None) -> list[ReasonLine]:
    """The measures of ``reasons`` in an evaluation, for terminal and report; none for an older one."""
    if not reasons:
        return []
    lines = []
    if causes := reasons["causes"]:
        counts = f"{causes['named']} of {causes['true_positives']} true positives whose condition shows in the chart"
        lines.append(ReasonLine("Cause recall", with_interval(causes["recall"]), f"a true cause is named for {counts}"))
    if worth := reasons["worth"]:
        over = f"{worth['diagnoses']} diagnoses of {worth['stays']} stays"
        chance = f"{number(worth['random']['value'])} without as much other evidence drawn at random"
        times = worth["times_random"]["value"]
        ratio = f", {times:.0f} times as much" if times is not None and times < MOST_TIMES else ""
        measures: tuple[tuple[str, Interval, str], ...] = (
            ("Salience", worth["salience"], f"share of the evidence by occlusion that is cited, over {over}"),
            (
                "Comprehensiveness",
                worth["comprehensiveness"],
                f"probability lost without the cited evidence, {chance}{ratio}",
            ),
            (
                "More than random",
                worth["more_than_random"],
                "share of diagnoses whose cited evidence is worth more than that",
            ),
            ("Sufficiency", worth["sufficiency"], "share of the probability kept when only the cited evidence is left"),
        )
        lines += [ReasonLine(title, with_interval(score), meaning) for title, score, meaning in measures]
    lines += [
        ReasonLine(
            "Consistency",
            with_interval(reasons["consistency"]),
            "diagnoses both argued for and called by the probabilities, of those that are either",
        ),
        ReasonLine(
            "Specificity",
            with_interval(reasons["specificity"]),
            "share of stays whose own rationales hold better than those of another stay, .5 by chance",
        ),
    ]
    return lines
