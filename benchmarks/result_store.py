"""`results.json`, where each figure lives, and the pages that show its tables and quote its figures.

A page shows a table after the mark `<!-- table: ID -->`, and quotes a figure after `<!-- ID | ROW | COLUMN -->`; both
are written anew by `Tables.update`. A table of `overview.yaml` is put together from cells of others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinragen.artifacts import write_text
from clinragen.errors import UserError

ROOT = Path(__file__).parents[1]
STORE = ROOT / "results.json"
TABLE_MARK = re.compile(r"^<!-- table: (\S+) -->\n\n((?:\|.*\n)*)", re.MULTILINE)
NUMBER = r"[−+]?\d*\.?\d+"
#: A mark, the figure after it, and its interval in brackets if that follows.
QUOTE = re.compile(
    rf"(?<!`)<!-- (?P<table>\S+) \| (?P<row>[^|\n]+?) \| (?P<column>[^|\n]+?) -->"
    rf"(?P<figure>{NUMBER})"
    rf"(?P<words> \((?:95 % interval )?)?(?(words){NUMBER}(?P<to>–| to ){NUMBER}\))"
)


@dataclass(frozen=True)
class Tables:
    """The tables of `results.json` and of the overview, by their ids."""

    tables: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls) -> Tables:
        """Those of the checkout; overview tables are put together from the others."""
        stored = cls(json.loads(STORE.read_text(encoding="utf-8"))["tables"])
        overview = yaml.safe_load((ROOT / "benchmarks" / "overview.yaml").read_text(encoding="utf-8"))
        return cls({**stored.tables, **{name: stored._put_together(table) for name, table in overview.items()}})

    def _put_together(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """A table of an overview, in which `= ID | ROW | COLUMN` stands for a cell of another."""
        rows = [
            [self.cell(*_reference(cell)) if cell.startswith("= ") else cell for cell in row] for row in table["rows"]
        ]
        return {**table, "rows": rows}

    def cell(self, table: str, row: str, column: str) -> str:
        """A cell, by the table's id, the row's first cell and the column's heading; `UserError` unless there is one."""
        if table not in self.tables:
            raise UserError(f"results.json has no table {table}: one of {', '.join(sorted(self.tables))}")
        columns, rows = self.tables[table]["columns"], self.tables[table]["rows"]
        chosen = [cells for cells in rows if _plain(cells[0]) == _plain(row)]
        if len(chosen) != 1 or columns.count(column) != 1:
            raise UserError(
                f"table {table} of results.json has {len(chosen)} rows {row!r} and {columns.count(column)} columns "
                f"{column!r}: rows {[cells[0] for cells in rows]}, columns {columns}"
            )
        return chosen[0][columns.index(column)]

    def markdown(self, name: str) -> str:
        """A table as Markdown."""
        columns, rows = self.tables[name]["columns"], self.tables[name]["rows"]
        head, *lines = ["|".join(f" {cell} " if cell else " " for cell in cells) for cells in (columns, *rows)]
        return "".join(f"|{line}|\n" for line in (head, "|".join(["---"] * len(columns)), *lines))

    def update(self, text: str) -> str:
        """A page with its marked tables and figures as `results.json` has them."""
        return QUOTE.sub(self._quoted, TABLE_MARK.sub(self._marked_table, text))

    def _marked_table(self, mark: re.Match[str]) -> str:
        """A mark and its table, with an empty line before what follows."""
        if mark[1] not in self.tables:
            raise UserError(
                f"a page shows table {mark[1]}, which results.json has not: one of {', '.join(self.tables)}"
            )
        ends = "" if mark.string[mark.end() : mark.end() + 1] in ("", "\n") else "\n"
        return f"<!-- table: {mark[1]} -->\n\n{self.markdown(mark[1])}{ends}"

    def _quoted(self, quote: re.Match[str]) -> str:
        """A quote with the figures of its cell."""
        numbers = re.findall(NUMBER, self.cell(quote["table"], quote["row"], quote["column"]))
        needed = 3 if quote["words"] else 1
        if len(numbers) < needed:
            raise UserError(f"{quote[0]}: the cell has no {'interval' if numbers else 'figure'}")
        mark = f"<!-- {quote['table']} | {quote['row']} | {quote['column']} -->"
        ends = f"{quote['words']}{numbers[1]}{quote['to']}{numbers[2]})" if quote["words"] else ""
        return f"{mark}{numbers[0]}{ends}"


def save(tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write `results.json`, a line for each field of a table and for each of its rows."""
    parts = []
    for name in sorted(tables):
        fields = {key: value for key, value in tables[name].items() if key != "rows"}
        lines = [f"{_text(key)}: {_text(value)}" for key, value in fields.items()]
        rows = ",\n    ".join(_text(row) for row in tables[name]["rows"])
        parts.append(f"  {_text(name)}: {{\n   " + ",\n   ".join([*lines, f'"rows": [\n    {rows}]']) + "}")
    write_text(STORE, '{\n "tables": {\n' + ",\n".join(parts) + "}}\n")
    STORE.chmod(0o644)  # it holds no patient's text


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _reference(cell: str) -> tuple[str, str, str]:
    table, row, column = (part.strip() for part in cell[2:].split("|"))
    return table, row, column


def _plain(cell: str) -> str:
    return cell.replace("**", "").replace("`", "").strip()


def tables_in(text: str) -> dict[str, dict[str, Any]]:
    """Columns and rows of the tables of a page that stand after a mark, by their ids."""
    marked = {mark[1]: [_cells(line) for line in mark[2].splitlines()] for mark in TABLE_MARK.finditer(text)}
    return {name: {"columns": lines[0], "rows": lines[2:]} for name, lines in marked.items() if len(lines) > 2}


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip()[1:-1].split("|")]


def pages() -> Iterator[Path]:
    """The pages that may show tables or quote figures."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def unmarked(text: str) -> list[str]:
    """The figures of a page (three decimals, no zero before the point) without a mark; code is left out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = QUOTE.sub("", TABLE_MARK.sub("", re.sub(r"`[^`\n]*`", "", text)))
    return re.findall(r"(?<![\d.])\.\d{3}\b[^\n]{0,40}", re.sub(r"<!-- by definition -->\S+", "", text))


def typeset(cell: str) -> str:
    """A printed cell as the pages write it: no zero before the point, a minus sign, intervals with a dash."""
    cell = re.sub(r"(?<![\d.])0(\.\d+)", r"\1", cell)
    cell = re.sub(r"(?<![\w.])-(?=\.?\d)", "−", cell)
    return re.sub(r"\((\.?[\d.]+) to (\.?[\d.]+)\)", r"(\1–\2)", cell)
