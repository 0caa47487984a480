"""Questions about stays: are their answers true, do the questions give them away, and what is a stranger's chart worth?

    python benchmarks/questions.py --cohort COHORT --out outputs/questions [--per-stay 20] [--turns 5]
        [--student RUN [--language-model FILE.gguf ...]]

Prints, for the questions that ``clinragen teach questions`` writes about a cohort:

- how many of the series' answers other code confirms: one DuckDB query straight over ``series.parquet``, none of the
  program's code; a word that hangs on a tie of rounding may be either;
- the AUROC of a classifier that sees the question alone (TF-IDF of words and pairs of words, logistic regression) and
  says whether the chart answers it: learned from training stays, scored on validation stays (same wordings) and on
  test stays (other wordings). Patients are disjoint. 0.5 is the aim, .60 the limit;
- how often the answer of another, random test stay's chart is the right one, beside the most frequent answer to that
  kind of question in training;
- questions written per second of processor time, reading of the cohort included;
- with ``--turns``, of dialogues, how often readers read each turn into the query that was meant;
- with ``--student``, a run of `clinragen train ask`, how often it reads a question into the query that was meant
  (``question_readers.py``).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from printed_tables import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from clinragen.api.questions import teach_questions
from clinragen.catalog import Variable, variables
from clinragen.cohort.folder import Cohort
from clinragen.knowledge.relabel import open_graph
from clinragen.questions.answer import answer
from clinragen.questions.query import Query
from clinragen.questions.stay_chart import charts

Row = dict[str, Any]
#: Kinds whose answers stand in the series.
OF_SERIES = ("value", "highest", "lowest", "mean", "trend", "time", "count", "compare", "range")
_SLACK = 1e-9

#: All that the answers of one window need, of each question: from the two tables of the cohort alone.
_SQL = """
with ends as (
  select stay_id, epoch_ms(prediction_time) / 3.6e6 - epoch_ms(intime) / 3.6e6 as stop from read_parquet($stays)
), inside as (
  select q.number, cast(s.hour as double) as hour, cast(cast(s.value as varchar) as double) as value,
         round_even(cast(cast(s.value as varchar) as double), q.decimals) as written
  from questions q join ends e using (stay_id)
  join read_parquet($series) s on s.stay_id = q.stay_id and s.variable = q.variable
  where s.hour < e.stop and s.hour >= case when q.start < 0 then greatest(e.stop + q.start, 0) else q.start end
    and (q.stop is null or s.hour < q.stop)
), extremes as (
  select number, max(value) as top, min(value) as bottom from inside group by number
)
select q.number, any_value(q.start) >= any_value(e.stop) as after_the_end,
       count(value) as count, avg(value) as mean, any_value(top) as highest, any_value(bottom) as lowest,
       arg_min(value, hour) as first, arg_max(value, hour) as last, min(hour) as first_hour, max(hour) as last_hour,
       min(hour) filter (value = top) as highest_hour, min(hour) filter (value = bottom) as lowest_hour,
       min(hour) filter (written > q.high) as above_hour, min(hour) filter (written < q.low) as below_hour,
       arg_min(value, abs(hour - target) * 1e6 + hour) as nearest, min(abs(hour - target)) as away
from questions q join ends e using (stay_id) left join inside using (number) left join extremes using (number)
group by q.number
"""


def measured(windows: Mapping[int, tuple[Row, str]], cohort: Path) -> dict[int, Row]:
    """What the series holds of a question's variable in a window.

    Args:
        windows: number -> a question about the series, and a window as it is written in its query.
        cohort: its folder.
    """
    table = []
    for number, (row, window) in windows.items():
        start, _, stop = window.partition("-")
        if window.startswith("last:"):
            start, stop = f"-{window.removeprefix('last:')}", ""
        words, spec = row["query"].split(), _variable(row)
        target = float(words[2]) if words[1] == "at" else None
        bounds = (float(start or 0), float(stop) if stop else None, target)
        table.append((number, row["stay_id"], spec.key, *bounds, spec.decimals, spec.low, spec.high))
    with duckdb.connect() as connection:
        connection.execute(
            "create table questions (number int, stay_id bigint, variable varchar, start double, stop double, "
            "target double, decimals int, low double, high double)"
        )
        columns = ("number", "stay_id", "variable", "start", "stop", "target", "decimals", "low", "high")
        listed = pl.DataFrame(table, schema=columns, orient="row", infer_schema_length=None).to_arrow()
        connection.register("listed", listed)
        connection.execute("insert into questions select * from listed")
        tables = {"stays": str(cohort / "stays.parquet"), "series": str(cohort / "series.parquet")}
        result = connection.execute(_SQL, tables)
        names = [column[0] for column in result.description or ()]
        rows = [dict(zip(names, values, strict=True)) for values in result.fetchall()]
    return {row["number"]: row for row in rows}


def confirmed(rows: Sequence[Row], cohort: Path) -> list[bool]:
    """Whether other code comes to the status and value of each question about the series."""
    first = measured({number: (row, _windows(row)[0]) for number, row in enumerate(rows)}, cohort)
    second = measured(
        {number: (row, _windows(row)[1]) for number, row in enumerate(rows) if row["kind"] == "compare"}, cohort
    )
    return [_agrees(row, first[number], second.get(number)) for number, row in enumerate(rows)]


def _windows(row: Row) -> list[str]:
    """The windows that follow the variable of a query; an empty one stands for the whole stay."""
    words = row["query"].split()
    return words[words.index(_variable(row).key) + 1 :] or [""]


def _variable(row: Row) -> Variable:
    return variables()[next(word for word in row["query"].split() if word in variables())]


def _agrees(row: Row, one: Row, other: Row | None) -> bool:
    spec = _variable(row)
    expected = _expected(row["kind"], row["query"].split()[1], one, other, spec)
    if expected is None:
        return row["status"] == "not_in_chart" and row["value"] is None
    if row["status"] != "answered":
        return False
    if isinstance(expected, tuple):
        return row["value"] in expected
    if row["kind"] in ("count", "time"):
        return row["value"] == expected
    return abs(row["value"] - expected) <= 0.5 * 10**-spec.decimals + _SLACK


def _expected(kind: str, which: str, one: Row, other: Row | None, spec: Variable) -> Any:
    """A number, or the words that are right (two at a tie of rounding), or None where there is nothing to say."""
    if one["after_the_end"]:
        return None
    if kind == "count":
        return one["count"]
    if not one["count"] or (other is not None and not other["count"]):
        return None
    if kind == "value":
        return (one["nearest"] if one["away"] <= 2 else None) if which == "at" else one[which]
    if kind in ("highest", "lowest", "mean"):
        return one[kind]
    if kind == "trend":
        return _trend(one, spec)
    if kind == "time":
        hour = one[f"{which.removeprefix('first_')}_hour"]
        return ("never",) if hour is None else hour
    if kind == "range":
        return ("no",) if one[f"{which}_hour"] is None else ("yes",)
    assert other is not None
    means = [{round(row["mean"] + slack, spec.decimals) for slack in (-_SLACK, _SLACK)} for row in (one, other)]
    words = {(a > b) - (a < b) for a in means[0] for b in means[1]}
    return tuple({1: "higher", -1: "lower", 0: "equal"}[word] for word in words)


def _trend(one: Row, spec: Variable) -> tuple[str, ...] | None:
    if one["count"] < 2:
        return None
    low, high = spec.low, spec.high
    width = high - low if low is not None and high is not None and high > low else abs(high or low or 1) or 1
    first, last = (float(f"{one[end]:.6g}") for end in ("first", "last"))
    same = f"{first:.{spec.decimals}f}" == f"{last:.{spec.decimals}f}"
    if same or abs(last - first) < 0.3 * width:
        return ("stable",)
    return ("rising",) if last > first else ("falling",)


def question_only(rows: Sequence[Row]) -> dict[str, float]:
    """AUROC by split of a classifier that sees the words of a question alone."""
    by_split: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_split[row["split"]].append(row)
    train = by_split["train"]
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2), LogisticRegression(max_iter=1000))
    model.fit([row["question"] for row in train], [row["status"] == "answered" for row in train])
    scores = {}
    for split in ("validation", "test"):
        held_out = by_split[split]
        truth = [row["status"] == "answered" for row in held_out]
        scores[split] = float(roc_auc_score(truth, model.predict_proba([row["question"] for row in held_out])[:, 1]))
    return scores


def strangers(rows: Sequence[Row], cohort: Cohort, seed: int = 0) -> dict[str, tuple[int, float, float]]:
    """Of each kind: how many test questions the chart answers, and the share that a stranger's chart answers alike,
    and that the most frequent answer of training does."""
    tested = [row for row in rows if row["split"] == "test" and row["status"] == "answered"]
    frequent: dict[str, Counter[object]] = defaultdict(Counter)
    for row in rows:
        if row["split"] == "train" and row["status"] == "answered":
            frequent[_head(row)][row["value"]] += 1
    graph = open_graph(None, cohort.label_set, cohort.added)
    by_stay = {chart.stay_id: chart for chart in charts(cohort.of_stays(cohort.split("test")), graph)}
    ids, draw = np.array(sorted(by_stay)), np.random.default_rng(seed)
    hits: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for row in tested:
        stranger = by_stay[int(draw.choice(ids[ids != row["stay_id"]]))]
        theirs = answer(Query.parse(row["query"]), stranger).value
        most = frequent[_head(row)].most_common(1)
        hits[row["kind"]].append((theirs == row["value"], bool(most) and most[0][0] == row["value"]))
    return {
        kind: (len(pairs), *(float(np.mean([pair[i] for pair in pairs])) for i in (0, 1)))  # type: ignore[misc]
        for kind, pairs in sorted(hits.items())
    }


def _head(row: Row) -> str:
    return Query.parse(row["query"]).head


def read(path: Path) -> list[Row]:
    """The questions of a folder."""
    with open(path / "questions.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write questions about a cohort and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-stay", type=int, default=20)
    parser.add_argument("--turns", type=int, default=1, help="questions of each dialogue")
    parser.add_argument("--student", type=Path, help="run of stage ask")
    parser.add_argument("--language-model", type=Path, nargs="*", default=[], help="GGUF files of general models")
    chosen = parser.parse_args(arguments)
    console = Console(width=120)
    started = time.process_time()
    teach_questions(chosen.cohort, chosen.out, per_stay=chosen.per_stay, turns=chosen.turns, overwrite=True)
    seconds = time.process_time() - started
    rows, cohort = read(chosen.out), Cohort.load(chosen.cohort)
    console.print(f"{len(rows)} questions, {len(rows) / seconds:.0f} a second of one core")
    _counts(rows, console)
    series = [row for row in rows if row["kind"] in OF_SERIES]
    agree = confirmed(series, chosen.cohort)
    console.print(f"answers from the series that DuckDB confirms: {sum(agree)} of {len(series)}")
    for row in [row for row, right in zip(series, agree, strict=True) if not right][:5]:
        console.print(f"  {row['query']}: {row['status']}, {row['value']}")
    auroc = question_only(rows)
    console.print("whether the chart answers, told from the question alone, AUROC: "
                  + ", ".join(f"{split} {score:.3f}" for split, score in auroc.items()))  # fmt: skip
    _strangers(strangers(rows, cohort), console)
    if chosen.turns > 1:
        from dialogue_readers import compare_turns

        compare_turns(rows, cohort, console, chosen.student)
    else:
        from question_readers import compare

        compare(chosen.student, chosen.language_model, rows, cohort, console)


def _counts(rows: Iterable[Row], console: Console) -> None:
    counts = Counter((row["kind"], row["status"]) for row in rows)
    table = Table("kind", "answered", "not in the chart", box=None)
    for kind in sorted({kind for kind, _ in counts}):
        table.add_row(kind, *(str(counts[kind, status]) for status in ("answered", "not_in_chart")))
    console.print(table)


def _strangers(shares: Mapping[str, tuple[int, float, float]], console: Console) -> None:
    table = Table("answered test questions", "n", "the stay's chart", "a stranger's chart", "most frequent", box=None)
    for kind, (count, theirs, most) in shares.items():
        table.add_row(kind, str(count), "1.000", f"{theirs:.3f}", f"{most:.3f}")
    total = sum(count for count, _, _ in shares.values())
    means = [sum(one[0] * one[i] for one in shares.values()) / total for i in (1, 2)]
    table.add_row("all", str(total), "1.000", *(f"{mean:.3f}" for mean in means))
    console.print(table)


if __name__ == "__main__":
    main()
