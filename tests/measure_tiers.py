"""Write ``slow.txt``, the tests that are slow by measurement, from a run of every test: ``make tiers`` runs this.

A test function is slow where a case takes 0.2 seconds on average, or all its cases take 2 seconds together.

Usage: pytest --tier all --junitxml times.xml; python tests/measure_tiers.py times.xml
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

CASE, TOGETHER = 0.2, 2.0  # seconds


def slow(times: Path) -> list[str]:
    """``file::function`` of what is slow in pytest's JUnit report, sorted."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(times).iter("testcase"):
        file = case.attrib["classname"].split(".")
        name = next(part for part in reversed(file) if part.startswith("test_"))
        seconds[f"{name}.py::{case.attrib['name'].split('[')[0]}"].append(float(case.attrib["time"]))
    return sorted(name for name, all_ in seconds.items() if sum(all_) >= min(TOGETHER, CASE * len(all_)))


if __name__ == "__main__":
    names = slow(Path(sys.argv[1]))
    Path(__file__).with_name("slow.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{len(names)} test functions are slow")
