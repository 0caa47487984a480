"""The hospital and the network of each admission: who provides its Encounter, and what that is a part of."""

from __future__ import annotations

import polars as pl

from mimic_prep.releases.fhir.stays import Placed

_DEEPEST = 8  # organizations above one another, so that a circle ends


def sites(placed: Placed, encounters: pl.DataFrame, organizations: pl.DataFrame) -> pl.DataFrame:
    """hadm_id, hospital_id, network_id of the admissions whose provider is known.

    The hospital is the organization of the hospital encounter, or else of a stay within it: by its name, else the name
    that the reference displays, else its id. The network is the topmost organization that it is a part of, if any.

    Args:
        placed: stays and admissions.
        encounters: rows of ``resources.SCHEMAS``, with references resolved.
        organizations: likewise.
    """
    above = dict(organizations.select("key", "part_of").iter_rows())
    names = dict(organizations.drop_nulls("name").select("key", "name").iter_rows())
    rows = encounters.select("key", "provider", "provider_name").filter(~pl.all_horizontal(pl.exclude("key").is_null()))
    of_encounter = {key: (provider, shown) for key, provider, shown in rows.iter_rows()}
    hospitals: dict[int, tuple[str | None, str | None]] = {}
    for frame in (placed.admissions, placed.stays):  # the hospital encounter counts before those of its parts
        for hadm_id, key in frame.select("hadm_id", "encounter").iter_rows():
            if key in of_encounter:
                hospitals.setdefault(hadm_id, of_encounter[key])
    table = []
    for hadm_id, (provider, shown) in sorted(hospitals.items()):
        top = _top(provider, above)
        hospital = names.get(provider or "") or shown or _id(provider)
        table.append([hadm_id, hospital, None if top == provider else names.get(top or "") or _id(top)])
    schema = {"hadm_id": pl.Int64, "hospital_id": pl.String, "network_id": pl.String}
    return pl.DataFrame(table, schema=schema, orient="row")


def _top(key: str | None, above: dict[str, str | None]) -> str | None:
    for _ in range(_DEEPEST):
        parent = above.get(key or "")
        if parent is None:
            break
        key = parent
    return key


def _id(key: str | None) -> str | None:
    """The id of a reference, without the type of its resource."""
    return key.removeprefix("Organization/") if key else None
