import pytest

from clinragen.cohort.folder import Cohort
from clinragen.inference.predict import TrainedModel


@pytest.fixture(scope="module")
def cohort(hospital) -> Cohort:
    return Cohort.load(hospital.cohort)


@pytest.fixture(scope="module")
def trained(runs) -> TrainedModel:
    return TrainedModel.load(runs.multimodal)
