"""The concept graph as it ships and the linker of its names: they take seconds to build, so readers of them share."""

from clinragen.knowledge.graph import build
from clinragen.knowledge.linker import Linker

GRAPH = build()
LINKER = Linker(GRAPH)
