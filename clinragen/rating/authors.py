"""Whose work is rated: rationales, suggestions of drugs, or answers to questions, in a common form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clinragen.catalog import variables
from clinragen.cohort.folder import Cohort
from clinragen.cohort.sections import section_title, sections_by_stay
from clinragen.drugs import drug_classes
from clinragen.errors import UserError
from clinragen.evaluation.inputs import Predictions, Truth, load_predictions, load_truth, teacher_rationales
from clinragen.questions.answered import Answered, StoredAnswers
from clinragen.rating.criteria import Rated
from clinragen.rating.items import Argument, Author
from clinragen.reporting.places import section_of
from clinragen.reporting.prescriptions import StoredPrescriptions

_MOST_VALUES = 12  # measurements of an answer's evidence that are named


@dataclass(frozen=True)
class Compared:
    """What several authors wrote about the same stays.

    Attributes:
        authors: whose work is compared.
        diagnoses: of each stay, what takes turns when stays are drawn: diagnoses, classes of drugs, kinds of questions.
        rated: what the authors wrote.
        further: (section, text) of stays that raters see before the note.
    """

    authors: Sequence[Author]
    diagnoses: Mapping[int, Sequence[str]]
    rated: Rated = "rationales"
    further: Mapping[int, list[tuple[str, str]]] = field(default_factory=dict)


def rationales(predictions: Predictions, truth: Truth, teacher: str | None, against: Sequence[Path]) -> Compared:
    """The rationales of a student, a teacher, and baselines.

    Args:
        predictions: the student's.
        truth: the cohort's rows for them.
        teacher: name of a rationale set of the cohort, if one is compared.
        against: folders of other predictions of the same stays.

    Raises:
        UserError: no such rationale set, or predictions of another cohort.
    """
    authors = [of_predictions("student", predictions)]
    if teacher is not None:
        authors.append(of_teacher(teacher, predictions, truth))
    for name, folder in zip(_numbered("baseline", len(against)), against, strict=True):
        other = load_predictions(folder)
        load_truth(other, truth.cohort, needs_labels=False)  # raises if it is of another cohort
        authors.append(of_predictions(name, other))
    return Compared(authors, _diagnoses(predictions, truth))


def prescriptions(folders: Sequence[Path], cohort: Cohort) -> Compared:
    """Suggestions of drugs, and those of baselines.

    Args:
        folders: of the suggestions, the baselines after the first.
        cohort: the one they were made from.

    Raises:
        UserError: a folder that holds none, or those of another cohort.
    """
    stored = [StoredPrescriptions.load(folder, cohort) for folder in folders]
    names = ["suggestions", *_numbered("baseline", len(folders) - 1)]
    authors = [of_prescriptions(name, each) for name, each in zip(names, stored, strict=True)]
    first = {stay: argument.diagnoses[:1] for stay, argument in authors[0].arguments.items()}
    ordered = {stay: [("drugs_ordered_so_far", text)] for stay, text in _in_force_texts(stored[0]).items()}
    return Compared(authors, first, "prescriptions", ordered)


def answers(paths: Sequence[Path], cohort: Cohort, seed: int) -> Compared:
    """Answers to questions, and those of baselines to the same ones: of each stay one question, its kind drawn first.

    Args:
        paths: folders or files of the answers, the baselines after the first.
        cohort: the one that was asked about.
        seed: decides which question of a stay is shown.

    Raises:
        UserError: a file that holds none, or those about another cohort.
    """
    stored = [StoredAnswers.load(path, cohort).blinded for path in paths]
    by_question = [
        {stay: {one.question: one for one in reversed(rows)} for stay, rows in each.rows.items()} for each in stored
    ]
    generator = np.random.default_rng(seed)
    kinds: dict[int, list[str]] = {}
    chosen: dict[int, str] = {}
    for stay, rows in stored[0].rows.items():
        shared = [one for one in rows if all(one.question in each.get(stay, {}) for each in by_question)]
        if shared:
            kind = generator.choice(sorted({_kind(one) for one in shared}))
            questions = list(dict.fromkeys(one.question for one in shared if _kind(one) == kind))
            kinds[stay], chosen[stay] = [str(kind)], str(generator.choice(questions))
    sections = _sections(cohort, list(chosen))
    names = ["answers", *_numbered("baseline", len(paths) - 1)]
    authors = [
        Author(
            name,
            str(path),
            {
                stay: Argument(
                    [*_before(each.rows[stay], question), question],
                    answers[stay][question].text,
                    _evidence(answers[stay][question], sections.get(stay, [])),
                )
                for stay, question in chosen.items()
            },
        )
        for name, path, each, answers in zip(names, paths, stored, by_question, strict=True)
    ]
    return Compared(authors, kinds, "answers")


def of_predictions(name: str, predictions: Predictions) -> Author:
    """The author of a predictions folder: it argues for the diagnoses that it lists."""
    titles = list(predictions.labels.names.values())
    arguments = {}
    for row, stay in enumerate(predictions.stay_ids.tolist()):
        texts = predictions.rationales(row)
        if any(text.strip() for text in texts.values()):
            listed = [title for title, called in zip(titles, predictions.system.listed[row], strict=True) if called]
            arguments[stay] = Argument(listed, texts["note"], texts["series"])
    return Author(name, str(predictions.root), arguments)


def of_teacher(name: str, predictions: Predictions, truth: Truth) -> Author:
    """A teacher, who argues for the recorded diagnoses.

    Args:
        name: of the rationale set.
        predictions: whose stays and labels they are.
        truth: the labels.

    Raises:
        UserError: no such rationale set, or a cohort without labels.
    """
    if not truth.labelled:
        raise UserError(
            f"{truth.cohort.paths.root} has no labels, for which teacher '{name}' argues: leave --teacher out"
        )
    texts = teacher_rationales(truth.cohort, name, predictions.stay_ids)
    titles = list(predictions.labels.names.values())
    arguments = {}
    for row, stay in enumerate(predictions.stay_ids.tolist()):
        note, series = texts["note"][row], texts["series"][row]
        if note is None or series is None:
            continue
        recorded = truth.gold[row] & truth.eligible[row]
        arguments[stay] = Argument(
            [title for title, present in zip(titles, recorded, strict=True) if present], note, series
        )
    return Author("teacher", name, arguments)


def of_prescriptions(name: str, stored: StoredPrescriptions) -> Author:
    """The author of suggestions of drugs, without numbers and names that tell how it came to them."""
    arguments = {}
    for stay, row in stored.rows.items():
        suggestions = row["suggestions"]
        grounds = [
            f"{one['name']}: {ground['text']}" + (f" [{ground['source']}]" if ground["kind"] == "treats" else "")
            for one in suggestions
            for ground in one["grounds"]
        ]
        cautions = [
            f"{one['name']}, {member['ingredient']}: {caution['severity']}: {caution['because']} [{caution['source']}]"
            for one in suggestions
            for member in one["members"]
            for caution in member["cautions"]
        ]
        arguments[stay] = Argument([_class(one) for one in suggestions], "\n".join(grounds), "\n".join(cautions))
    return Author(name, str(stored.root), arguments)


def _numbered(name: str, count: int) -> list[str]:
    """A name for each of some baselines."""
    return [name] if count == 1 else [f"{name} {number}" for number in range(1, count + 1)]


def _diagnoses(predictions: Predictions, truth: Truth) -> dict[int, list[str]]:
    """The diagnoses of each stay, by which stays are drawn: the recorded ones or, without labels, the student's."""
    present: np.ndarray = truth.gold & truth.eligible if truth.labelled else predictions.system.listed
    keys = list(predictions.labels)
    return {
        int(stay): [key for key, holds in zip(keys, row, strict=True) if holds]
        for stay, row in zip(predictions.stay_ids, present, strict=True)
    }


def _in_force_texts(stored: StoredPrescriptions) -> dict[int, str]:
    """What had been ordered in each stay, in words: nobody could judge what to start without it."""
    names = drug_classes()
    return {
        stay: "; ".join(names.get(str(key), str(key)) for key in row["in_force"])
        or ("nothing" if row["orders_known"] else "not known: the hospital may send no orders")
        for stay, row in stored.rows.items()
    }


def _class(suggestion: Mapping[str, Any]) -> str:
    """A class with its usual ingredients."""
    members = [member["ingredient"] for member in suggestion["members"]]
    return f"{suggestion['name']} ({', '.join(members)})" if members else suggestion["name"]


def _kind(one: Answered) -> str:
    """What a question asks for, or why it was refused."""
    return one.queries[0].partition(" ")[0] if one.queries else one.name


def _before(rows: Sequence[Answered], question: str) -> list[str]:
    """The question that was asked before this one, from which it may go on."""
    position = next(number for number, one in enumerate(rows) if one.question == question)
    return [f"before: {rows[position - 1].question}"] if position else []


def _sections(cohort: Cohort, stays: list[int]) -> dict[int, list[tuple[str, str]]]:
    return sections_by_stay(cohort.notes.filter(pl.col("stay_id").is_in(stays)), layout=True, whole=True)


def _evidence(one: Answered, sections: Sequence[tuple[str, str]]) -> str:
    """What an answer rests on and what was searched, in words, without a word on who read the question."""
    lines = []
    for group in one.evidence:
        measured: dict[str, list[str]] = {}
        for cited in group:
            if "variable" in cited and (spec := variables().get(str(cited["variable"]))) is not None:
                measured.setdefault(spec.label, []).append(f"{spec.format(cited['value'])} at hour {cited['hour']:g}")
            elif "section" in cited and (index := section_of(sections, cited, one.text)) is not None:
                name, text = sections[index]
                words = " ".join(text[cited["start"] : cited["end"]].split())
                lines.append(f"“{words}” in {section_title(name).lower()}")
        for label, values in measured.items():
            more = f", and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
            lines.append(f"{label}: {', '.join(values[:_MOST_VALUES])}{more}")
    return "\n".join([*lines, *(f"searched: {each}" for each in one.searched)])
