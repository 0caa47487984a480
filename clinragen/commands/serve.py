"""``clinragen serve``: answer for stays over HTTP on this machine, with a page to try it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clinragen.choices import EngineReads, QuestionEngine
from clinragen.options import ModelFolder, OneOfDevices, Texts, Verify, WholeNumber


def command(
    *,
    model: ModelFolder,
    host: str = "127.0.0.1",
    port: WholeNumber = 8765,
    token_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    max_stays: WholeNumber = 16,
    max_megabytes: WholeNumber = 8,
    max_waiting: WholeNumber = 8,
    timeout: Annotated[WholeNumber, Parameter(name="--timeout")] = 120,
    device: OneOfDevices = "auto",
    ask_engine: QuestionEngine = "rules",
    ask_model: Path | None = None,
    ask_reads: EngineReads = "rest",
    ask_config: str | None = None,
    ask_settings: Annotated[Texts, Parameter(name="--ask-set")] = (),
    index: Path | None = None,
    index_cohort: Path | None = None,
    index_model: Path | None = None,
    verify: Verify = False,
) -> None:
    """Answer for stays over HTTP on this machine, with a page to try it.

    Stays come in the schema of a cohort or as a FHIR R4 bundle; answers are those of `predict` and `report`.
    Any address but loopback needs a token, in a file or in the variable CLINRAGEN_SERVE_TOKEN.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        token_file: File with the token that every request must have.
        certificate: Certificate for HTTPS, in PEM.
        key: Private key of the certificate, in PEM.
        max_stays: Most stays of a request.
        max_megabytes: Largest body of a request, in MiB.
        max_waiting: Most requests that wait for the model; further ones are refused with 503.
        timeout: Seconds after which a request is refused with 503.
        ask_engine: What reads questions beside the rules, as `clinragen ask --engine`.
        ask_model: Run folder of stage ask, for --ask-engine student.
        ask_reads: What the engine reads: the rest, which the rules do not read; or all.
        ask_config: Config of the language model that reads questions. Default: the engine's name.
        ask_settings: Override a setting of this config, as in server.model=NAME; may be repeated.
        index: Folder of `clinragen index build`: also answer with the training stays that are most like a stay.
        index_cohort: Cohort that the index was built from: also say what the charts share.
        index_model: Run folder that the index was built with, if it is another than --model.
    """
    from clinragen.api.asking_engine import EngineChoice
    from clinragen.quiet import quiet_libraries
    from clinragen.serve.start import Address, IndexChoice, start

    quiet_libraries()
    chosen = IndexChoice.of(index, index_cohort, index_model)
    start(
        model,
        Address(host, port, token_file, certificate, key),
        stays=max_stays,
        megabytes=max_megabytes,
        waiting=max_waiting,
        seconds=timeout,
        device=device,
        reading=EngineChoice(ask_engine, ask_model, ask_reads, ask_config, ask_settings),
        index=chosen,
        verify=verify,
    )
