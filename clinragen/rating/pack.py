"""Write a rating pack: draw stays, deal letters and orders, and write a page for each rater."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from clinragen import versions
from clinragen.artifacts import sha256_json, write_json, write_text
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.integrity import outputs_of
from clinragen.outputs import MANIFEST, RATING_PACK, output_folder
from clinragen.rating import items, key
from clinragen.rating.authors import Compared
from clinragen.rating.criteria import WORDINGS
from clinragen.rating.draw import balanced_orders, draw_stays, neutral_names
from clinragen.rating.items import Item, charts_of, write_items
from clinragen.rating.key import JUDGE, MOST_AUTHORS, AuthorKey, PackKey, Placing, RaterKey, write_key
from clinragen.rating.page import pages

PAGES = "raters"


@dataclass(frozen=True)
class PackRequest:
    """What a pack is made of.

    Attributes:
        cohort: the stays.
        compared: what was written about them.
        stays: how many are drawn.
        raters: number of people who rate, each all stays.
        seed: decides what is drawn, and every order.
    """

    cohort: Cohort
    compared: Compared
    stays: int
    raters: int
    seed: int


def write_pack(
    request: PackRequest, out: Path, *, overwrite: bool = False, progress: Callable[[], None] = lambda: None
) -> PackKey:
    """Write the folder of a pack: ``raters`` with a page for each of them, and beside it the key and the stays.

    Args:
        request: what it is made of.
        out: folder to write.
        overwrite: replace a pack that is there.
        progress: called after each page.

    Raises:
        UserError: too few stays have rationales of all authors, or ``out`` may not be written.
    """
    _check(request)
    generator = np.random.default_rng(request.seed)
    drawn = _items(request, generator)
    raters = _raters(request, [item.name for item in drawn], generator)
    content = {"items": [asdict(item) for item in drawn], "raters": [asdict(rater) for rater in raters]}
    pack = PackKey(
        pack=sha256_json([request.seed, content])[:12],
        seed=request.seed,
        cohort=str(request.cohort.paths.root),
        authors=[AuthorKey(author.name, author.source) for author in request.compared.authors],
        raters=raters,
        rated=None if request.compared.rated == "rationales" else request.compared.rated,
    )
    with output_folder(out, RATING_PACK, overwrite=overwrite) as folder:
        write_items(folder, drawn)
        write_key(folder, pack)
        (folder / PAGES).mkdir()
        humans = [rater for rater in raters if rater.kind == "human"]
        for rater, page in pages(humans, {item.name: item for item in drawn}, pack.pack, request.compared.rated):
            write_text(folder / PAGES / f"{rater}.html", page)
            progress()
        recorded = outputs_of([folder / key.FILE, folder / items.FILE])
        write_json(folder / MANIFEST, {**versions.RATING_PACK.mark, "pack": pack.pack, **recorded})
    return pack


def _check(request: PackRequest) -> None:
    for option, value, most in (("--stays", request.stays, 10_000), ("--raters", request.raters, 100)):
        if not 1 <= value <= most:
            raise UserError(f"{option} {value}: expected a number from 1 to {most:,}")
    if request.seed < 0:
        raise UserError(f"--seed {request.seed}: expected a number from 0 on")
    if (authors := len(request.compared.authors)) > MOST_AUTHORS:
        raise UserError(f"{authors} authors are too many for a page: at most {MOST_AUTHORS} are compared")


def _items(request: PackRequest, generator: np.random.Generator) -> list[Item]:
    """The drawn stays under neutral names, in the order of these."""
    compared = request.compared
    shared = set.intersection(*(set(author.arguments) for author in compared.authors))
    patients = dict(request.cohort.stays.select("stay_id", "subject_id").iter_rows())
    pool = {stay: compared.diagnoses[stay] for stay in shared}
    if len(pool) < request.stays:
        names, what = ", ".join(author.name for author in compared.authors), WORDINGS[compared.rated].many
        raise UserError(
            f"--stays {request.stays}: only {len(pool)} stays have {what} of every author ({names}): ask for fewer"
        )
    stays = draw_stays(pool, patients, request.stays, generator)
    charts = {
        stay: replace(chart, sections=[*compared.further.get(stay, []), *chart.sections])
        for stay, chart in charts_of(request.cohort, stays).items()
    }
    return [
        Item(
            name=name,
            stay_id=stay,
            subject_id=patients[stay],
            chart=charts[stay],
            arguments={author.name: author.arguments[stay] for author in compared.authors},
        )
        for name, stay in sorted(zip(neutral_names(len(stays), generator), stays, strict=True))
    ]


def _raters(request: PackRequest, names: Sequence[str], generator: np.random.Generator) -> list[RaterKey]:
    """Each rater with an order of stays, and of the authors of each stay; the language model is one of them."""
    authors = [author.name for author in request.compared.authors]
    raters = []
    for number in range(request.raters + 1):
        order = generator.permutation(list(names)).tolist()
        placings = [
            Placing(name, shown)
            for name, shown in zip(order, balanced_orders(authors, len(order), generator), strict=True)
        ]
        name = f"rater-{number + 1}" if number < request.raters else JUDGE
        kind = "human" if number < request.raters else "llm"
        raters.append(RaterKey(name, kind, generator.bytes(16).hex(), placings))
    return raters
