"""The medical concept graph, its sources, and the linker from note text to concepts."""
