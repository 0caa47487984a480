from __future__ import annotations

import numpy as np

from clinragen.data.mentions import AFFIRMED, DENIED, MentionEncoder
from clinragen.knowledge.graph import build


def test_denied_findings_are_not_affirmed():
    ids = ["symptom:chest_pain", "symptom:cough", "phenotype:shock"]
    encode = MentionEncoder(build(), ids)
    found = encode([("history_of_present_illness", "He reports cough. He denies chest pain.")])
    assert found.shape == (2, len(ids))
    assert found[AFFIRMED].tolist() == [False, True, False]
    assert found[DENIED].tolist() == [True, False, False]


def test_no_note_mentions_nothing():
    assert not MentionEncoder(build(), ["symptom:cough"])([]).any()
    assert isinstance(MentionEncoder(build(), [])([]), np.ndarray)
