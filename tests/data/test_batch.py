from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from clinragen.data.batch import Batch


@pytest.fixture
def batch() -> Batch:
    sizes = {"note_ids": (2, 5), "note_mask": (2, 5), "values": (2, 3, 4), "observed": (2, 3, 4), "target_ids": (2, 6)}
    return Batch(**{field.name: torch.zeros(sizes.get(field.name, (2,)), dtype=torch.long) for field in fields(Batch)})


@pytest.mark.parametrize("name", [field.name for field in fields(Batch) if field.name != "stay_ids"])
def test_a_missing_stay_is_named_with_both_sizes(batch, name):
    with pytest.raises(ValueError, match=rf"{name} holds 1 stays, expected 2"):
        replace(batch, **{name: getattr(batch, name)[:1]})


@pytest.mark.parametrize(("name", "like"), [("note_mask", "note_ids"), ("observed", "values")])
def test_a_mask_of_another_shape_shows_expected_and_got(batch, name, like):
    shape = tuple(getattr(batch, like).shape)
    got = (*shape[:-1], shape[-1] + 1)
    with pytest.raises(ValueError, match=name) as caught:
        replace(batch, **{name: torch.zeros(got, dtype=torch.bool)})
    assert str(got) in str(caught.value)
    assert str(shape) in str(caught.value)
