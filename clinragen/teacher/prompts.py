"""Prompts of LLM teachers: Jinja templates filled with exemplars, knowledge, the series in words and the fenced note.

The part that all stays share comes first, so that a server with a prefix cache reads it once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clinragen.artifacts import sha256_file, sha256_json
from clinragen.catalog import variables
from clinragen.chart import note_statements, series_statements
from clinragen.choices import RationaleKind
from clinragen.config import CONFIG_ROOT, load_yaml
from clinragen.errors import UserError
from clinragen.knowledge.graph import ConceptGraph
from clinragen.label_sets import LabelSet
from clinragen.teacher.cases import CaseSource, PromptCase
from clinragen.teacher.sanitize import sanitize
from clinragen.teacher.serialize import Bands, SeriesLine, serialized
from clinragen.teacher.settings import TeacherSettings
from clinragen.teacher.stays import StayRecord
from clinragen.teacher.templates import Templates, folders_of
from clinragen.teacher.tokens import Messages

SHIPPED = CONFIG_ROOT / "teacher" / "prompts"
OPENINGS: dict[RationaleKind, str] = {"note": note_statements.OPENING, "series": series_statements.OPENING}
MOST_WORDS: dict[RationaleKind, int] = {"note": note_statements.MOST_WORDS, "series": series_statements.MOST_WORDS}
#: An answer that shares this many consecutive words with the instructions is no rationale.
_ECHO = 8


@dataclass(frozen=True)
class Exemplar:
    """An invented stay and the rationales that a clinician would give for it, by kind."""

    stay: StayRecord
    rationales: dict[str, str]


def exemplars(path: Path, labels: LabelSet) -> list[Exemplar]:
    """The few-shot examples of a YAML file, for a cohort of these labels.

    Raises:
        UserError: the file is not of that form.
    """
    examples = []
    for number, entry in enumerate(load_yaml(path).get("exemplars") or [], start=1):
        try:
            cells = {str(key): [(float(h), float(v)) for h, v in rows] for key, rows in entry["cells"].items()}
            gold = [key for key in labels if key in entry["diagnoses"]]
            foreign = set(entry["diagnoses"]) - set(gold)
            if foreign and path.parent == SHIPPED:
                continue  # the cohort has other labels, which do not include the example's conclusions
            if unknown := set(cells) - set(variables()) | foreign:
                raise UserError(f"{path}: exemplar {number}: unknown {sorted(unknown)[0]!r}")
            stay = StayRecord(-number, gold, [(str(k), str(v)) for k, v in entry["sections"].items()], cells)
            examples.append(Exemplar(stay, {kind: str(entry[kind]) for kind in OPENINGS}))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"{path}: exemplar {number}: expected sections, cells, diagnoses, note and series; see the shipped file"
            ) from None
    return examples


class Prompts:
    """Fills the templates. The same stay, graph, settings and index always give the same prompt.

    Args:
        settings: of the teacher.
        graph: for knowledge and names.
        bands: statistical ones of the variables; None: reference ranges.
        cases: similar training stays to show; None: none are shown.

    Raises:
        UserError: a template is missing or broken.
    """

    def __init__(
        self,
        settings: TeacherSettings,
        graph: ConceptGraph,
        bands: Bands | None = None,
        cases: CaseSource | None = None,
    ) -> None:
        self.settings = settings
        self.graph = graph
        self._bands, self._cases = bands, cases
        self.folders = folders_of(settings.prompts, SHIPPED, "teacher")
        self._templates = Templates(self.folders)
        home = next(folder for folder in self.folders if (folder / "exemplars.yaml").exists())
        self._exemplars = exemplars(home / "exemplars.yaml", graph.labels)[: settings.exemplars]
        self._check()

    def _check(self) -> None:
        """Render all templates for an invented stay, so that errors appear before any request."""
        stay = StayRecord(
            0, list(self.graph.labels)[:1], [("history_of_present_illness", "Fever.")], {"heart_rate": [(1.0, 140.0)]}
        )
        invented = [PromptCase(("fever",), ("shock",))] if self._cases else []
        self._filled(stay, "note", structured=False, note_rationale="", explain=True, cases=invented)
        self._filled(stay, "series", structured=True, note_rationale=f"{OPENINGS['note']}, fever.", explain=True)
        self._templates.render("retry.j2", {"wrong": ["fever"]}, explain=True)

    @cached_property
    def version(self) -> str:
        """Hash of everything that affects a prompt, except the patient."""
        files = {
            path.name: sha256_file(path)
            for folder in reversed(self.folders)
            for path in folder.glob("*.*")
            if path.is_file() and (self._cases or path.name != _CASES)
        }
        shaping = {name: getattr(self.settings, name) for name in _SHAPING}
        if self._cases:
            shaping |= {"similar_cases": self.settings.similar_cases, "index": self._cases.identity}
        return sha256_json({"templates": files, "settings": shaping, "graph": self.graph.manifest.to_json()})

    def messages(
        self, stay: StayRecord, kind: RationaleKind, *, structured: bool, note_rationale: str = ""
    ) -> Messages:
        """System and user message for one rationale. ``note_rationale``: R_m, given when R_t is asked for.

        Raises:
            UserError: a template fails on this stay.
        """
        cases = self._cases.of(stay.stay_id) if self._cases else ()
        return self._filled(stay, kind, structured=structured, note_rationale=note_rationale, cases=cases)

    def _filled(
        self,
        stay: StayRecord,
        kind: RationaleKind,
        *,
        structured: bool,
        note_rationale: str,
        explain: bool = False,
        cases: Sequence[PromptCase] = (),
    ) -> Messages:
        fence = hashlib.sha256(f"{stay.stay_id}:{kind}".encode()).hexdigest()[:12]
        lines = serialized(stay.cells, self._bands)[: self.settings.series_lines]
        sections = shortened(stay.sections, self.settings.note_words)
        values: dict[str, Any] = {
            "kind": kind,
            "mode": self.settings.mode,
            "structured": structured,
            "fence": fence,
            "opening": OPENINGS[kind],
            "most_words": MOST_WORDS[kind],
            "diagnoses": self._named(stay.diagnoses),
            "labels": list(self.graph.labels.names.values()),
            "exemplars": [self._example(exemplar, kind) for exemplar in self._exemplars],
            "knowledge": self._knowledge(stay, lines),
            "sections": [(sanitize(name.replace("_", " "), fence), sanitize(text, fence)) for name, text in sections],
            "series_lines": [line.text for line in lines],
            "captions": [line.text for line in lines],  # the earlier name, for users' templates
            "note_rationale": sanitize(note_rationale, fence),
        }
        question = self._templates.render(f"{kind}.j2", values, explain=explain)
        if cases:
            shown = {"fence": fence, "cases": [case.fenced(fence) for case in cases]}
            chart = question.find(f"BEGIN PATIENT DATA {fence}")
            before, after = question[: max(chart, 0)], question[max(chart, 0) :]
            question = f"{before}{self._templates.render(_CASES, shown, explain=explain)}\n\n{after}"
        return [
            {"role": "system", "content": self._templates.render("system.j2", values, explain=explain)},
            {"role": "user", "content": question},
        ]

    def retry(self, messages: Messages, text: str, wrong: list[str]) -> Messages:
        """The same request, with the unsupported statements of the previous answer."""
        feedback = self._templates.render("retry.j2", {"wrong": wrong})
        return [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": feedback}]

    def echoed(self, text: str, messages: Messages) -> bool:
        """Whether an answer copies an example or a long part of the instructions, as small models do."""
        if any(text in exemplar.rationales.values() for exemplar in self._exemplars):
            return True
        instructions = f"{messages[0]['content']} {messages[1]['content'].rpartition('END PATIENT DATA')[2]}"
        return not _runs(instructions, self.graph.labels).isdisjoint(_runs(text, self.graph.labels))

    def schema(self) -> dict[str, Any]:
        """JSON schema of an answer."""
        properties: dict[str, Any] = {}
        if self.settings.mode == "reason":
            names = list(self.graph.labels.names.values())
            properties["diagnoses"] = {"type": "array", "items": {"type": "string", "enum": names}}
        properties["rationale"] = {"type": "string"}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def _named(self, keys: Iterable[str]) -> list[str]:
        return [self.graph.labels[key].name for key in keys]

    def _example(self, exemplar: Exemplar, kind: RationaleKind) -> dict[str, Any]:
        """An exemplar in the same form as a patient."""
        lines = serialized(exemplar.stay.cells, self._bands)[: self.settings.series_lines]
        return {
            "sections": [(name.replace("_", " "), text) for name, text in exemplar.stay.sections],
            "series_lines": [line.text for line in lines],
            "captions": [line.text for line in lines],
            "diagnoses": self._named(exemplar.stay.diagnoses),
            "rationale": exemplar.rationales[kind],
        }

    def _knowledge(self, stay: StayRecord, series: list[SeriesLine]) -> list[str]:
        """Knowledge from the graph: on each diagnosis if they are given, else on each abnormal finding."""
        most = self.settings.knowledge
        if self.settings.mode == "rationalize":
            lines = []
            for key in stay.diagnoses:
                signs = [*self.graph.findings_of(key), *self.graph.symptoms_of(key)]
                signs.sort(key=lambda link: (-link.weight, link.node))
                if names := [self.graph.name(link.node) for link in signs[:most]]:
                    lines.append(f"{self.graph.labels[key].name}: suggested by {', '.join(names)}")
            return lines if most else []
        lines = []
        for node in (f"finding:{line.variable}:{side}" for line in series for side in line.directions):
            links = self.graph.out_of(node, ("suggests",))[:most] if node in self.graph.graph else []
            if links:
                lines.append(
                    f"{self.graph.name(node)}: suggests {', '.join(self.graph.name(link.node) for link in links)}"
                )
        return lines


#: The template of similar cases, which stands before the chart.
_CASES = "cases.j2"
_SHAPING = ("mode", "exemplars", "band", "note_words", "series_lines", "knowledge")


def shortened(sections: Iterable[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """Sections truncated to ``most`` words in total: the longest are cut first, and a cut is marked."""
    present = [(name, text.strip()) for name, text in sections if text.strip()]
    counts = sorted(len(text.split()) for _, text in present)
    share, left = most, most
    for position, count in enumerate(counts):  # the largest length that all sections can keep
        share = left // (len(counts) - position)
        if count > share:
            break
        left -= count
    else:
        return present
    return [(name, text if len(text.split()) <= share else _cut(text, share)) for name, text in present]


def _cut(text: str, most: int) -> str:
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return f"{text[: ends[most - 1]]} [shortened]" if most else "[left out]"


def _runs(text: str, labels: LabelSet) -> set[tuple[str, ...]]:
    """Sequences of ``_ECHO`` words, without the names of diagnoses."""
    for name in labels.names.values():
        text = text.replace(name, ";")
    tokens = re.findall(r"\w+|;", text.lower())
    runs = (tuple(tokens[start : start + _ECHO]) for start in range(len(tokens) - _ECHO + 1))
    return {run for run in runs if ";" not in run}
