"""Students of several tasks that share all weights but the label head, in memory and on the disk.

A student and its tasks are one folder: that of the student of the first task, as any is written, and in it
``tasks/NAME`` with what each task has of its own: its instruction and, if it has labels, labels and head.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from clinragen.artifacts import read_json, write_text
from clinragen.errors import UserError
from clinragen.label_sets import LabelSet, of_model
from clinragen.model.clinragen import ClinRaGen
from clinragen.tasks import DESCRIPTION, ListWording
from clinragen.tensors import write_tensors

WEIGHTS = "head.safetensors"
_HEAD = "head."


def for_task(model: ClinRaGen, labels: LabelSet, wording: ListWording, instruction: str) -> ClinRaGen:
    """A student of another task with an untrained head, which shares all other weights.

    Args:
        model: the student.
        labels: label set of the task, in the order of its logits.
        wording: wording of the list of labels.
        instruction: words that tell the task.
    """
    other = model.instructed(instruction)
    other.labels, other.wording = labels, wording
    other.head = model.new_head(labels)
    return other


def save_instruction(folder: Path, instruction: str, *, follows: bool = False) -> None:
    """Write the folder of a task without labels.

    Args:
        folder: of the task.
        instruction: words that tell it.
        follows: whether questions were learned as dialogues.
    """
    folder.mkdir(parents=True)
    _describe(folder, {"instruction": instruction, **({"follows": True} if follows else {})})


def learned_dialogues(folder: Path) -> bool:
    """Whether the task of a folder learned questions that go on from the one before."""
    return read_json(folder / DESCRIPTION, "a task of a student of several").get("follows") is True


def read_instruction(folder: Path) -> str:
    """The words that tell a task, of its folder.

    Raises:
        UserError: the file is missing or damaged.
    """
    instruction = read_json(folder / DESCRIPTION, "a task of a student of several").get("instruction")
    if not isinstance(instruction, str) or not instruction:
        raise UserError(f"{folder / DESCRIPTION} is damaged (instruction): train anew")
    return instruction


def save_head(model: ClinRaGen, folder: Path) -> None:
    """Write the folder of a task with labels: what this student does not share with those of other tasks."""
    folder.mkdir(parents=True)
    head = {name: tensor for name, tensor in model.weights().items() if name.startswith(_HEAD)}
    write_tensors(folder / WEIGHTS, head, {"format": "pt"})
    _describe(
        folder,
        {
            "instruction": model.instruction,
            "labels": model.labels.names,
            "label_set": model.labels.to_json(),
            "wording": asdict(model.wording),
            **({} if (cases := model.head.similar_cases) is None else {"similar_cases": cases.described()}),
        },
    )


def with_head(model: ClinRaGen, folder: Path) -> ClinRaGen:
    """The student of the task of a folder, which shares all other weights with the given one.

    Raises:
        UserError: missing or damaged files, or weights that do not fit.
    """
    described = read_json(folder / DESCRIPTION, "a task of a student of several")
    try:
        wording = ListWording(**described["wording"])
    except (KeyError, TypeError):
        raise UserError(f"{folder / DESCRIPTION} is damaged (wording): train anew") from None
    other = for_task(model, of_model(folder / DESCRIPTION), wording, read_instruction(folder))
    try:
        other.head.describe_similar_cases(described.get("similar_cases"))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError):
        raise UserError(f"{folder / DESCRIPTION} is damaged (similar_cases): train anew") from None
    other.head.to(model.language_model.embedding_weight.device)
    weights = folder / WEIGHTS
    try:
        other.load_weights(load_file(weights), _HEAD)
    except (OSError, RuntimeError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{weights} is damaged or does not fit its description ({first}): train anew") from None
    return other.eval()


def _describe(folder: Path, described: dict[str, object]) -> None:
    write_text(folder / DESCRIPTION, json.dumps(described) + "\n")
