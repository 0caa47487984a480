"""``clinragen graph``: build, show, draw and count the medical concept graph."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.options import AsJson, GraphFolder, MaybeNumber, Out, Overwrite, Texts

if TYPE_CHECKING:
    from rich.table import Table

    from clinragen.knowledge.graph import ConceptGraph

PICTURES = (b"\x89PNG", b"<?xml", b"%PDF")  # the first bytes of each picture format

command = App(name="graph", help="Build, show, count and draw the medical concept graph.")


@command.command
def build(
    *,
    out: Out,
    source: Texts = (),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write the graph to a folder.

    Args:
        source: NAME or NAME=FOLDER of a source to add; may be repeated; see: clinragen graph sources.
    """
    from clinragen.api.knowledge import build_graph
    from clinragen.outputs import GRAPH, check_output

    folders = [Path(folder) for _, _, folder in (item.partition("=") for item in source) if folder]
    check_output(out, GRAPH, overwrite=overwrite, inputs=folders)
    graph = build_graph(source)
    graph.save(out, overwrite=overwrite)
    nodes, edges = graph.manifest.nodes, graph.manifest.edges
    answer(f"{nodes} nodes, {edges} edges written to {out}", {"out": out, "nodes": nodes, "edges": edges}, as_json)


@command.command
def sources(*, as_json: AsJson = False) -> None:
    """List further knowledge sources, their licences and where to get them."""
    from clinragen.knowledge.sources.external import SOURCES

    listed: list[dict[str, Any]] = []
    for name, source in SOURCES.items():
        switch = f"--source {name}{'=FOLDER' if source.files else ''}"
        listed.append(
            {
                "name": name,
                "adds": source.adds,
                "licence": source.licence,
                "version": source.version,
                "files": list(source.files),
                "from": source.get,
                "switch": switch,
            }
        )
    blocks = []
    for entry in listed:
        rows = {**entry, "files": ", ".join(entry["files"]) or "none"}
        name = rows.pop("name")
        blocks.append("\n".join([name, *(f"  {key:<8} {value}" for key, value in rows.items()), ""]))
    answer("\n".join(blocks), listed, as_json)


@command.command
def show(*name: Annotated[str, Parameter(required=True)], graph: GraphFolder = None, as_json: AsJson = False) -> None:
    """Print one concept like a textbook entry, with sources.

    Args:
        name: Name, synonym or id: pneumonia, SOB, finding:lactate:high.
    """
    from clinragen.errors import UserError
    from clinragen.knowledge.describe import entry

    if not name:
        raise UserError("clinragen graph show: name a concept, as in clinragen graph show pneumonia")
    opened = _open(graph)
    concept = opened.find(" ".join(name))
    answer(entry(opened, concept), {"id": concept, **opened.nodes[concept]}, as_json)


@command.command
def stats(*, graph: GraphFolder = None, as_json: AsJson = False) -> None:
    """Print counts, licences and coverage."""
    opened = _open(graph)
    if as_json:
        from clinragen.knowledge import describe

        kinds = describe.counts(opened.nodes[node]["kind"] for node in opened.nodes)
        relations = describe.counts(data["relation"] for _, _, data in opened.graph.edges(data=True))
        answer("", {"nodes": dict(kinds), "edges": dict(relations), "sources": opened.manifest.sources}, as_json)
    else:
        _stats(opened)


@command.command
def draw(
    *name: str,
    out: Annotated[Path, Parameter(name="--out", help="Picture to write: .png, .svg or .pdf.")],
    graph: GraphFolder = None,
    min_weight: MaybeNumber = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw the graph, or one concept with its neighbours.

    Args:
        name: A concept by name, synonym or id. Default: the whole graph.
        min_weight: Leave out edges of lower weight. Default: 0.5; 0.2 around one concept.
    """
    from clinragen.knowledge.draw import draw as draw_graph
    from clinragen.outputs import check_output_file

    opened = _open(graph)
    check_output_file(out, PICTURES, overwrite=overwrite, inputs=(graph,))
    focus = opened.find(" ".join(name)) if name else None
    least = min_weight if min_weight is not None else (0.2 if focus else 0.5)
    draw_graph(opened, out, focus=focus, least=least)
    print(f"drawn to {out}", file=sys.stderr)
    answer("", {"out": out}, as_json)


def _open(folder: Path | None) -> ConceptGraph:
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.knowledge.graph import build as build_graph

    return ConceptGraph.load(folder) if folder else build_graph()


def _stats(graph: ConceptGraph) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # rich takes 80 columns for a pipe, too few for the coverage table
    for table in (_kinds(graph), _relations(graph), _sources(graph), _coverage(graph)):
        console.print(table)
    for line in _gaps(graph):
        console.print(line, highlight=False)


def _table(title: str, *columns: str, justify: Literal["left", "right"] = "right") -> Table:
    """An empty table; ``justify``: of all columns but the first."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else justify)
    return table


def _kinds(graph: ConceptGraph) -> Table:
    from clinragen.knowledge import describe

    table = _table("Nodes", "kind", "count")
    for kind, count in describe.counts(graph.nodes[node]["kind"] for node in graph.nodes):
        table.add_row(kind, str(count))
    return table


def _relations(graph: ConceptGraph) -> Table:
    from clinragen.knowledge import describe

    table = _table("\nEdges", "relation", "count", "by source")
    table.columns[-1].justify = "left"
    edges = [data for _, _, data in graph.graph.edges(data=True)]
    for relation, count in describe.counts(edge["relation"] for edge in edges):
        shares = describe.counts(edge["origin"] for edge in edges if edge["relation"] == relation)
        table.add_row(relation, str(count), ", ".join(f"{name} {number}" for name, number in shares))
    return table


def _sources(graph: ConceptGraph) -> Table:
    from clinragen.knowledge import describe

    table = _table("\nKnowledge sources", "source", "version", "edges", "licence", justify="left")
    origins = dict(describe.counts(data["origin"] for _, _, data in graph.graph.edges(data=True)))
    for name, source in graph.manifest.sources.items():
        table.add_row(name, source["version"], str(origins.get(name, 0)), source["licence"])
    return table


def _coverage(graph: ConceptGraph) -> Table:
    from clinragen.knowledge import describe

    table = _table(
        "\nCoverage", "phenotype", "findings", "symptoms", "variables", "diseases", "drugs", "procedures", "enough"
    )
    for row in describe.coverage(graph):
        numbers = (row.findings, row.symptoms, row.variables, row.diseases, row.drugs, row.procedures)
        table.add_row(row.phenotype, *map(str, numbers), "yes" if row.met else "NO")
    return table


def _gaps(graph: ConceptGraph) -> Iterator[str]:
    """Gaps of the graph: phenotypes with few findings, and sides of a reference range without a finding."""
    from clinragen.knowledge import describe

    poor = [row.phenotype for row in describe.coverage(graph) if not row.met]
    enough = f"{describe.LEAST_FINDINGS} findings or symptoms and {describe.LEAST_VARIABLES} variables"
    yield f"\nFewer than {enough}: {', '.join(poor) or 'no phenotype'}."
    tied, bounded = describe.tied_variables(graph)
    reasons = describe.reasons_for_no_finding()
    missing = describe.uncovered_sides(graph)
    cited = len(graph.manifest.citations)
    yield (
        f"{tied} of {bounded} variables with a reference range are tied to findings; {cited} works are cited.\n"
        f"{len(missing)} sides of a range carry no finding."
    )
    stated = [f"{side} ({reasons[side]})" for side in missing if side in reasons]
    unstated = [side for side in missing if side not in reasons]
    for title, sides in (("For the stated reason", stated), ("Without a stated reason", unstated)):
        if sides:
            yield f"{title}: {', '.join(sides)}"
