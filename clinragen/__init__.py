"""Knowledge-augmented EHR rationale distillation.

Each function does what the command of the same name does; it takes paths or objects and returns typed results:

    >>> import clinragen
    >>> "predict" in dir(clinragen)
    True

Importing this package imports nothing else; a function is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clinragen.api.asking import ask, ask_stays, open_stay
    from clinragen.api.assessment import evaluate, verify
    from clinragen.api.comparison import baseline, compare
    from clinragen.api.contracts import (
        check_contract,
        choose_contract,
        compare_contracts,
        fit_worth,
        simulate_holders,
        solve_contract,
    )
    from clinragen.api.exchange import export_cohort
    from clinragen.api.federation import (
        federate_init,
        federate_join,
        federate_round,
        federate_simulate,
        federate_site,
    )
    from clinragen.api.knowledge import build_graph
    from clinragen.api.ledger import check_ledger_proof, open_ledger, prove_ledger, verify_ledger
    from clinragen.api.prediction import explain, export, load, predict
    from clinragen.api.preparation import prepare
    from clinragen.api.prescription import prescribe
    from clinragen.api.questions import teach_questions
    from clinragen.api.rating import import_ratings, judge_ratings, pack_answers, pack_prescriptions, pack_ratings
    from clinragen.api.recording import (
        accept_item,
        begin_ledger,
        cosign_ledger,
        make_witness,
        offer_contract,
        pay_sites,
        record_ledger,
        state_updates,
    )
    from clinragen.api.reporting import report, report_prescriptions
    from clinragen.api.similarity import build_index, open_index, similar
    from clinragen.api.teaching import teach
    from clinragen.api.training import distill, train
    from clinragen.api.zeroshot import zeroshot
    from clinragen.cohort.folder import Cohort
    from clinragen.errors import UserError
    from clinragen.knowledge.graph import ConceptGraph

__version__: str

__all__ = [
    "Cohort",
    "ConceptGraph",
    "UserError",
    "__version__",
    "accept_item",
    "ask",
    "ask_stays",
    "baseline",
    "begin_ledger",
    "build_graph",
    "build_index",
    "check_contract",
    "check_ledger_proof",
    "choose_contract",
    "compare",
    "compare_contracts",
    "cosign_ledger",
    "distill",
    "evaluate",
    "explain",
    "export",
    "export_cohort",
    "federate_init",
    "federate_join",
    "federate_round",
    "federate_simulate",
    "federate_site",
    "fit_worth",
    "import_ratings",
    "judge_ratings",
    "load",
    "make_witness",
    "offer_contract",
    "open_index",
    "open_ledger",
    "open_stay",
    "pack_answers",
    "pack_prescriptions",
    "pack_ratings",
    "pay_sites",
    "predict",
    "prepare",
    "prescribe",
    "prove_ledger",
    "record_ledger",
    "report",
    "report_prescriptions",
    "similar",
    "simulate_holders",
    "solve_contract",
    "state_updates",
    "teach",
    "teach_questions",
    "train",
    "verify",
    "verify_ledger",
    "zeroshot",
]

_HOMES = {
    "Cohort": "clinragen.cohort.folder",
    "ConceptGraph": "clinragen.knowledge.graph",
    "UserError": "clinragen.errors",
    "accept_item": "clinragen.api.recording",
    "ask": "clinragen.api.asking",
    "ask_stays": "clinragen.api.asking",
    "baseline": "clinragen.api.comparison",
    "begin_ledger": "clinragen.api.recording",
    "build_graph": "clinragen.api.knowledge",
    "build_index": "clinragen.api.similarity",
    "check_contract": "clinragen.api.contracts",
    "check_ledger_proof": "clinragen.api.ledger",
    "choose_contract": "clinragen.api.contracts",
    "compare": "clinragen.api.comparison",
    "compare_contracts": "clinragen.api.contracts",
    "cosign_ledger": "clinragen.api.recording",
    "distill": "clinragen.api.training",
    "evaluate": "clinragen.api.assessment",
    "explain": "clinragen.api.prediction",
    "export": "clinragen.api.prediction",
    "export_cohort": "clinragen.api.exchange",
    "federate_init": "clinragen.api.federation",
    "federate_join": "clinragen.api.federation",
    "federate_round": "clinragen.api.federation",
    "federate_simulate": "clinragen.api.federation",
    "federate_site": "clinragen.api.federation",
    "fit_worth": "clinragen.api.contracts",
    "import_ratings": "clinragen.api.rating",
    "judge_ratings": "clinragen.api.rating",
    "load": "clinragen.api.prediction",
    "make_witness": "clinragen.api.recording",
    "offer_contract": "clinragen.api.recording",
    "open_index": "clinragen.api.similarity",
    "open_ledger": "clinragen.api.ledger",
    "open_stay": "clinragen.api.asking",
    "pack_answers": "clinragen.api.rating",
    "pack_prescriptions": "clinragen.api.rating",
    "pack_ratings": "clinragen.api.rating",
    "pay_sites": "clinragen.api.recording",
    "predict": "clinragen.api.prediction",
    "prepare": "clinragen.api.preparation",
    "prescribe": "clinragen.api.prescription",
    "prove_ledger": "clinragen.api.ledger",
    "record_ledger": "clinragen.api.recording",
    "report": "clinragen.api.reporting",
    "report_prescriptions": "clinragen.api.reporting",
    "similar": "clinragen.api.similarity",
    "simulate_holders": "clinragen.api.contracts",
    "solve_contract": "clinragen.api.contracts",
    "state_updates": "clinragen.api.recording",
    "teach": "clinragen.api.teaching",
    "teach_questions": "clinragen.api.questions",
    "train": "clinragen.api.training",
    "verify": "clinragen.api.assessment",
    "verify_ledger": "clinragen.api.ledger",
    "zeroshot": "clinragen.api.zeroshot",
}


def _installed_version() -> str:
    """The version that was installed, which the build took from the git tags; ``0+unknown`` where nothing was."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("clinragen")
    except PackageNotFoundError:
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return globals().setdefault(name, _installed_version())
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
