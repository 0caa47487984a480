"""Federations from Python: sites that train one model together, and what each of the commands does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clinragen.api.values import CohortLike, SettingsLike, console, open_cohort, overrides, path
from clinragen.errors import UserError

if TYPE_CHECKING:
    from clinragen.federation.coordinator import RoundState
    from clinragen.federation.manifest import Federation, Member
    from clinragen.federation.simulation import Poison, Simulated
    from clinragen.federation.site import Answer


def federate_join(
    out: str | Path,
    name: str,
    cohort: CohortLike,
    *,
    policy: str | Path | None = None,
    contract: str | Path | None = None,
) -> Member:
    """Make the folder of a site: its keys, its policy, and the ``member.json`` that the coordinator needs.

    Args:
        out: the folder, new; its keys are never replaced.
        name: of the site: small letters, digits and ``.-_``.
        cohort: whose number of training stays is declared.
        policy: YAML file to copy; None: a policy by which nothing leaves.
        contract: JSON file with the item of a contract under which the site gives its data.
    """
    from clinragen.federation import site

    return site.join(Path(out), name, open_cohort(cohort), path(policy), contract=path(contract))


def federate_init(
    out: str | Path,
    name: str,
    members: Sequence[str | Path],
    *,
    config: str = "series",
    set: SettingsLike = (),
) -> Federation:
    """Make a federation: its manifest and the coordinator's key.

    Args:
        out: the coordinator's folder, new.
        name: of the federation.
        members: the ``member.json`` of each site.
        config: name of a shipped config of ``configs/federation``, or a YAML file.
        set: overrides of it, such as ``{"rule.name": "median"}``.
    """
    from clinragen import config as configs
    from clinragen.federation import coordinator
    from clinragen.federation.manifest import FederationSettings
    from clinragen.federation.site import read_member

    settings = configs.load("federation", config, FederationSettings, overrides(set))
    return coordinator.init(Path(out), name, [read_member(Path(member)) for member in members], settings)


def federate_site(
    federation: str | Path,
    site: str | Path,
    cohort: CohortLike,
    inbox: str | Path,
    outbox: str | Path,
    *,
    age_hours: float | None = None,
    address: str | None = None,
    certificates: str | Path | None = None,
    progress: bool = False,
) -> Answer:
    """Answer the newest round at a site, if there is one that is not answered yet.

    Args:
        federation: the manifest, ``federation.json``.
        site: folder of the site.
        cohort: the site's.
        inbox: folder with the coordinator's messages.
        outbox: folder for what leaves the site.
        age_hours: how old the newest data of the cohort are, for rules by which older data weigh less.
        address: HOST:PORT of a coordinator that listens by Flower, whose rounds are answered until it ends; None: files
            are carried by other means.
        certificates: folder with the ``ca.pem`` of the coordinator, for an address off loopback.
        progress: say on standard error what a connection waits for.
    """
    from clinragen.federation.manifest import Federation
    from clinragen.federation.site import Site, answer

    opened, manifest = Site.open(Path(site)), Federation.read(Path(federation))
    stays, folders = open_cohort(cohort), (Path(inbox), Path(outbox))
    if address is None:
        return answer(opened, manifest, stays, *folders, age_hours=age_hours)
    from clinragen.federation.flower import take_part
    from clinragen.quiet import remark

    return take_part(
        opened,
        manifest,
        stays,
        address,
        folders,
        certificates=path(certificates),
        age_hours=age_hours,
        say=partial(remark, console(progress)),
    )


def federate_round(
    federation: str | Path,
    inboxes: Sequence[str | Path] = (),
    *,
    close: bool = False,
    address: str | None = None,
    certificates: str | Path | None = None,
    progress: bool = False,
) -> RoundState:
    """Open the first round, or close the open one if all sites have answered, and open the next.

    Args:
        federation: the coordinator's folder.
        inboxes: outboxes of sites, or copies of them.
        close: go on without sites that are missing, if there are enough.
        address: HOST:PORT to listen on by Flower: all rounds that are left are run, and updates are written to the one
            of ``inboxes``; None: files are carried by other means.
        certificates: folder with ``ca.pem``, ``server.pem`` and ``server.key``, for an address off loopback.
        progress: report each round on standard error, where there are several.
    """
    from clinragen.federation.coordinator import Coordinator, advance
    from clinragen.quiet import phase, remark

    opened, folders, reporter = (
        Coordinator.open(Path(federation)),
        [Path(inbox) for inbox in inboxes],
        console(progress),
    )
    if address is None:
        return advance(opened, folders, close=close)
    if len(folders) != 1:
        raise UserError("--inbox: Flower needs one folder for the updates that arrive")
    from clinragen.federation.flower import coordinate

    def report(state: RoundState) -> None:
        phase(reporter, f"round {state.number - len(state.closed)}: {len(state.accepted)} sites")
        for refusal in state.refusals:
            remark(reporter, f"refused: {refusal}")

    return coordinate(
        opened, address, folders[0], certificates=path(certificates), report=report, say=partial(remark, reporter)
    )


@dataclass(frozen=True)
class Simulation:
    """What came of a simulated federation.

    Attributes:
        model: file of the finished model.
        simulated: coordinator, sites, and what was refused.
    """

    model: Path
    simulated: Simulated = field(repr=False)


def federate_simulate(
    cohort: CohortLike,
    out: str | Path,
    *,
    by: str = "network",
    config: str = "series",
    set: SettingsLike = (),
    policy: str | Path | None = None,
    poison: Poison | None = None,
    poisoned: int = 0,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
) -> Simulation:
    """Divide a cohort into sites and run a federation to its end, in one process and with the files of a real one.

    Args:
        cohort: the cohort.
        out: folder for coordinator and sites.
        by: column of stays or sites that tells the sites apart, such as ``network`` or ``hospital``.
        config: name of a shipped config of ``configs/federation``, or a YAML file.
        set: overrides of it.
        policy: YAML file of every site's policy; None: all that the federation lists may leave.
        poison: what some sites send instead of their changes.
        poisoned: how many sites do.
        seed: of the sites' keys, which protect nothing in a simulation.
        overwrite: replace what an earlier simulation wrote.
        progress: report progress on standard error.
    """
    from clinragen import config as configs
    from clinragen.federation.coordinator import Coordinator, final_model
    from clinragen.federation.manifest import FederationSettings
    from clinragen.federation.simulation import FOLDER, simulate
    from clinragen.outputs import output_folder
    from clinragen.quiet import phase

    opened, out = open_cohort(cohort), Path(out)
    settings = configs.load("federation", config, FederationSettings, overrides(set))
    reporter = console(progress)
    with output_folder(out, FOLDER, overwrite=overwrite, inputs=(opened.paths.root, path(policy))) as folder:
        simulated = simulate(
            opened,
            folder,
            settings,
            by=by,
            policy=path(policy),
            poison=poison,
            poisoned=poisoned,
            seed=seed,
            progress=lambda text: phase(reporter, text),
        )
    return Simulation(final_model(Coordinator.open(out / "federation")), simulated)
