"""The Python API of ``import clinragen``: one function for each command, with typed results."""
