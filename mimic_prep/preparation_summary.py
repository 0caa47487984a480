"""Summary of a preparation as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table

from clinragen.cohort.manifest import AttritionRecord, CohortCounts, RowCounts

MOST_REASONS = 4


def show(
    attrition: AttritionRecord,
    tables: Mapping[str, RowCounts],
    cohort: CohortCounts,
    labels: Mapping[str, str],
    console: Console,
) -> None:
    """Print attrition, row accounting and labels of a manifest; ``labels`` are the labels' names by key."""
    console.print(_attrition(attrition))
    console.print(_rows(tables))
    if any(count["quarantined"] for count in tables.values()):
        console.print(_quarantine(tables))
    if any(count.get("remarks") for count in tables.values()):
        console.print(_remarks(tables))
    carried = cohort.get("phenotypes")
    if carried is not None:
        console.print(_phenotypes(carried, cohort["stays"], labels))
    by_split = ", ".join(f"{name} {count}" for name, count in cohort["splits"].items())
    if (origin := cohort.get("splits_from", "settings")) != "settings":
        by_split += f", as in {origin}"
    carry = f"{cohort.get('stays_with_phenotype', 0):,} stays carry a label" if carried is not None else "no labels"
    console.print(
        f"{cohort['stays']:,} stays of {cohort['patients']:,} patients ({by_split}); "
        f"{cohort['series_rows']:,} hourly values; text from notes for {cohort['stays_with_note']:,} stays, "
        f"from a digest for {cohort['stays_with_digest']:,}; "
        f"{carry}.",
        soft_wrap=True,
    )
    if where := _where(cohort):
        console.print(where, soft_wrap=True)


def _where(cohort: CohortCounts) -> str:
    """Hospitals, networks and periods, as far as they are known.

    >>> _where({"hospitals": 184, "networks": 1, "periods": {"2014": 832, "2015": 902}})
    'From 184 hospitals and 1 network; periods: 2014 (832 stays), 2015 (902 stays).'
    """
    counts = {"hospital": cohort.get("hospitals", 0), "network": cohort.get("networks", 0)}
    sites = " and ".join(f"{count:,} {name}{'s' * (count > 1)}" for name, count in counts.items() if count)
    periods = ", ".join(f"{name} ({stays:,} stays)" for name, stays in cohort.get("periods", {}).items())
    parts = [f"from {sites}" if sites else "", f"periods: {periods}" if periods else ""]
    sentence = "; ".join(part for part in parts if part)
    return f"{sentence[:1].upper()}{sentence[1:]}." if sentence else ""


def warn(warnings: Iterable[str], console: Console) -> None:
    """Print what a preparation warns of."""
    for line in warnings:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _attrition(attrition: AttritionRecord) -> Table:
    table = Table(title="Stays", title_justify="left")
    table.add_column("step")
    table.add_column("stays", justify="right")
    table.add_row("in the raw table", f"{attrition['entered']:,}")
    for step in attrition["excluded"]:
        table.add_row(f"- {step['reason']}", f"{step['stays']:,}", style=None if step["stays"] else "dim")
    table.add_row("kept", f"{attrition['kept']:,}", style="bold")
    return table


def _rows(tables: Mapping[str, RowCounts]) -> Table:
    table = Table(title="Rows", title_justify="left")
    table.add_column("table")
    for column in ("read", "kept", "out of scope", "quarantined"):
        table.add_column(column, justify="right")
    for name, count in tables.items():
        scope, bad = (sum(count[part].values()) for part in ("out_of_scope", "quarantined"))
        table.add_row(name, f"{count['read']:,}", f"{count['kept']:,}", f"{scope:,}", f"{bad:,}")
    return table


def _counted(title: str, what: str) -> Table:
    """An empty table for row counts by raw table."""
    table = Table(title=title, title_justify="left")
    table.add_column("table")
    table.add_column(what)
    table.add_column("rows", justify="right")
    return table


def _quarantine(tables: Mapping[str, RowCounts]) -> Table:
    table = _counted("Quarantined rows (each in quarantine.parquet)", "reason")
    for name, count in tables.items():
        worst = sorted(count["quarantined"].items(), key=lambda item: (-item[1], item[0]))
        for reason, rows in worst[:MOST_REASONS]:
            table.add_row(name, reason, f"{rows:,}")
        if len(worst) > MOST_REASONS:
            others = sum(rows for _, rows in worst[MOST_REASONS:])
            table.add_row(name, f"{len(worst) - MOST_REASONS} more reasons", f"{others:,}")
    return table


def _remarks(tables: Mapping[str, RowCounts]) -> Table:
    table = _counted("Remarks on rows", "remark")
    for name, count in tables.items():
        for remark, rows in count.get("remarks", {}).items():
            table.add_row(name, remark, f"{rows:,}")
    return table


def _phenotypes(carried: Mapping[str, int], stays: int, names: Mapping[str, str]) -> Table:
    table = Table(title="Labels", title_justify="left")
    table.add_column("label")
    table.add_column("stays", justify="right")
    table.add_column("share", justify="right")
    for key, count in carried.items():
        table.add_row(names[key], f"{count:,}", f"{count / stays:.1%}")
    return table
