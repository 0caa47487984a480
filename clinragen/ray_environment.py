"""What every Ray of ours is told before it is imported, whatever it runs: it keeps to itself."""

from __future__ import annotations

import os


def keep_to_itself() -> None:
    """Ray sends no usage reports, and takes nothing of the process that starts it to its workers.

    Under ``uv run``, which ``make`` uses, Ray would copy the working directory to every machine of the cluster, patient
    data with it, and start workers by the words of that command line, which need not be a program there. It reads both
    settings when it is imported.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
