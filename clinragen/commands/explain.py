"""``clinragen explain``: show which concepts, variables and hours a diagnosis rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clinragen.command_line import answer
from clinragen.options import (
    AsJson,
    CohortFolder,
    MaybeWholeNumber,
    ModelFolder,
    OneOfDevices,
    Overwrite,
    Split,
    Texts,
    Verify,
    WholeNumbers,
)

if TYPE_CHECKING:
    from rich.table import Table

    from clinragen.api.prediction import Explanations

SHOWN = 5  # rows of each list on the terminal; the JSON holds more


def command(
    *,
    model: ModelFolder,
    cohort: CohortFolder,
    stay: WholeNumbers = (),
    split: Split = "test",
    limit: MaybeWholeNumber = None,
    diagnosis: Texts = (),
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    device: OneOfDevices = "auto",
    overwrite: Overwrite = False,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Show which concepts, variables and hours the diagnoses of a stay rest on, and write them as JSON.

    Args:
        stay: Stay id; may be repeated.
        split: Without --stay: the split to explain.
        limit: Without --stay: only the first stays.
        diagnosis: A phenotype by key or name; may be repeated. Default: those above their threshold.
        out: JSON Lines to write, one line per stay.
    """
    import json

    from rich.console import Console

    from clinragen.api.prediction import explain
    from clinragen.artifacts import write_text
    from clinragen.errors import UserError
    from clinragen.outputs import check_output_file
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    if out:
        check_output_file(out, (b'{"stay_id": ',), overwrite=overwrite, inputs=(model, cohort))
    if not stay and not out and not as_json:
        raise UserError("give --stay, or --out for the explanations of a whole split")
    explained = explain(
        model,
        cohort,
        stay=stay,
        split=split,
        limit=limit,
        diagnosis=diagnosis,
        device=device,
        verify=verify,
        progress=True,
    )
    console, rows = Console(), []
    for row in explained:
        rows.append(row)
        if stay and not as_json:
            console.print(f"[bold]Stay {row['stay_id']}[/]")
            for entry in row["diagnoses"]:
                console.print(_table(entry, explained))
    if out:
        write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    answer(f"{out}: {len(rows)} stays explained" if out else "", rows, as_json)


def _table(entry: Mapping[str, Any], explained: Explanations) -> Table:
    """One diagnosis: the drop of its logit without each part, and the model's attention to it."""
    from rich.table import Table

    table = Table(
        "",
        "fall of the logit when it is taken away",
        "share of attention",
        title=f"{explained.labels[entry['diagnosis']]}: probability {entry['probability']:.2f}, "
        f"threshold {entry['threshold']:.2f}",
        title_justify="left",
    )
    for kind in ("concepts", "variables", "hours"):
        lists = [_lines(entry[method][kind], kind, explained.concepts) for method in ("occlusion", "attention")]
        table.add_row(kind, *("\n".join(lines) or "nothing" for lines in lists))
        table.add_section()
    return table


def _lines(entries: Sequence[Mapping[str, Any]], kind: str, concepts: Mapping[str, str]) -> list[str]:
    from clinragen.catalog import variables

    lines = []
    for entry in entries[:SHOWN]:
        if kind == "concepts":
            name = concepts.get(entry["concept"], entry["concept"])
            text = f"{name} ({entry['in']})" if "in" in entry else name
        else:
            text = variables()[entry["variable"]].label
            if kind == "hours":
                text += f", hours {entry['from_hour']} to {entry['to_hour']}"
        lines.append(f"{entry['score']:6.3f}  {text}")
    return lines
