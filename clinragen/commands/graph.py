"""``clinragen graph build|show|stats|draw``: the medical concept graph."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.errors import UserError

if TYPE_CHECKING:
    from clinragen.knowledge.concepts import Contribution
    from clinragen.knowledge.graph import ConceptGraph

PICTURES = (b"\x89PNG", b"<?xml", b"%PDF")  # what a picture begins with
HELP = "Build, show, count and draw the medical concept graph."


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write the graph to a folder")
    build.add_argument("--out", type=Path, required=True, help="folder to write")
    build.add_argument("--overwrite", action="store_true", help="replace the folder")
    build.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME[=PATH]",
        help="add a source beside the curated core; see: clinragen graph sources",
    )
    actions.add_parser("sources", help="list further knowledge sources, their licences and where to get them")
    show = actions.add_parser("show", help="print one concept like a textbook entry, with sources")
    show.add_argument("name", nargs="+", help="name, synonym or id: pneumonia, SOB, finding:lactate:high")
    stats = actions.add_parser("stats", help="print counts, licences and coverage")
    draw = actions.add_parser("draw", help="draw the graph, or one concept with its neighbours")
    draw.add_argument("name", nargs="*", help="a concept by name, synonym or id (default: the whole graph)")
    draw.add_argument("--out", type=Path, required=True, help="picture to write: .png, .svg or .pdf")
    draw.add_argument("--overwrite", action="store_true", help="replace the picture")
    draw.add_argument("--min-weight", type=float, help="leave out lighter edges (default: 0.5; 0.2 around one concept)")
    for action in (show, stats, draw):
        action.add_argument("--graph", type=Path, help="graph folder (default: the curated core)")


def run(args: argparse.Namespace) -> None:
    """Do one of the actions."""
    from clinragen.knowledge.graph import ConceptGraph
    from clinragen.knowledge.graph import build as build_graph
    from clinragen.outputs import GRAPH, check_output, check_output_file

    if args.action == "build":
        check_output(args.out, GRAPH, overwrite=args.overwrite, inputs=_folders(args.source))
        graph = build_graph(_contributions(args.source))
        graph.save(args.out, overwrite=args.overwrite)
        print(f"{graph.manifest['nodes']} nodes, {graph.manifest['edges']} edges written to {args.out}")
        return
    if args.action == "sources":
        from clinragen.knowledge.sources.external import SOURCES

        for name, source in SOURCES.items():
            switch = f"--source {name}{'=FOLDER' if source.files else ''}"
            print(f"{name}\n  adds     {source.adds}\n  licence  {source.licence}\n  version  {source.version}")
            print(f"  files    {', '.join(source.files) or 'none'}\n  from     {source.get}\n  switch   {switch}\n")
        return
    graph = ConceptGraph.load(args.graph) if args.graph else build_graph()
    if args.action == "show":
        from clinragen.knowledge.describe import entry

        print(entry(graph, graph.find(" ".join(args.name))))
    elif args.action == "draw":
        from clinragen.knowledge.draw import draw

        check_output_file(args.out, PICTURES, overwrite=args.overwrite, inputs=(args.graph,))
        focus = graph.find(" ".join(args.name)) if args.name else None
        least = args.min_weight if args.min_weight is not None else (0.2 if focus else 0.5)
        draw(graph, args.out, focus=focus, least=least)
        print(f"drawn to {args.out}", file=sys.stderr)
    else:
        _stats(graph)


def _folders(sources: list[str]) -> list[Path]:
    """The folders among ``--source NAME=FOLDER``."""
    return [Path(folder) for _, _, folder in (item.partition("=") for item in sources) if folder]


def _contributions(wanted: list[str]) -> list[Contribution]:
    from clinragen.knowledge.graph import build as build_graph
    from clinragen.knowledge.sources import curated, external

    parts = [curated.contribute()]
    known = build_graph(parts).known
    for item in wanted:
        name, separator, folder = item.partition("=")
        if separator and not folder:
            raise UserError(f"--source {item}: expected NAME=FOLDER; clinragen graph sources lists the names")
        parts.append(external.contribute(name, Path(folder) if folder else None, known))
    return parts


def _stats(graph: ConceptGraph) -> None:
    from rich.console import Console
    from rich.table import Table

    from clinragen.knowledge import describe

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # rich takes 80 columns for a pipe, too few for the coverage table

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for position, column in enumerate(columns):
            made.add_column(column, justify="left" if position == 0 else "right")
        return made

    kinds = table("Nodes", "kind", "count")
    for kind, count in describe.counts(graph.nodes[node]["kind"] for node in graph.nodes):
        kinds.add_row(kind, str(count))
    relations = table("\nEdges", "relation", "count", "by source")
    relations.columns[-1].justify = "left"
    edges = [data for _, _, data in graph.graph.edges(data=True)]
    for relation, count in describe.counts(edge["relation"] for edge in edges):
        shares = describe.counts(edge["origin"] for edge in edges if edge["relation"] == relation)
        relations.add_row(relation, str(count), ", ".join(f"{name} {number}" for name, number in shares))
    sources = Table(title="\nKnowledge sources", title_justify="left", box=None, pad_edge=False)
    for column in ("source", "version", "edges", "licence"):
        sources.add_column(column)
    origins = dict(describe.counts(edge["origin"] for edge in edges))
    for name, source in graph.manifest["sources"].items():
        sources.add_row(name, source["version"], str(origins.get(name, 0)), source["licence"])
    covered = table(
        "\nCoverage", "phenotype", "findings", "symptoms", "variables", "diseases", "drugs", "procedures", "enough"
    )
    for row in describe.coverage(graph):
        enough = "yes" if row.met else "NO"
        numbers = (row.findings, row.symptoms, row.variables, row.diseases, row.drugs, row.procedures)
        covered.add_row(row.phenotype, *map(str, numbers), enough)
    for made in (kinds, relations, sources, covered):
        console.print(made)
    poor = [row.phenotype for row in describe.coverage(graph) if not row.met]
    asked = f"{describe.LEAST_FINDINGS} findings or symptoms and {describe.LEAST_VARIABLES} variables"
    console.print(f"\nFewer than {asked}: {', '.join(poor) or 'no phenotype'}.", highlight=False)
    tied, bounded = describe.tied_variables(graph)
    reasons = describe.reasons_for_no_finding()
    missing = describe.uncovered_sides(graph)
    stated = [f"{side} ({reasons[side]})" for side in missing if side in reasons]
    unstated = [side for side in missing if side not in reasons]
    cited = len(graph.manifest["citations"])
    console.print(
        f"{tied} of {bounded} variables with a reference range are tied to findings; {cited} works are cited.\n"
        f"{len(missing)} sides of a range carry no finding.",
        highlight=False,
    )
    for title, sides in (("For the stated reason", stated), ("Without a stated reason", unstated)):
        if sides:
            console.print(f"{title}: {', '.join(sides)}", highlight=False)
