"""Does the model need both modalities? Text only, series only and both, on the held-out patients of a finished demo.

    python benchmarks/modalities.py --demo outputs/demo [--epochs 8] [--out FOLDER]

Text only is stage `notes` and series only is stage `series`: the demo's own runs, or with `--epochs` new ones trained
for that many epochs, so that neither is short of training. Both is the demo's own multimodal run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from printed_tables import Console
from rich.table import Table

from clinragen.cohort.folder import Cohort
from clinragen.inference.predict import TrainedModel, score
from clinragen.quiet import quiet_libraries
from clinragen.stages.module import macro_auroc
from clinragen.stages.run import Request, run_stage


def main() -> None:
    """Train the two single-modality runs and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("outputs/demo"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    quiet_libraries()
    console = Console(stderr=True)
    out = args.demo
    path = args.demo / "cohort"
    if args.epochs:
        out = args.out or Path(tempfile.mkdtemp(prefix="modalities-"))
        settings = (f"stage.epochs={args.epochs}", f"stage.patience={args.epochs}", "stage.batch_size=8")
        run_stage(Request("notes", path, out / "notes", graph=args.demo / "graph", overrides=settings), console)
        run_stage(Request("series", path, out / "series", parent=args.demo / "notes", overrides=settings), console)
    cohort = Cohort.load(path)
    table = Table("model", "reads", "macro AUROC, held-out patients")
    for name, run in (
        ("text only", out / "notes"),
        ("series only", out / "series"),
        ("both", args.demo / "multimodal"),
    ):
        trained = TrainedModel.load(run)
        inputs = trained.manifest.inputs
        logits, labels = score(trained.model, trained.dataset(cohort, "test"), inputs)
        table.add_row(name, " + ".join(inputs), f"{macro_auroc(labels, logits):.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
