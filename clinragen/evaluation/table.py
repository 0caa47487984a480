"""An evaluation as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clinragen import tasks
from clinragen.choices import Control
from clinragen.evaluation.rows import (
    Abstention,
    ByLabel,
    Coverage,
    EvaluationFile,
    GroupsPart,
    GroupTable,
    Interval,
    Intervals,
    LabelSets,
    ReasonsPart,
    SitesPart,
    SiteTable,
)
from clinragen.schema import RATIONALE_KINDS

CONTROL_TITLES: dict[Control, str] = {
    "zeroed": "the model with zeroed series",
    "permuted": "the model with permuted series",
    "reversed": "the model with series backwards in time",
    "emptied": "the model without notes",
    "labels_permuted": "a baseline that learned permuted labels (.5 but for chance)",
}
#: A ratio beyond this says only that random evidence is worth next to nothing.
MOST_TIMES = 1000
#: Scores by hospital, network and period that are shown; the file has more.
SITE_SCORES = {
    "macro_auroc": "macro AUROC",
    "micro_auroc": "micro AUROC",
    "thresholded_micro_f1": "micro F1, threshold",
}
#: Those by group that are shown.
GROUP_SCORES = ("macro_auroc", "thresholded_micro_f1")
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
        listed = "; ".join(_names(evaluation)[key] for key in evaluation["left_out"])
        parts.append(Text(f"Left out of AUROC and AUPRC, one class only: {listed}"))
    if per_phenotype:
        parts.append(_phenotypes(evaluation))
    if scored := evaluation.get("by_label"):
        parts += [Text(line) for line in by_label_lines(scored, _names(evaluation))]
        parts += [_by_kind(scored)] if scored["kinds"] else []
    if sets := evaluation.get("label_sets"):
        parts.append(Text(sets_text(sets)))
    if intervals := evaluation.get("intervals"):
        parts.append(Text(intervals_text(intervals)))
    if abstained := evaluation.get("abstention"):
        parts.append(Text(abstention_text(abstained, evaluation)))
    if placed := evaluation.get("sites"):
        parts += [_by_site(table, placed) for table in placed["tables"]]
    if groups := evaluation.get("groups"):
        parts += [_by_group(table, groups) for table in groups["tables"]]
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
        Text(f"macro AUROC of the model minus that of {title}: {with_interval(cost['macro_auroc'])}")
        for name, title in CONTROL_TITLES.items()
        if "macro_auroc" in (cost := evaluation["cost_of_control"].get(name, {}))
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


def _names(evaluation: EvaluationFile) -> dict[str, str]:
    """The names of the labels by key."""
    return {row["key"]: row["name"] for row in evaluation["phenotypes"]}


#: Scores by kind of label that are shown; those of the diagnoses are of what is listed.
KIND_SCORES = {"auroc": "AUROC", "auprc": "AUPRC", "precision": "precision", "recall": "recall", "f1": "F1"}


def _by_kind(part: ByLabel) -> Table:
    table = Table(title="Means by kind of label; 95 % interval by patient", show_edge=False)
    for position, title in enumerate(("kind", "labels", *KIND_SCORES.values())):
        table.add_column(title, justify="right" if position else "left", no_wrap=True)
    for row in part["kinds"]:
        table.add_row(row["kind"], str(row["labels"]), *(_stacked(row["scores"][score]) for score in KIND_SCORES))
    return table


def by_label_lines(part: ByLabel, names: Mapping[str, str]) -> list[str]:
    """How often a whole list is right, and which labels have no precision or no recall.

    >>> part = {"labels": {}, "undefined": {"precision": ["shock"], "ece": ["shock"]}, "kinds": [],
    ...         "subset_accuracy": {"value": 0.2, "low": 0.1, "high": 0.3}}
    >>> by_label_lines(part, {"shock": "shock"})
    ['Wholly right lists of diagnoses: .200 (.100–.300) of the stays', 'Without a precision, never listed: shock']
    """
    lines = [f"Wholly right lists of diagnoses: {with_interval(part['subset_accuracy'])} of the stays"]
    for score, reason in (("precision", "never listed"), ("recall", "no stay has it")):
        if keys := part["undefined"].get(score):
            lines.append(f"Without a {score}, {reason}: {'; '.join(names.get(key, key) for key in keys)}")
    return lines


def _by_site(sites: SiteTable, part: SitesPart) -> Table:
    """Scores by hospital, network or period; the largest sites first, periods in order."""
    table = Table(title=f"By {sites['by']}; 95 % interval by patient", caption=site_note(sites, part), show_edge=False)
    table.add_column(sites["by"], no_wrap=True)
    for title in ("stays", "patients", "labels", *SITE_SCORES.values()):
        table.add_column(title, justify="right", no_wrap=True)
    for row in sites["rows"]:
        scores = row["scores"]
        cells = ["–" if scores is None else with_interval(scores[score]) for score in SITE_SCORES]
        name = f"small ones: {sites['small']}" if row["name"] is None else row["name"]
        table.add_row(Text(name), *(str(row[count]) for count in ("stays", "patients", "labels")), *cells)
    return table


def site_note(sites: SiteTable, part: SitesPart) -> str:
    """What the figures by site do not show.

    >>> table = {"by": "hospital", "unknown": 3, "rows": [], "small": 2}
    >>> site_note(table, {"clock": "none", "fewest": 20, "tables": [table]}).split(". ")[1:]
    ['2 hospitals with fewer than 20 stays have no figures of their own', 'Of 3 stays the hospital is not known.']
    """
    by = sites["by"]
    lines = ["Macro AUROC is over the labels that the stays of a row carry in part, so it is over others in each."]
    if sites["small"]:
        many = f"1 {by}" if sites["small"] == 1 else f"{sites['small']} {by}s"
        ending = "has no figures of its own" if sites["small"] == 1 else "have no figures of their own"
        lines.append(f"{many} with fewer than {part['fewest']} stays {ending}.")
    if sites["unknown"]:
        lines.append(f"Of {sites['unknown']} stay{'s' * (sites['unknown'] > 1)} the {by} is not known.")
    return " ".join(lines)


def _by_group(groups: GroupTable, part: GroupsPart) -> Table:
    """Scores by age, sex, length of stay or care unit, and how far each group is from all others."""
    table = Table(
        title=f"By {groups['by']}; 95 % interval by patient", caption=group_note(groups, part), show_edge=False
    )
    for position, title in enumerate((groups["by"], "stays", *(SITE_SCORES[score] for score in GROUP_SCORES))):
        table.add_column(title, justify="right" if position else "left", no_wrap=True)
        if position > 1:
            table.add_column("gap", justify="right", no_wrap=True)
    for row in groups["rows"]:
        cells = []
        for score in GROUP_SCORES:
            cells += ["–", ""] if row["scores"] is None else [number(row["scores"][score]["value"])]
            cells += [] if row["gaps"] is None else [with_interval(row["gaps"][score])]
        table.add_row(row["name"], str(row["stays"]), *cells)
    return table


def group_note(groups: GroupTable, part: GroupsPart) -> str:
    """What the figures by group say.

    >>> group_note({"by": "sex", "unknown": 1, "rows": []}, {"fewest": 20, "tables": []}).split(". ")[1]
    'Of 1 stay the sex is not known.'
    """
    lines = ["The gap of a group is its score minus that of all other stays."]
    if any(row["scores"] is None for row in groups["rows"]):
        lines.append(f"Groups of fewer than {part['fewest']} stays are not scored.")
    if groups["unknown"]:
        lines.append(f"Of {groups['unknown']} stay{'s' * (groups['unknown'] > 1)} the {groups['by']} is not known.")
    return " ".join(lines)


def site_ranges(part: SitesPart | None) -> list[str]:
    """How much the scores differ by hospital, network and period, without their names: for a model card.

    >>> named = {"name": "x", "stays": 90, "patients": 80, "labels": 9}
    >>> at = lambda score: named | {"scores": dict.fromkeys(SITE_SCORES, score)}
    >>> rows = [at({"value": 0.7, "low": 0.6, "high": 0.8}), at({"value": 0.9, "low": 0.8, "high": 1.0})]
    >>> table = {"by": "network", "unknown": 0, "rows": rows, "small": 3}
    >>> site_ranges({"clock": "year", "fewest": 20, "tables": [table]})[0].split("; ")[0]
    'By network, of 2 with at least 20 stays: macro AUROC from .700 to .900'
    """
    if part is None:
        return []
    lines = []
    for table in part["tables"]:
        scored: list[dict[str, Interval]] = [row["scores"] or {} for row in table["rows"] if row["name"] is not None]
        ranges = []
        for score, title in SITE_SCORES.items():
            values = [value for scores in scored if (value := scores[score]["value"]) is not None]
            if values:
                ranges.append(f"{title} from {number(min(values))} to {number(max(values))}")
        lines.append(f"By {table['by']}, of {len(scored)} with at least {part['fewest']} stays: {'; '.join(ranges)}")
    return lines


def _texts(evaluation: EvaluationFile) -> Table:
    texts = evaluation["text"]
    against = f"teacher {texts['teacher']}" if texts["teacher"] else "no teacher to compare with"
    table = Table(title=f"Rationales ({against}); {evaluation['parse_rate']:.1%} of outputs parsed", show_edge=False)
    table.add_column("")
    likeness = ("ROUGE-L", "BLEU-4", *(("BERTScore F1",) if "encoder" in texts else ()))
    for title in (*likeness, "words", "empty", "too long", "distinct-1", "distinct-2", "distinct-4"):
        table.add_column(title, justify="right")
    if encoder := texts.get("encoder"):
        table.caption = f"BERTScore by {Path(encoder['folder']).name}, sha256 {encoder['sha256'][:12]}"
    for kind in RATIONALE_KINDS:
        row = texts[kind]
        table.add_row(
            kind,
            number(row["rouge_l"]),
            number(row["bleu"]),
            *((with_interval(row["bertscore"]["f1"]),) if "bertscore" in row else ()),
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


def intervals_text(intervals: Intervals) -> str:
    """The coverage of the intervals of probabilities, as a sentence."""
    return (
        f"Intervals of probabilities ({intervals['level']:.0%}, {number(intervals['width'])} wide on average) contain "
        f"the share that came true in {with_interval(intervals['inside'])} of {intervals['bins']} bins of labels, "
        f"where right ones would in {number(intervals['expected_inside'])}; within the error of so few stays in "
        f"{with_interval(intervals['within_error'])}"
    )


def abstention_text(abstained: Abstention, evaluation: EvaluationFile) -> str:
    """On how many stays the model abstains, why, and its scores with and without them."""
    stays = evaluation["cohort"]["stays"]
    if not abstained["stays"]:
        return f"The model abstains on none of {stays} stays"
    why = ", ".join(f"{row['reason']} {row['stays']}" for row in abstained["reasons"])
    line = f"The model abstains on {abstained['stays']} of {stays} stays ({why})"
    if abstained["answered"] is None:
        return line
    scores, shown = evaluation["systems"]["model"]["scores"], ("macro_auroc", "thresholded_micro_f1", "ece")
    compared = [
        f"{_COLUMNS[name].replace(chr(10), ' ')} {with_interval(abstained['answered'][name])} "
        f"(with them {number(scores[name]['value'])})"
        for name in shown
        if name in abstained["answered"]
    ]
    return f"{line}; without them {', '.join(compared)}"


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
