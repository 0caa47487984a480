"""Label sets: what stays are labelled with. The 25 phenotypes, the chapters of ICD, or a user's own YAML file.

A cohort carries its set in the manifest. The commands put it in force for as long as they run, and
``catalog.phenotypes`` gives the set in force: code that asks for the labels need not know where they come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from clinragen import config
from clinragen.artifacts import read_json
from clinragen.errors import UserError, unknown_choice
from clinragen.schema import CohortPaths

DEFAULT = "phenotypes"
KINDS = ("acute", "chronic", "mixed")
_FIELDS = ("name", "kind", "ccs", "icd9", "icd10", "published")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_NAME = re.compile(r"[a-z0-9]([a-z0-9 ,()/'+-]*[a-z0-9)])?")
_CODES = re.compile(r"([A-Z0-9]{1,7})(?:-([A-Z0-9]{1,7}))?")
_MANIFEST = "label_set"


@dataclass(frozen=True)
class Phenotype:
    """One of the labels. ``name`` is what models write.

    A stay carries it when a diagnosis lies in one of the single-level CCS categories ``ccs``, or among the codes of
    ``icd9`` or ``icd10``: a prefix such as ``I50``, or a range such as ``I00-I99``. ``covers`` names the catalogue's
    phenotypes that lie mostly within it, through which the concept graph knows it. ``published`` are names by which
    others know it; they name the same label, so they do not make it another one.
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


@cache
def shipped() -> dict[str, Phenotype]:
    """The 25 phenotypes of the catalogue by key, in file order."""
    path = config.CONFIG_ROOT / "concepts" / "phenotypes.yaml"
    return _parse(config.load_yaml(path), path, "phenotypes")


def load(name: str) -> dict[str, Phenotype]:
    """A label set by name (``phenotypes``, or one of ``configs/labels``), or from the user's YAML file.

    Raises:
        UserError: unknown name, or a label that is not well formed, with file and key.
    """
    if name == DEFAULT:
        return shipped()
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        names = [DEFAULT, *config.names("labels")]
        if name not in names:
            raise unknown_choice("label set", name, [*names, "a YAML file"])
        path = config.CONFIG_ROOT / "labels" / f"{name}.yaml"
    return _parse(config.load_yaml(path), path, "labels")


def as_manifest(name: str, labels: Mapping[str, Phenotype]) -> dict[str, Any]:
    """What the manifest of a cohort says of its labels; their order counts."""
    rows = [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(label).items()} for label in labels.values()]
    return {"name": Path(name).stem, "labels": rows}


def of_manifest(manifest: Any) -> dict[str, Phenotype]:
    """The labels of a cohort, the catalogue's where its manifest says nothing of them."""
    stored = manifest.get(_MANIFEST) if isinstance(manifest, dict) else None
    if not stored:
        return shipped()
    rows = stored.get("labels") if isinstance(stored, dict) else None
    labels = [_stored(row) for row in rows] if isinstance(rows, list) and rows else []
    if not labels or len({label.key for label in labels}) < len(labels):
        raise UserError(f"manifest.json: {_MANIFEST} is damaged: prepare the cohort anew")
    found = {label.key: label for label in labels}
    return shipped() if list(found.items()) == list(shipped().items()) else found


def _stored(row: Any) -> Phenotype:
    """A label as :func:`as_manifest` wrote it."""
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
    if not (sound and numbers and _KEY.fullmatch(label.key)):  # keys name columns and files
        raise UserError(f"manifest.json: {_MANIFEST} is damaged: prepare the cohort anew")
    return label


def of_model(description: Path) -> dict[str, Phenotype]:
    """The labels of a model, from its ``clinragen.json``: the catalogue's where they are those, else keys and names.

    Which codes give them stands in the manifest of the cohort, not in a model.

    Raises:
        UserError: no description, or its labels are not names by key.
    """
    described = read_json(description, "the description of a clinragen model")
    names = described.get("labels") if isinstance(described, dict) else None
    if (
        not isinstance(names, dict)
        or not names
        or not all(isinstance(name, str) and _KEY.fullmatch(key) for key, name in names.items())
    ):
        raise UserError(f"{description}: labels is damaged: expected the name of each label by its key; train anew")
    known = shipped()
    if list(names.items()) == [(key, label.name) for key, label in known.items()]:
        return known
    return {key: known[key] if key in known and known[key].name == name else Phenotype(key, name)
            for key, name in names.items()}  # fmt: skip


_forced: dict[str, Phenotype] | None = None


def in_force() -> dict[str, Phenotype]:
    """The labels of the running command, by key; the catalogue's outside of one."""
    return shipped() if _forced is None else _forced


@contextmanager
def use(labels: dict[str, Phenotype]) -> Iterator[None]:
    """Put a label set in force."""
    global _forced
    before, _forced = _forced, labels
    try:
        yield
    finally:
        _forced = before


@contextmanager
def use_those_of(cohort: Path | None) -> Iterator[None]:
    """Put the label set of a cohort folder in force; the catalogue's where there is no cohort or no manifest yet."""
    manifest = CohortPaths(cohort).manifest if cohort else None
    known = of_manifest(read_json(manifest, "a manifest")) if manifest and manifest.is_file() else shipped()
    with use(known):
        yield


def check_labels(trained: Mapping[str, str], where: Path) -> None:
    """Raise a UserError for a model that was trained on other labels than those in force.

    Args:
        trained: key to name, in the order of the model's logits.
    """
    expected = {key: entry.name for key, entry in in_force().items()}
    if list(trained.items()) != list(expected.items()):
        changed = {key for key, _ in set(trained.items()) ^ set(expected.items())}
        raise UserError(
            f"{where} was trained on another label set (differs in: {', '.join(sorted(changed)) or 'their order'}): "
            "name a cohort with the labels it was trained on, or train anew"
        )


def _parse(raw: dict[str, Any], path: Path, root: str) -> dict[str, Phenotype]:
    rows = raw.get(root)
    if isinstance(rows, list) and rows and root == "labels":
        return _chosen(rows, path)
    if not isinstance(rows, dict) or not rows:
        raise UserError(f"{path}: expected '{root}:' with one entry for each label, such as sepsis: {{name: sepsis, "
                        "ccs: [2]}}")  # fmt: skip
    found = {str(key): _label(str(key), row, f"{path}: {root}.{key}") for key, row in rows.items()}
    names: dict[str, str] = {}
    for key, label in found.items():
        if label.name in names:
            raise UserError(f"{path}: {root}.{key}: the name '{label.name}' is that of {names[label.name]} too")
        names[label.name] = key
    return found


def _chosen(names: list[Any], path: Path) -> dict[str, Phenotype]:
    """Some of the 25 phenotypes, each by any of its names."""
    from clinragen.catalog import phenotype  # which asks here what is in force

    found: dict[str, Phenotype] = {}
    for position, name in enumerate(names):
        where = f"{path}: labels.{position}"
        if not isinstance(name, str):
            raise UserError(f"{where}: expected the name of a phenotype, or a mapping of keys to labels")
        try:
            with use(shipped()):
                label = phenotype(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if label.key in found:
            raise UserError(f"{where}: {label.key} is named twice")
        found[label.key] = label
    return found


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
