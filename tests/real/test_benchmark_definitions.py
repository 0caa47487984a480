"""The catalogue against the MIMIC-III benchmark, MIMIC-Extract, mimic-code and the demos' own dictionaries."""

from __future__ import annotations

import pytest
import yaml

from clinragen.label_sets import shipped
from mimic_prep.codes import code_map

pytestmark = pytest.mark.real


def test_phenotypes_are_those_of_the_benchmark(shared):
    """Every ICD-9 code of each of the 25 groups. Its file knows no mixed kind; the paper does."""
    path = shared("knowledge") / "mimic3_benchmarks" / "hcup_ccs_2015_definitions.yaml"
    groups = yaml.safe_load(path.read_text())
    theirs = {group["id"]: group for group in groups.values() if group["use_in_benchmark"]}
    ours = {phenotype.ccs[0]: phenotype for phenotype in shipped().values()}
    assert {category for phenotype in shipped().values() for category in phenotype.ccs} == set(theirs) == set(ours)
    icd9 = code_map(9)
    assert icd9 is not None
    for category, group in theirs.items():
        assert ours[category].kind in (group["type"], "mixed")
        assert set(icd9.codes_of(category)) == {str(code) for code in group["codes"]}, ours[category].key
