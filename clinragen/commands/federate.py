"""``clinragen federate``: train one model at several sites; only what each site's policy allows leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from clinragen.command_line import answer
from clinragen.errors import UserError
from clinragen.options import (
    AsJson,
    CohortFolder,
    Flag,
    MaybeNumber,
    Out,
    Overwrite,
    Paths,
    Seed,
    Settings,
    WholeNumber,
)

command = App(name="federate", help="Train one model at several sites; only what each site's policy allows leaves it.")

Config = Annotated[str, Parameter(name="--config", help="Name of a config of configs/federation, or a YAML file.")]
#: what carries the files: people and programs of their own, or Flower
Transport = Annotated[Literal["files", "flower"], Parameter(name="--transport")]
Address = Annotated[str | None, Parameter(name="--address")]
Certificates = Annotated[Path | None, Parameter(name="--certificates")]
PolicyFile = Annotated[Path | None, Parameter(name="--policy")]


@command.command
def join(
    *,
    out: Out,
    name: Annotated[str, Parameter(name="--name")],
    cohort: CohortFolder,
    policy: PolicyFile = None,
    contract: Annotated[Path | None, Parameter(name="--contract")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a site: keys, policy, and the member.json that the coordinator needs.

    Args:
        name: Name of the site: small letters, digits and .-_
        policy: YAML file that says what may leave. Default: one by which nothing leaves until you edit it.
        contract: JSON file with the item of a contract under which the site gives its data.
    """
    from clinragen.api.federation import federate_join

    member = federate_join(out, name, cohort, policy=policy, contract=contract)
    text = f"site {name} with {member.stays} training stays: give {out / 'member.json'} to the coordinator"
    answer(text, {"out": out, "name": name, "stays": member.stays, "key": member.key}, as_json)


@command.command
def init(
    *,
    out: Out,
    name: Annotated[str, Parameter(name="--name")],
    member: Paths,
    config: Config = "series",
    settings: Settings = (),
    as_json: AsJson = False,
) -> None:
    """Make a federation: the manifest for all sites, and the coordinator's key.

    Args:
        name: Name of the federation: small letters, digits and .-_
        member: The member.json of a site; given once for each.
        settings: Override a setting of the config, as in rule.name=median; may be repeated.
    """
    from clinragen.api.federation import federate_init
    from clinragen.federation.coordinator import MANIFEST

    manifest = federate_init(out, name, member, config=config, set=settings)
    path, counts = out / MANIFEST, f"{len(manifest.members)} sites, {manifest.rounds} rounds"
    text = f"federation {name}, {counts}: give {path} to each site\n{manifest.id}"
    values = {"manifest": path, "id": manifest.id, "sites": len(manifest.members), "rounds": manifest.rounds}
    answer(text, values, as_json)


@command.command
def site(
    *,
    federation: Annotated[Path, Parameter(name="--federation")],
    folder: Annotated[Path, Parameter(name="--site")],
    cohort: CohortFolder,
    inbox: Annotated[Path, Parameter(name="--inbox")],
    outbox: Annotated[Path, Parameter(name="--outbox")],
    age_hours: MaybeNumber = None,
    transport: Transport = "files",
    address: Address = None,
    certificates: Certificates = None,
    as_json: AsJson = False,
) -> None:
    """Answer the newest round: compute on the cohort of this site, and write what its policy lets out.

    Args:
        federation: The federation.json of the coordinator.
        folder: Folder of this site, made by `clinragen federate join`.
        inbox: Folder with the coordinator's messages.
        outbox: Folder to write; nothing else leaves.
        age_hours: How old the newest data of the cohort are, for rules by which older data weigh less.
        transport: What carries messages and updates. flower: connect to a coordinator, and answer all of its rounds.
        address: HOST:PORT of the coordinator, for flower.
        certificates: Folder with the coordinator's ca.pem, for an address off loopback.
    """
    from clinragen.api.federation import federate_site
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    address = _address(transport, address)
    reply = federate_site(
        federation,
        folder,
        cohort,
        inbox,
        outbox,
        age_hours=age_hours,
        address=address,
        certificates=certificates,
        progress=True,
    )
    lines = {
        "waiting": f"{inbox} has no message of the coordinator yet",
        "finished": f"all rounds are done: the model is that of round {reply.round_number} in {inbox}",
        "answered": f"round {reply.round_number} answered from {reply.count} stays, in {outbox}",
        "repeated": f"round {reply.round_number} was answered before, and is in {outbox} as it was",
    }
    spent = "" if reply.epsilon is None else f"; epsilon spent: {reply.epsilon:.3f} of {reply.budget:g}"
    values = {
        "round": reply.round_number,
        "status": reply.status,
        "count": reply.count,
        "epsilon": reply.epsilon,
        "budget": reply.budget,
    }
    answer(lines[reply.status] + spent, values, as_json)


@command.command(name="round")
def round_(
    *,
    federation: Annotated[Path, Parameter(name="--federation")],
    inbox: Paths = (),
    close: Flag = False,
    transport: Transport = "files",
    address: Address = None,
    certificates: Certificates = None,
    as_json: AsJson = False,
) -> None:
    """Open the first round; or screen and combine what the sites sent, and open the next.

    Args:
        federation: Folder of the coordinator, made by `clinragen federate init`.
        inbox: Outbox of a site, or a copy of it; given once for each.
        close: Go on without sites that are missing, if there are enough.
        transport: What carries messages and updates. flower: listen, and run all rounds; one --inbox takes the updates.
        address: HOST:PORT to listen on, for flower.
        certificates: Folder with ca.pem, server.pem and server.key, for an address off loopback.
    """
    from clinragen.api.federation import federate_round

    address = _address(transport, address)
    state = federate_round(federation, inbox, close=close, address=address, certificates=certificates, progress=True)
    lines = [f"refused: {refusal}" for refusal in state.refusals]
    if state.closed:
        lines.append(f"round {state.closed[-1]} closed: {len(state.accepted)} sites")
    if state.finished:
        lines.append(f"finished: the model is in {federation / 'outbox'}, round {state.number}")
    else:
        lines.append(f"round {state.number} is open; missing: {', '.join(state.missing) or 'none'}")
    values = {
        "round": state.number,
        "closed": list(state.closed),
        "accepted": list(state.accepted),
        "missing": list(state.missing),
        "refused": [refusal.as_json() for refusal in state.refusals],
        "finished": state.finished,
    }
    answer("\n".join(lines), values, as_json)


@command.command
def simulate(
    *,
    cohort: CohortFolder,
    out: Out,
    by: Annotated[str, Parameter(name="--by")] = "network",
    config: Config = "series",
    settings: Settings = (),
    policy: PolicyFile = None,
    poison: Literal["minus_ten", "flipped", "scaled", "colluding"] | None = None,
    poisoned: WholeNumber = 0,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Divide a cohort into sites and run a federation to its end in one process, with the files of a real one.

    Args:
        by: Column of stays or sites that tells the sites apart: network, hospital, ...
        settings: Override a setting of the config, as in settings.rounds=5; may be repeated.
        policy: YAML file, the policy of every site. Default: all that the federation lists may leave.
        poison: What some sites send instead of their changes.
        poisoned: How many sites do.
        seed: Draws the keys.
    """
    from clinragen.api.federation import federate_simulate
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    simulation = federate_simulate(
        cohort,
        out,
        by=by,
        config=config,
        set=settings,
        policy=policy,
        poison=poison,
        poisoned=poisoned,
        seed=seed,
        overwrite=overwrite,
        progress=True,
    )
    result = simulation.simulated
    lines = [f"left out: {name} ({why})" for name, why in result.left_out.items()]
    lines.append(f"{len(result.sites)} sites, {len(result.refusals)} updates refused; model: {simulation.model}")
    if result.epsilon is not None:
        lines.append(f"epsilon spent by each site: at most {result.epsilon:.3f}")
    values = {
        "model": simulation.model,
        "sites": {name: int((part.stays["split"] == "train").sum()) for name, part in result.sites.items()},
        "left_out": result.left_out,
        "refused": [refusal.as_json() for refusal in result.refusals],
        "epsilon": result.epsilon,
    }
    answer("\n".join(lines), values, as_json)


@command.command
def finish(*, federation: Annotated[Path, Parameter(name="--federation")], out: Out, as_json: AsJson = False) -> None:
    """Make an ordinary run folder, which predict takes, of a finished federation of work linear or network.

    Any party can: it takes no private key.

    Args:
        federation: Folder of the coordinator, or a folder with its federation.json and its last message.
    """
    from clinragen.federation import messages
    from clinragen.federation.student import MakesStudent, write_run
    from clinragen.federation.work import open_work
    from clinragen.outputs import RUN, check_output
    from clinragen.quiet import quiet_libraries

    quiet_libraries()
    check_output(out, RUN, inputs=[federation])
    federated, message = messages.finished(federation)
    work = open_work(federated.work, federated.settings)
    if not isinstance(work, MakesStudent):
        raise UserError(f"--federation {federation} trains '{federated.work}', expected 'linear' or 'network'")
    manifest = write_run(work, message.tensors, out, federated.id)
    answer(f"run folder: {out}", {"out": out, "model_sha256": manifest.model_sha256}, as_json)


def _address(transport: str, address: str | None) -> str | None:
    """The address of a transport that needs one.

    Raises:
        UserError: it is missing, or given for files.
    """
    if (transport == "flower") != (address is not None):
        raise UserError("--address HOST:PORT goes with --transport flower: give both, or neither")
    return address
