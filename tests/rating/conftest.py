import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
sys.path.insert(0, str(Path(__file__).parents[1] / "teacher"))

from small_hospital import make_cohort, make_predictions

from clinragen.api.rating import pack_ratings
from clinragen.rating.criteria import criteria
from clinragen.rating.key import RaterKey, RatingPack, read_pack
from clinragen.rating.rating_file import KIND, seal

#: Stands in every path and name that no rater may see.
SECRET = "quagga"


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, predictions of a student and of a baseline, and a teacher; tests must not change it."""
    root = tmp_path_factory.mktemp(f"{SECRET}-study")
    cohort = make_cohort(root / "cohort", stays=60)
    rationales = cohort / "rationales"
    (rationales / "evidence.parquet").rename(rationales / f"{SECRET}.parquet")
    make_predictions(root / "student", cohort)
    make_predictions(root / "other", cohort, seed=7)
    return root


@pytest.fixture(scope="session")
def pack(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> RatingPack:
    """A pack of five stays, three authors and two raters; tests must not change it."""
    out = tmp_path_factory.mktemp("packs") / "pack"
    write(hospital, out)
    return read_pack(out)


def write(hospital: Path, out: Path, **options):
    """Write a pack of the hospital."""
    settings = {"teacher": SECRET, "against": [hospital / "other"], "stays": 5, "raters": 2, "seed": 3} | options
    return pack_ratings(hospital / "student", hospital / "cohort", out, **settings)


def rows_of(rater: RaterKey, seed: int = 0) -> list[dict]:
    """Random ratings of everything on a rater's page, as the page saves them."""
    choose = random.Random(f"{seed} {rater.rater}")
    return [
        {
            "item": placing.item,
            "letter": "ABC"[position],
            **{key: choose.randint(1, 5) for key in criteria()},
            "comment": "",
        }
        for placing in rater.placings
        for position, _ in enumerate(placing.authors)
    ]


def saved(folder: Path, pack: RatingPack, rater: RaterKey, rows: list[dict], /, **changes) -> Path:
    """A sealed rating file of a person."""
    content = {
        "kind": KIND,
        "ratings_version": 1,
        "pack": pack.key.pack,
        "rater": rater.rater,
        "rater_kind": "human",
        "saved": "2150-01-01T00:00:00.000Z",
        "ratings": rows,
    } | changes
    folder.mkdir(exist_ok=True)
    path = folder / f"ratings-{pack.key.pack}-{rater.rater}.json"
    path.write_text(json.dumps({**content, "seal": seal(content, rater.secret)}))
    return path
