"""A stock PyHealth model trains on a cohort; the samples say what the cohort says."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clinragen.artifacts import write_json, write_table
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.cohort.window import Window
from clinragen.schema import NOTES, SERIES, STAYS, CohortPaths, labels_schema


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    draw = random.Random(3)
    ids = list(range(10, 34))
    start = datetime(2150, 1, 1)
    stays = [
        (n, n // 2, n, start, start + timedelta(hours=60), start + timedelta(hours=48), 60.0, "F", split)
        for n in ids
        for split in [("train", "validation", "test")[n // 2 % 3]]
    ]
    series = [(n, float(hour), "heart_rate", draw.gauss(80, 10)) for n in ids for hour in (0, 3, 47)]
    notes = [(n, f"n{n}", "digest", "chief_complaint", start, "Fever and chest pain. No dyspnea.") for n in ids[::2]]
    keys = list(phenotypes())
    labels = [(n, *((n + k) % 4 == 0 for k in range(len(keys)))) for n in ids]
    paths = CohortPaths(tmp_path / "cohort")
    tables = ((paths.stays, stays, STAYS), (paths.series, series, SERIES), (paths.notes, notes, NOTES))
    for path, rows, schema in (*tables, (paths.labels, labels, labels_schema(keys))):
        write_table(path, pl.DataFrame(rows, schema=schema.names, orient="row").to_arrow().cast(schema))
    write_json(paths.manifest, {"schema_version": 1, "source": "synthetic"})
    return Cohort.load(paths.root)


def test_a_stock_model_trains(cohort: Cohort) -> None:
    pytest.importorskip("pyhealth")
    import torch
    from pyhealth.datasets import get_dataloader
    from pyhealth.models import RNN

    from clinragen.adapters.pyhealth import sample_datasets

    found = sample_datasets(cohort)
    assert {name: len(part) for name, part in found.items()} == {"train": 8, "validation": 8, "test": 8}
    first = found["train"][0]
    assert first["series"].shape == (48, 2)  # one variable: its value, and whether it was measured
    assert first["series"][:, 1].nonzero().flatten().tolist() == [0, 3, 47]
    stay = int(first["visit_id"])
    carried = cohort.labels.filter(pl.col("stay_id") == stay).drop("stay_id").row(0, named=True)
    processor: Any = found["test"].output_processors["diagnoses"]
    order = list(processor.label_vocab)
    assert [key for key, on in zip(order, first["diagnoses"], strict=True) if on] == sorted(
        key for key, on in carried.items() if on
    )
    torch.manual_seed(0)
    model = RNN(dataset=found["train"], embedding_dim=8, hidden_dim=8)
    batch = next(iter(get_dataloader(found["train"], batch_size=8, shuffle=False)))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        result = model(**batch)
        optimizer.zero_grad()
        result["loss"].backward()
        optimizer.step()
        losses.append(float(result["loss"].detach()))
    assert result["y_prob"].shape == (8, len(phenotypes()))
    assert losses[-1] < losses[0]
    with torch.no_grad():
        held = next(iter(get_dataloader(found["test"], batch_size=8, shuffle=False)))
        assert model(**held)["y_prob"].isfinite().all()


def test_text_becomes_the_concepts_it_states(cohort: Cohort) -> None:
    from clinragen.adapters.pyhealth import _statistics, samples

    found = {sample["visit_id"]: sample for sample in samples(cohort, "train", _statistics(cohort, Window(48), 0.02))}
    noted = [sample for stay, sample in found.items() if int(stay) % 2 == 0]
    assert noted
    assert "symptom:chest_pain" in noted[0]["concepts"]
    assert not any("dyspnea" in concept for concept in noted[0]["concepts"])
    assert next(sample for stay, sample in found.items() if int(stay) % 2)["concepts"] == ["no_concept"]


def test_samples_from_disk_are_those_of_the_cohort(cohort: Cohort, tmp_path: Path) -> None:
    pytest.importorskip("pyhealth")
    from clinragen.adapters.pyhealth import export_samples, open_samples, sample_datasets
    from clinragen.errors import UserError

    written = export_samples(cohort, tmp_path / "samples")
    opened, straight = open_samples(tmp_path / "samples"), sample_datasets(cohort)
    assert written == {name: len(part) for name, part in opened.items()}
    for name, part in straight.items():
        for ours, theirs in zip(opened[name], part, strict=True):
            assert ours.keys() == theirs.keys()
            assert all(str(ours[key]) == str(theirs[key]) for key in ours)
            assert ours["series"].equal(theirs["series"])
    (tmp_path / "samples" / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="export the cohort anew"):
        open_samples(tmp_path / "samples")
    with pytest.raises(UserError, match="holds no PyHealth samples"):
        open_samples(cohort.paths.root)
