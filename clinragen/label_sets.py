"""Label sets: the 25 phenotypes, the chapters of ICD, or a user's YAML file.

A :class:`LabelSet` is a value, not global state. A cohort stores one in its manifest, a model in its
``clinragen.json``, a concept graph and predictions in their manifests; every function takes the labels from its
arguments, so cohorts, graphs and models with different labels can be used in one process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from clinragen import config
from clinragen.artifacts import read_json
from clinragen.errors import UserError, unknown_choice

DEFAULT = "phenotypes"
KINDS = ("acute", "chronic", "mixed")
_FIELDS = ("name", "kind", "ccs", "icd9", "icd10", "published")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9 ,()/'+-]*[a-z0-9)])?")
_CODES = re.compile(r"([A-Z0-9]{1,7})(?:-([A-Z0-9]{1,7}))?")
_MANIFEST = "label_set"
_LONGEST_NAME = 200  # most characters of a name


@dataclass(frozen=True)
class Phenotype:
    """One label. ``name`` is the text that models write.

    A stay has it if a diagnosis is in one of the single-level CCS categories ``ccs``, or matches ``icd9`` or ``icd10``:
    a prefix such as ``I50``, or a range such as ``I00-I99``. ``covers`` names the catalogue's phenotypes that lie
    mostly within it, from which the concept graph takes its evidence. ``published`` are other names of the label; they
    do not count when labels are compared.
    """

    key: str
    name: str
    ccs: tuple[int, ...] = ()
    kind: str = "mixed"
    icd9: tuple[str, ...] = ()
    icd10: tuple[str, ...] = ()
    covers: tuple[str, ...] = ()
    published: tuple[str, ...] = field(default=(), compare=False)

    def has_code(self, code: str, version: int) -> bool:
        """Whether a code without dot, in upper case, is among ``icd9`` or ``icd10``.

        >>> Phenotype("heart", "heart disease", icd10=("I00-I52",)).has_code("I5021", 10)
        True
        """
        for codes in {9: self.icd9, 10: self.icd10}.get(version, ()):
            low, _, high = codes.partition("-")
            if low <= code[: len(low)] and code[: len(high or low)] <= (high or low):
                return True
        return False


@dataclass(frozen=True)
class LabelSet(Mapping[str, Phenotype]):
    """Labels in the order of every label vector; a read-only mapping of keys to labels.

    Sets of the same labels in the same order are equal, independent of their names.

    Attributes:
        name: name of the set: ``phenotypes``, or that of the user's file.
        labels: labels with unique keys and names.

    >>> labels = LabelSet("own", (Phenotype("kidney", "kidney disease"), Phenotype("lung", "lung disease")))
    >>> list(labels), labels["lung"].name, labels.find("Kidney disease").key
    (['kidney', 'lung'], 'lung disease', 'kidney')
    """

    name: str = field(compare=False)
    labels: tuple[Phenotype, ...]

    @classmethod
    def of(cls, name: str, labels: Iterable[Phenotype]) -> LabelSet:
        """The set of these labels; the shipped set itself if they are its labels."""
        label_set = cls(name, tuple(labels))
        return shipped() if label_set == shipped() else label_set

    @cached_property
    def _by_key(self) -> dict[str, Phenotype]:
        return {label.key: label for label in self.labels}

    def __getitem__(self, key: str) -> Phenotype:
        return self._by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> dict[str, str]:
        """Name by key, in order."""
        return {label.key: label.name for label in self.labels}

    def find(self, name: str) -> Phenotype:
        """The label with a key, name, published name or synonym, ignoring case and punctuation.

        >>> shipped().find("Acute and unspecified renal failure").key, shipped().find("AKI").key
        ('acute_renal_failure', 'acute_renal_failure')

        Raises:
            UserError: there is no such label; the error suggests the nearest.
        """
        if (requested := plain(name)) and len(name) <= _LONGEST_NAME:
            for forms in (
                {form: label.key for label in self.labels for form in (label.key, label.name, *label.published)},
                {form: key for key, synonyms in _synonyms().items() if key in self for form in synonyms},
            ):
                by_form = {plain(form): key for form, key in forms.items()}
                if requested in by_form:
                    return self[by_form[requested]]
        printable = "".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST_NAME])
        raise unknown_choice("phenotype", printable, self) from None

    def check_same(self, trained: Mapping[str, str], where: Path) -> None:
        """Raise a UserError if a model was trained on other labels.

        Args:
            trained: key to name, in the order of the model's logits.
            where: the model's folder.
        """
        if list(trained.items()) != list(self.names.items()):
            changed = {key for key, _ in set(trained.items()) ^ set(self.names.items())}
            raise UserError(
                f"{where} was trained on another label set (differs in: {', '.join(sorted(changed)) or 'their order'}"
                "): name a cohort with the labels it was trained on, or train anew"
            )

    def to_json(self) -> dict[str, Any]:
        """The form of the labels in a manifest; their order matters."""
        rows = [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(label).items()} for label in self.labels]
        return {"name": self.name, "labels": rows}


def plain(name: str) -> str:
    """A name without case, punctuation and repeated blanks.

    >>> plain("Pleurisy; pneumothorax; pulmonary_collapse ")
    'pleurisy pneumothorax pulmonary collapse'
    """
    return " ".join(re.sub(r"[\W_]+", " ", name.casefold()).split())


@cache
def _synonyms() -> dict[str, list[str]]:
    """Synonyms of each of the 25 phenotypes."""
    rows = config.load_yaml(config.CONFIG_ROOT / "knowledge" / "phenotypes.yaml")["phenotypes"]
    return {key: [str(form).lstrip("=") for form in row["synonyms"]] for key, row in rows.items()}


@cache
def shipped() -> LabelSet:
    """The 25 phenotypes of the catalogue, in file order."""
    path = config.CONFIG_ROOT / "concepts" / "phenotypes.yaml"
    return LabelSet(DEFAULT, tuple(_parse(config.load_yaml(path), path, "phenotypes").values()))


def load(name: str) -> LabelSet:
    """A label set by name (``phenotypes``, or one of ``configs/labels``), or from the user's YAML file.

    Raises:
        UserError: unknown name, or a malformed label, with file and key.
    """
    if name == DEFAULT:
        return shipped()
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        names = [DEFAULT, *config.names("labels")]
        if name not in names:
            raise unknown_choice("label set", name, [*names, "a YAML file"])
        path = config.CONFIG_ROOT / "labels" / f"{name}.yaml"
    return LabelSet(path.stem, tuple(_parse(config.load_yaml(path), path, "labels").values()))


def of_manifest(manifest: Any, remedy: str = "prepare the cohort anew") -> LabelSet:
    """The label set in a manifest (of a cohort, a graph, predictions); the catalogue's if it has none.

    Args:
        manifest: manifest as read from JSON.
        remedy: what to do about a damaged one, for the error.

    Raises:
        UserError: the entry is no label set.
    """
    stored = manifest.get(_MANIFEST) if isinstance(manifest, dict) else None
    if not stored:
        return shipped()
    rows = stored.get("labels") if isinstance(stored, dict) else None
    labels = [_stored(row) for row in rows] if isinstance(rows, list) and rows else []
    if not labels or None in labels or len({label.key for label in labels if label}) < len(labels):
        raise UserError(f"manifest.json: {_MANIFEST} is damaged: {remedy}")
    return LabelSet.of(str(stored.get("name", "")), [label for label in labels if label])


def _stored(row: Any) -> Phenotype | None:
    """A label in the form of :meth:`LabelSet.to_json`; None for anything else."""
    try:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        label = Phenotype(**values)
    except (TypeError, AttributeError):
        label = Phenotype("", "")
    lists = (label.icd9, label.icd10, label.covers, label.published)
    sound = all(isinstance(text, str) and text for text in (label.key, label.name, label.kind)) and all(
        isinstance(values, tuple) and all(isinstance(value, str) for value in values) for values in lists
    )
    numbers = isinstance(label.ccs, tuple) and all(type(value) is int for value in label.ccs)
    return label if sound and numbers and _KEY.fullmatch(label.key) else None  # keys are names of columns and files


def of_model(description: Path) -> LabelSet:
    """The labels of a model, from its ``clinragen.json``.

    A model of an earlier release has only keys and names; known ones are taken from the catalogue.

    Raises:
        UserError: no description, or malformed labels.
    """
    described = read_json(description, "the description of a clinragen model")
    names = described.get("labels") if isinstance(described, dict) else None
    if (
        not isinstance(names, dict)
        or not names
        or not all(isinstance(name, str) and _KEY.fullmatch(key) for key, name in names.items())
    ):
        raise UserError(f"{description}: labels is damaged: expected the name of each label by its key; train anew")
    if described.get(_MANIFEST):
        labels = of_manifest(described, "train anew")
        if list(labels.names.items()) == list(names.items()):
            return labels
        raise UserError(f"{description}: labels and label_set differ: train anew")
    default = shipped()
    return LabelSet.of("labels of the model", (
        default[key] if key in default and default[key].name == name else Phenotype(key, name)
        for key, name in names.items()
    ))  # fmt: skip


def _parse(raw: dict[str, Any], path: Path, root: str) -> dict[str, Phenotype]:
    rows = raw.get(root)
    if isinstance(rows, list) and rows and root == "labels":
        return _chosen(rows, path)
    if not isinstance(rows, dict) or not rows:
        raise UserError(f"{path}: expected '{root}:' with one entry for each label, such as sepsis: {{name: sepsis, "
                        "ccs: [2]}}")  # fmt: skip
    labels = {str(key): _label(str(key), row, f"{path}: {root}.{key}") for key, row in rows.items()}
    names: dict[str, str] = {}
    for key, label in labels.items():
        if label.name in names:
            raise UserError(f"{path}: {root}.{key}: the name '{label.name}' is that of {names[label.name]} too")
        names[label.name] = key
    return labels


def _chosen(names: list[Any], path: Path) -> dict[str, Phenotype]:
    """Some of the 25 phenotypes, each by any of its names."""
    labels: dict[str, Phenotype] = {}
    for position, name in enumerate(names):
        where = f"{path}: labels.{position}"
        if not isinstance(name, str):
            raise UserError(f"{where}: expected the name of a phenotype, or a mapping of keys to labels")
        try:
            label = shipped().find(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if label.key in labels:
            raise UserError(f"{where}: {label.key} is named twice")
        labels[label.key] = label
    return labels


def _label(key: str, row: Any, where: str) -> Phenotype:
    if not _KEY.fullmatch(key) or key == "stay_id":
        raise UserError(f"{where}: a key is made of small letters, digits and underscores, and is not stay_id")
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a mapping with {', '.join(_FIELDS)}")
    if unknown := [str(field) for field in row if field not in _FIELDS]:
        raise UserError(f"{where}.{unknown[0]} is unknown; valid keys here: {', '.join(_FIELDS)}")
    name, kind = row.get("name", key.replace("_", " ")), row.get("kind", "mixed")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"{where}.name: expected small letters, digits, blanks and ,()/'+- as models shall write it")
    if kind not in KINDS:
        raise UserError(f"{where}.kind '{kind}' is unknown; choose from: {', '.join(KINDS)}")
    ccs = _list(row, "ccs", where)
    if wrong := [value for value in ccs if not isinstance(value, int) or isinstance(value, bool)]:
        raise UserError(f"{where}.ccs: '{wrong[0]}' is not a number of a CCS category")
    codes = {field: tuple(_codes(value, f"{where}.{field}") for value in _list(row, field, where))
             for field in ("icd9", "icd10")}  # fmt: skip
    if not ccs and not any(codes.values()):
        raise UserError(f"{where}: no diagnosis gives this label: expected ccs, icd9 or icd10")
    published = tuple(map(str, _list(row, "published", where)))
    return Phenotype(key, name, tuple(ccs), kind, **codes, published=published)


def _list(row: dict[str, Any], field: str, where: str) -> list[Any]:
    values = row.get(field) or []
    if not isinstance(values, list):
        raise UserError(f"{where}.{field}: expected a list, such as [{values}]")
    return values


def _codes(value: Any, where: str) -> str:
    codes = str(value).replace(".", "").replace(" ", "").upper()
    match = _CODES.fullmatch(codes)
    low, high = match.groups() if match else ("", None)
    if not match or (high is not None and (len(low) != len(high) or high < low)):
        raise UserError(f"{where}: '{value}' is neither a code such as I50 nor a range such as I00-I99")
    return codes
