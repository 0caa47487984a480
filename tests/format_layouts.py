"""The layout of every file format, as clinragen writes it; ``python -m tests.format_layouts`` records it.

A layout says which files there are, the columns of tables with their types, the keys of JSON objects with the types of
their values, and the names, types and number of dimensions of tensors. It says nothing of what stands in them:
``mimic_prep/step_outputs.py`` and the tests of each part do.

Typed so, it writes ``format_layouts.json`` anew, to which ``test_format_layouts.py`` holds the code. It refuses where
something was taken away or changed its type and the version of the format is the recorded one.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from clinragen import versions
from clinragen.config import load_yaml
from clinragen.schema import LOGPROBS
from clinragen.teacher.journal import Journal, Record

RECORDED = Path(__file__).with_suffix(".json")
#: Name of a constant of ``clinragen.versions`` -> its version today.
VERSIONS: dict[str, int] = {
    **{name: form.version for name, form in vars(versions).items() if isinstance(form, versions.Format)},
    "ENCODING": versions.ENCODING,
}
#: Objects under these names are keyed by data (files, labels, reasons, ...), so only their values have a layout.
KEYED_BY_DATA = {
    "arguments", "cells", "citations", "classes", "cost_of_control", "files", "inputs", "interval", "labels",
    "out_of_scope", "outputs", "periods", "phenotypes", "probabilities", "quarantined", "remarks", "settings", "sizes",
    "sources", "tables", "tensors", "thresholds",
}  # fmt: skip
_ANY, _OPTIONAL = "*", "?"

Layout = Any  # names of types, a list of at most one layout, or an object of layouts


def of_json(value: Any, name: str = "") -> Layout:
    """The layout of a JSON value that stands under ``name``.

    >>> of_json({"stays": [{"age": 71.5, "sex": "F"}, {"age": None}], "files": {"a.csv": 1, "b.csv": 2}})
    {'stays': [{'age': 'float | null', 'sex?': 'str'}], 'files': {'*': 'int'}}
    """
    if isinstance(value, list):
        return _merged(of_json(item) for item in value)
    if isinstance(value, dict) and name in KEYED_BY_DATA:
        return dict(zip([_ANY], _merged(of_json(item) for item in value.values()), strict=False))
    if isinstance(value, dict):
        return {key: of_json(item, key) for key, item in value.items()}
    return "null" if value is None else type(value).__name__


def _merged(layouts: Iterable[Layout]) -> list[Layout]:
    """The one layout that all of these are of, in a list; an empty one of none."""
    every = list(layouts)
    return [reduce(_either, every)] if every else []


def _either(one: Layout, other: Layout) -> Layout:
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        return _either_object(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return _merged([*one, *other])
    names = {part for layout in (one, other) for part in _names(layout)}
    return " | ".join(sorted(names))


def _either_object(one: dict[str, Layout], other: dict[str, Layout]) -> dict[str, Layout]:
    """The keys of both, each marked where one of them lacks it."""
    plain = [{key.removesuffix(_OPTIONAL): layout for key, layout in layouts.items()} for layouts in (one, other)]
    both = {}
    for key in dict.fromkeys([*plain[0], *plain[1]]):
        given = [layouts[key] for layouts in plain if key in layouts]
        always = key in one and key in other
        both[key if always else key + _OPTIONAL] = reduce(_either, given)
    return both


def _names(layout: Layout) -> list[str]:
    return layout.split(" | ") if isinstance(layout, str) else [json.dumps(layout)]


def of_columns(schema: pa.Schema) -> Layout:
    """Columns of a table with their types."""
    return {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in schema}


def of_tensors(path: Path) -> Layout:
    """Tensors of a safetensors file: their type and number of dimensions."""
    with safe_open(path, "numpy") as tensors:
        slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 (it is no mapping)
        return {name: f"{part.get_dtype()} [{len(part.get_shape())}]" for name, part in sorted(slices.items())}


def of_arrays(arrays: dict[str, np.ndarray]) -> Layout:
    """Arrays: their type and number of dimensions."""
    return {name: f"{array.dtype} [{array.ndim}]" for name, array in sorted(arrays.items())}


def of_csv(path: Path) -> Layout:
    """The header of a table of text; metrics of single labels stand for all of them."""
    with path.open(encoding="utf-8", newline="") as lines:
        header = next(csv.reader(lines))
    return {"/".join([*name.split("/")[:2], _ANY][: name.count("/") + 1]): "text" for name in header}


def of_lines(path: Path) -> Layout:
    """What every line of a JSONL file is."""
    return _merged(of_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines())


_READERS: dict[str, Callable[[Path], Layout]] = {
    ".csv": of_csv,
    ".json": lambda path: of_json(json.loads(path.read_text(encoding="utf-8"))),
    ".jsonl": of_lines,
    ".parquet": lambda path: of_columns(pq.read_schema(path)),
    ".safetensors": of_tensors,
    ".yaml": lambda path: of_json(load_yaml(path)),
}
#: written by other libraries, whose formats are theirs
_FOREIGN = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}


def of_folder(folder: Path, leave_out: Iterable[str] = ()) -> dict[str, Layout]:
    """The files below a folder, without those of the subfolders and names to leave out."""
    layouts = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if any(name == part or name.startswith(f"{part}/") for part in leave_out):
            continue
        known = path.name not in _FOREIGN and path.suffix in _READERS
        layouts[name] = _READERS[path.suffix](path) if known else "a file"
    return layouts


def of_journal(folder: Path) -> Layout:
    """Records of a teacher's journal: one with everything, and one with nothing but what is always there."""
    always: Record = {
        "key": "ab" * 32, "stay_id": 1, "kind": "note", "model": "m", "text": "t", "finish_reason": "stop",
        "usage": {"prompt_tokens": 1},
    }  # fmt: skip
    more: Record = {"served_by": "m", "attempt": 0, "seed": None, "logprobs": [["t", -0.5, [["t", -0.5]]]]}  # type: ignore[typeddict-item]
    path = folder / "teacher.journal.jsonl"

    async def write() -> None:
        with Journal(path, writable=True) as journal:
            await journal.append(always)
            await journal.append({**always, **more, "key": "cd" * 32})  # type: ignore[typeddict-item]

    asyncio.run(write())
    return {"*.journal.jsonl": of_lines(path)}


def of_archive(run: Path, archive: Path) -> Layout:
    """What the index of a model in one file says."""
    from clinragen.packed_model import pack

    pack(run, archive)
    with zipfile.ZipFile(archive) as opened:
        return {"archive.json": of_json(json.loads(opened.read("archive.json")))}


def of_samples(folder: Path) -> Layout:
    """Lines of the journal of a stage that learns from its own samples."""
    from clinragen.stages.samples import Sample, SampleJournal

    path = folder / "samples.jsonl"
    with SampleJournal(path, "ab" * 32) as journal:
        journal.append([Sample("ab" * 32, 1, 0, ["shock"], "n", "s")])
    return {path.name: of_lines(path)}


def of_rating_files(pack: Path) -> Layout:
    """What is written of the ratings of a pack, with everything that may stand in it."""
    from clinragen.rating.criteria import criteria
    from clinragen.rating.key import read_pack
    from clinragen.rating.rating_file import Preference, Rating, write_judged

    opened = read_pack(pack)
    item, authors = opened.items[0].name, [author.name for author in opened.key.authors]
    ratings = [Rating(item, author, dict.fromkeys(criteria(), score)) for author, score in zip(authors, (3, None))]  # noqa: B905
    preferences = [Preference(item, *authors, dict.fromkeys(criteria(), verdict)) for verdict in ("tie", None)]
    path = pack / "ratings.json"
    write_judged(path, opened.key, opened.key.raters[-1], "m", ratings, preferences)
    return {"ratings-*.json": of_json(json.loads(path.read_text(encoding="utf-8")))}


def of_federation() -> Layout:
    """The manifest of a federation, with everything that may stand in it."""
    from clinragen.federation.aggregation import Rule
    from clinragen.federation.manifest import Federation, Member
    from clinragen.federation.update import TensorSpec
    from clinragen.federation.work import Phase

    phases = [Phase("count", "statistics", 1, {"t": TensorSpec([1], "F64", 0.0, 1.0)})]
    rule = Rule(half_life_hours=1.0)
    manifest = Federation("f", "k", [Member("m", "k", 10)], "series", {}, phases, rule, code_sha256="ab")
    return {"federation.json": of_json(manifest.to_json())}


def of_ledger() -> Layout:
    """A line of each kind of entry."""
    from clinragen.ledger import entries
    from clinragen.ledger.checkpoints import Trust

    trust = Trust("k", ["w"], 1)
    bodies: list[entries.Body] = [
        entries.Opening("f", trust, ["k"], [trust], "ab"),
        entries.Update("s", 1, "ab", "ab", 20),
        entries.Anchor("c", ["h"]),
        entries.Contract([entries.Item("t", "1", "2")], 1, 1, 2),
        entries.Acceptance("s", 1, "t"),
        entries.Aggregate(1, "ab", "ab", [entries.Part("s", "ab", 20)]),
        entries.Payment("s", 1, "t", 1, 1, "2"),
    ]
    assert {type(body) for body in bodies} == set(entries.KINDS.values())
    return {
        entry.kind: of_json(json.loads(entry.line(0)))
        for entry in (entries.Entry(body, b"s" if isinstance(body, entries.BY_SITES) else None) for body in bodies)
    }


def of_tokens(model: Path, cohort: Path) -> Layout:
    """The arrays that a run keeps of its stays while it lasts."""
    from dataclasses import replace

    from clinragen.cohort.folder import Cohort
    from clinragen.inference.predict import TrainedModel

    data = replace(TrainedModel.load(model).dataset(Cohort.load(cohort), "test"), teacher="evidence")
    return {"arrays": of_arrays(data._encode())}


def layouts(cohort: Path, runs: Path, scratch: Path) -> dict[str, dict[str, Any]]:
    """Name of a constant of ``clinragen.versions`` -> its version, and the layout of what is written.

    Args:
        cohort: a cohort with rationales of the evidence teacher.
        runs: a folder with the run ``multimodal``.
        scratch: an empty folder.
    """
    from clinragen.api.assessment import evaluate
    from clinragen.api.prediction import predict
    from clinragen.api.rating import pack_ratings
    from clinragen.api.similarity import build_index
    from tests.conftest import EXACT, MICRO_MODEL, call

    run, pretrained = runs / "multimodal", scratch / "pretrained"
    predictions, evaluation = scratch / "predictions", scratch / "evaluation"
    options = ("--cohort", cohort, "--model", MICRO_MODEL, *EXACT, "--set", "stage.epochs=1")
    assert call("clinragen", "train", "pretrain", *options, "--out", pretrained) == 0
    predict(run, cohort, predictions, limit=8, explain=True)
    evaluate(predictions, cohort, evaluation, replicates=2)
    build_index(cohort, scratch / "index")
    pack_ratings(predictions, cohort, scratch / "pack", teacher="evidence", stays=2, raters=1)
    written = {
        "COHORT": of_folder(cohort, leave_out=("rationales", "audit")),
        "RATIONALES": of_folder(cohort / "rationales") | {"*.logprobs.parquet": of_columns(LOGPROBS)},
        "JOURNAL": of_journal(scratch),
        "GRAPH": of_folder(run / "model" / "graph"),
        "MODEL": of_folder(run / "model", leave_out=("graph",)),
        "RUN": of_folder(run, leave_out=("model",))
        | {f"pretrained/{name}": layout for name, layout in of_folder(pretrained).items()},
        "PREDICTIONS": of_folder(predictions),
        "EVALUATION": of_folder(evaluation),
        "INDEX": of_folder(scratch / "index"),
        "ARCHIVE": of_archive(run, scratch / "model.zip"),
        "SAMPLES": of_samples(scratch),
        "RATING_PACK": of_folder(scratch / "pack"),
        "RATINGS": of_rating_files(scratch / "pack"),
        "FEDERATION": of_federation(),
        "LEDGER": of_ledger(),
        "ENCODING": of_tokens(run, cohort),
    }
    return {name: {"version": VERSIONS[name], "layout": layout} for name, layout in written.items()}


def differences(now: Layout, before: Layout, where: str = "") -> list[tuple[str, bool]]:
    """What differs between two layouts, one line each, and whether it is an addition that older readers leave alone.

    What is written now may lack what was recorded as optional, have fewer of the recorded types, and empty lists: the
    rationales of the small model, and so the claims found in them, are not the same on every machine.

    >>> differences({"a": "int", "b": "str"}, {"a": "float | null", "c?": "str"})
    [('a is int, was float | null', False), ('b is new', True)]
    """
    if isinstance(now, dict) and isinstance(before, dict):
        return _object_differences(now, before, where)
    if isinstance(now, list) and isinstance(before, list):
        if now and before:
            return differences(now[0], before[0], where)
        return [(f"{where}has {_shown(now[0])} in it, was empty", True)] if now else []
    if isinstance(now, str) and isinstance(before, str) and {*_names(now)} <= {*_names(before)}:
        return []
    return [(f"{where}is {_shown(now)}, was {_shown(before)}", False)]


def _object_differences(now: dict[str, Layout], before: dict[str, Layout], where: str) -> list[tuple[str, bool]]:
    today = {key.removesuffix(_OPTIONAL): layout for key, layout in now.items()}
    lines = []
    for key, layout in before.items():
        name = key.removesuffix(_OPTIONAL)
        if name in today:
            lines += differences(today[name], layout, f"{where}{name} ")
        if key == name and name not in now:
            lines.append((f"{where}{name} is {'no longer always there' if name in today else 'gone'}", False))
    recorded = {key.removesuffix(_OPTIONAL) for key in before}
    return lines + [(f"{where}{name} is new", True) for name in today if name not in recorded]


def _shown(layout: Layout) -> str:
    return layout if isinstance(layout, str) else json.dumps(layout)


def complaints(now: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """What is to be done about formats whose layout is not the recorded one, one line each."""
    again = f"type `python -m tests.format_layouts` and commit {RECORDED.name}"
    said = []
    for name in sorted(now | recorded):
        if name not in now or name not in recorded:
            said.append(f"{name}: {again}")
            continue
        same = now[name]["version"] == recorded[name]["version"]
        changes = differences(now[name]["layout"], recorded[name]["layout"])
        for line, addition in changes:
            raised = f"raise {name} in clinragen/versions.py, then " if same else ""
            if addition and same:
                raised = f"raise {name} in clinragen/versions.py where older versions cannot read it so; in any case "
            said.append(f"{name}: {line}: {raised}{again}")
        if not same and not changes:
            said.append(f"{name}: its version was raised: {again}")
    return said


def breaking(now: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """The changes that may not be recorded, as what older versions read is gone and the version is the same."""
    return [
        f"{name}: {line}: raise {name} in clinragen/versions.py first"
        for name in sorted(now.keys() & recorded.keys())
        if now[name]["version"] == recorded[name]["version"]
        for line, addition in differences(now[name]["layout"], recorded[name]["layout"])
        if not addition
    ]


def record() -> int:
    """Write ``format_layouts.json`` from a small hospital and runs of a micro model made for it."""
    from tests.conftest import Hospital, Runs, make_hospital, make_runs

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        hospital, runs = Hospital(root / "hospital"), Runs(root / "runs")
        for made in (hospital.root, runs.root, root / "scratch"):
            made.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):  # what the commands print
            make_hospital(hospital)
            make_runs(runs, hospital)
            now = layouts(hospital.cohort, runs.root, root / "scratch")
    if RECORDED.exists() and (refused := breaking(now, json.loads(RECORDED.read_text()))):
        print("\n".join(refused), file=sys.stderr)
        return 1
    RECORDED.write_text(json.dumps(now, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(record())
