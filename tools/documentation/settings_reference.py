"""The page of all settings: the keys of each kind of YAML file, from the dataclass that such a file is read into."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import docstring_parser
import yaml
from docstring_parser.common import DocstringStyle

from clinragen import config
from clinragen.teacher.settings import ModelSettings


@dataclass(frozen=True)
class Kind:
    """One kind of settings file.

    Attributes:
        group: the folder of ``configs/`` with the shipped ones.
        schema: module and dataclass that such a file is read into.
        about: the option that takes it.
        prefix: what stands before a key in ``--set``.
        shared: the keys of every language model are listed once, with the teacher's.
    """

    group: str
    schema: str
    about: str
    prefix: str = ""
    shared: bool = False


KINDS = (
    Kind("protocol", "mimic_prep.protocol.Protocol", "`mimic-prep SOURCE --protocol`"),
    Kind("fhir", "mimic_prep.releases.fhir.vocabulary.Mapping", "`mimic-prep fhir --codes`"),
    Kind("omop", "mimic_prep.releases.omop.settings.OmopSettings", "`mimic-prep omop --concepts`"),
    Kind("clif", "mimic_prep.releases.clif.settings.ClifSettings", "`mimic-prep clif --categories`"),
    Kind("meds", "mimic_prep.releases.meds.vocabulary.Codes", "`mimic-prep meds --codes`"),
    Kind("teacher", "clinragen.teacher.settings.TeacherSettings", "`clinragen teach --config`"),
    Kind("stage", "clinragen.stages.config.StageConfig", "`clinragen train STAGE`", "stage."),
    Kind("model", "clinragen.model.config.ModelConfig", "`clinragen train --model`", "model."),
    Kind("trainer", "clinragen.stages.config.TrainerConfig", "`clinragen train --trainer`", "trainer."),
    Kind("experiment", "clinragen.experiment.ExperimentConfig", "`clinragen experiment`"),
    Kind("federation", "clinragen.federation.manifest.FederationSettings", "`clinragen federate --config`"),
    Kind("contract", "clinragen.contracts.settings.ContractSettings", "`clinragen contract --config`"),
    Kind("zeroshot", "clinragen.zero_shot.settings.ZeroShotSettings", "`clinragen zeroshot --set`"),
    Kind("ask", "clinragen.dialogue.llm_prompts.ReaderSettings", "`clinragen ask --config`", shared=True),
    Kind(
        "question_teacher",
        "clinragen.dialogue.question_prompts.QuestionTeacherSettings",
        "`clinragen teach questions --config`",
        shared=True,
    ),
    Kind(
        "prescription",
        "clinragen.prescriber.settings.PrescriberSettings",
        "`clinragen prescribe --config`",
        shared=True,
    ),
)
_FIELD = re.compile(r"^    (?P<name>\w+): .*?(?:  # (?P<text>.+))?$")
_HEAD_KEY = re.compile(r"^# {3}(?P<names>\w+(?:, \w+)*)  +(?P<text>.+)$")
_KEY = re.compile(r"^(?P<name>\w+):.*?(?:\s# (?P<text>.+))?$")


def page() -> str:
    """What is put into the page, as Markdown: a section for each kind of file, with a table of its keys."""
    return "\n".join(part for kind in KINDS for part in _section(kind))


def _section(kind: Kind) -> Iterator[str]:
    module, _, name = kind.schema.rpartition(".")
    schema = getattr(import_module(module), name)
    yield f"## {kind.group}\n"
    about = inspect.cleandoc(schema.__doc__ or "").split("\n\nAttributes:")[0]
    yield _text(about) + "\n"
    shipped = [f"[{name}](../../configs/{kind.group}/{name}.yaml)" for name in config.names(kind.group)]
    override = f"; in `--set`, before each key: `{kind.prefix}`" if kind.prefix else ""
    yield f"Given to {kind.about}{override}. Shipped, with remarks: {', '.join(shipped)}.\n"
    listed = [entry for entry in fields(schema) if not (kind.shared and entry in fields(ModelSettings))]
    if kind.shared:
        yield "It has the keys of a language model, `structured` to `engine`, as [teacher](#teacher) lists them.\n"
    if listed:
        yield "| key | values | default | meaning |\n|---|---|---|---|"
        yield from _rows(schema, listed, "", kind.group)
        yield ""


def _rows(schema: type, listed: Sequence[Field[Any]], prefix: str, group: str) -> Iterator[str]:
    """The rows of a dataclass, those of the dataclasses in it under dotted keys."""
    path = config.CONFIG_ROOT / group / "default.yaml"
    shipped = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() and not prefix else {}
    types, explained = get_type_hints(schema), (_of_the_file(path) if shipped else {}) | explanations(schema)
    for entry in listed:
        kind = types[entry.name]
        inner = next((part for part in (kind, *get_args(kind)) if isinstance(part, type) and is_dataclass(part)), None)
        about = explained.get(entry.name, "")
        if inner is None or get_origin(kind) in (list, dict):
            yield f"| `{prefix}{entry.name}` | {_values(kind)} | {_default(entry, shipped)} | {_text(about)} |"
            continue
        about = about or inspect.cleandoc(inner.__doc__ or "").split("\n\nAttributes:")[0]
        default = "" if NoneType not in get_args(kind) else "none"
        yield f"| `{prefix}{entry.name}` | the keys below | {default} | {_text(about)} |"
        yield from _rows(inner, fields(inner), f"{prefix}{entry.name}.", group)


def explanations(schema: type) -> dict[str, str]:
    """What the source says of each field of a dataclass: in its docstring, or in the comment behind it."""
    explained: dict[str, str] = {}
    for parent in reversed(schema.__mro__):
        if not is_dataclass(parent):
            continue
        for line in inspect.getsource(parent).splitlines():
            if (matched := _FIELD.match(line)) and matched["text"] and not matched["text"].startswith(("type:", "fmt")):
                explained[matched["name"]] = matched["text"]
        for entry in docstring_parser.parse(parent.__doc__ or "", DocstringStyle.GOOGLE).params:
            explained |= {name.strip(): entry.description or "" for name in entry.arg_name.split(",")}
    return explained


def _of_the_file(path: Path) -> dict[str, str]:
    """What a file says of its keys: in a list at its head, or in the comments above them."""
    explained: dict[str, str] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    head = list(takewhile(lambda line: line.startswith("#"), lines))
    names: list[str] = []
    for line in head:
        if matched := _HEAD_KEY.match(line):
            names = matched["names"].split(", ")
            explained |= dict.fromkeys(names, matched["text"])
        elif names:
            explained |= {name: f"{explained[name]} {line.lstrip('# ')}" for name in names}
    above: list[str] = []
    for line in lines[len(head) :]:
        if line.startswith("#"):
            above.append(line.lstrip("# "))
            continue
        if matched := _KEY.match(line):
            about = matched["text"] or " ".join(above)
            explained |= {matched["name"]: about} if about else {}
        above = []
    return explained


def _values(kind: Any) -> str:
    """The values that a key takes."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if isinstance(kind, UnionType):
        return " or ".join("none" if part is NoneType else _values(part) for part in get_args(kind))
    if get_origin(kind) is list:
        inner = get_args(kind)[0]
        return f"list of {'entries (below)' if is_dataclass(inner) else _values(inner)}"
    if get_origin(kind) is dict:
        return "mapping"
    if is_dataclass(kind):
        return ", ".join(f"`{entry.name}`" for entry in fields(kind))
    return {int: "whole number", float: "number", str: "text", bool: "`true`, `false`"}.get(kind, "any")


def _default(entry: Field[Any], shipped: dict[str, Any]) -> str:
    """The default of a key: that of the shipped default file, or else of the dataclass."""
    value = entry.default if entry.default_factory is MISSING else entry.default_factory()
    value = shipped.get(entry.name, value)
    if (value and isinstance(value, list | dict)) or len(str(value)) > 60:
        return "as shipped"
    if value is MISSING or value == "???":
        return "required"
    if value is None or value in ("", [], {}):
        return "none" if value is None else "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _text(text: str) -> str:
    """Text of a docstring or comment in a cell of a table."""
    return " ".join(text.replace("``", "`").replace("|", "&#124;").split())
