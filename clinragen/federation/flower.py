"""Rounds over Flower: the same signed messages and updates, carried by its processes instead of by hand.

Flower transports bytes and nothing else: screening, aggregation and policies are those of files, so a federation may
change its transport from round to round. A site opens the connection, outbound; the coordinator listens. Flower's
telemetry is off.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"  # read when flwr is imported

try:
    import grpc
    from flwr.client import Client, start_client
    from flwr.common import Code, FitIns, FitRes, GetParametersRes, Parameters, Status
    from flwr.server import ServerConfig, SimpleClientManager, start_server
    from flwr.server.strategy import Strategy
except ImportError:
    from clinragen.errors import missing_extra

    raise missing_extra("the transport Flower", "flower") from None

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.federation import messages
from clinragen.federation.coordinator import Coordinator, RoundState, advance
from clinragen.federation.files import NOTE, Message, read_message, write_message
from clinragen.federation.manifest import Federation
from clinragen.federation.site import Answer, Site, answer, outbox_stem

_KIND = "clinragen"
_PATIENCE = 600.0  # seconds that a site waits for the coordinator to listen, at first and after a lost connection
_LOOK = 5  # seconds after which either side looks again who is there, and says so
_ROUND = "round"
_NOTHING = Parameters([], _KIND)


def coordinate(
    coordinator: Coordinator,
    address: str,
    inbox: Path,
    *,
    certificates: Path | None = None,
    sites: int | None = None,
    report: Callable[[RoundState], None] = lambda state: None,
    say: Callable[[str], None] = lambda text: None,
) -> RoundState:
    """Listen, and run the rounds that are left.

    Args:
        coordinator: its folder.
        address: HOST:PORT to listen on.
        inbox: folder for the updates that arrive, as for the transport by files.
        certificates: folder with ``ca.pem``, ``server.pem`` and ``server.key``; needed off loopback.
        sites: how many sites to wait for in each round; all members by default.
        report: called after each round.
        say: called with a line about what is waited for.

    Raises:
        UserError: an address off loopback without certificates, or a round without enough updates.
    """
    secrets = _certificates(address, certificates, ("ca.pem", "server.pem", "server.key"))
    inbox.mkdir(parents=True, exist_ok=True)
    if not messages.newest(coordinator.outbox):
        advance(coordinator, [])
    state = advance(coordinator, [inbox])
    if state.finished:
        return state
    rounds = coordinator.federation.rounds - state.number + 1
    strategy = _Rounds(coordinator, inbox, sites or len(coordinator.federation.members), report, say)
    say(f"listening on {address} for {strategy.sites} sites")
    start_server(
        server_address=address,
        strategy=strategy,
        config=ServerConfig(num_rounds=rounds),
        certificates=None if secrets is None else (secrets[0], secrets[1], secrets[2]),
    )
    if strategy.state is None or not strategy.state.finished:
        raise UserError(f"round {messages.newest(coordinator.outbox)} is open: start coordinator and sites again")
    return strategy.state


def take_part(
    site: Site,
    federation: Federation,
    cohort: Cohort,
    address: str,
    folders: tuple[Path, Path],
    *,
    certificates: Path | None = None,
    age_hours: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Answer:
    """Connect to a coordinator, and answer its rounds until it closes the connection.

    The site may start first, and the coordinator may stop and start again: the site waits and connects anew.

    Args:
        site: its folder.
        federation: its manifest.
        cohort: the site's.
        address: HOST:PORT of the coordinator.
        folders: inbox and outbox, as for the transport by files.
        certificates: folder with ``ca.pem``, the authority of the coordinator's certificate; needed off loopback.
        age_hours: how old the newest data are, if updates are to state it.
        say: called with a line about what is waited for.

    Returns:
        What was done in the last round.

    Raises:
        UserError: nothing left in the last round, with the reason; the coordinator sent none; or none listens.
    """
    secrets = _certificates(address, certificates, ("ca.pem",))
    client = _Answers(
        partial(answer, site, federation, cohort, *folders, age_hours=age_hours), site, federation, *folders
    )
    while True:
        _until_it_listens(address, secrets[0] if secrets else None, say)
        try:  # Flower leaves a connection that is refused or lost to its caller
            start_client(
                server_address=address,
                client=client,
                root_certificates=secrets[0] if secrets else None,
                insecure=secrets is None,
            )
            break
        except StopIteration:
            lost = "closed"
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise UserError(f"--address {address}: no coordinator of a federation: {error.code().name}") from None
            lost = "lost"
        say(f"the connection to {address} was {lost}: connecting anew")
        time.sleep(1)
    if isinstance(client.last, UserError):
        raise client.last
    return client.last


def _until_it_listens(address: str, authority: bytes | None, say: Callable[[str], None]) -> None:
    """Wait until a coordinator listens.

    Raises:
        UserError: none did in time.
    """
    options = [("grpc.max_reconnect_backoff_ms", 1000 * _LOOK)]
    credentials = None if authority is None else grpc.ssl_channel_credentials(authority)
    if credentials is None:
        channel = grpc.insecure_channel(address, options)
    else:
        channel = grpc.secure_channel(address, credentials, options)
    with channel:
        listens = grpc.channel_ready_future(channel)
        for seconds in (min(_LOOK, _PATIENCE), max(_PATIENCE - _LOOK, 0.0)):
            try:
                return listens.result(timeout=seconds)
            except grpc.FutureTimeoutError:
                say(f"waiting for a coordinator that listens on {address}")
    raise UserError(
        f"--address {address}: no coordinator has listened there for {_PATIENCE / 60:.0f} minutes: start "
        "`clinragen federate round --transport flower` first, and look at address, firewall and certificates"
    )


def _certificates(address: str, folder: Path | None, names: tuple[str, ...]) -> list[bytes] | None:
    """Contents of certificate files; None on loopback without any."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--address {address[:80]!a}: expected HOST:PORT")
    if folder is None:
        try:
            loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            loopback = host == "localhost"
        if not loopback:
            raise UserError(f"--address {address}: off loopback a connection needs certificates: give --certificates")
        return None
    try:
        return [(folder / name).read_bytes() for name in names]
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}: expected {', '.join(names)}") from None


class _Rounds(Strategy):
    """The coordinator as Flower sees it: what it sends and receives are files."""

    def __init__(
        self,
        coordinator: Coordinator,
        inbox: Path,
        sites: int,
        report: Callable[[RoundState], None],
        say: Callable[[str], None],
    ) -> None:
        self.coordinator, self.inbox, self.sites, self.report, self.say = coordinator, inbox, sites, report, say
        self.state: RoundState | None = None

    def initialize_parameters(self, client_manager: Any) -> Parameters:
        return _NOTHING

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[Any]:
        """The message of the open round, to as many sites as are waited for."""
        assert isinstance(client_manager, SimpleClientManager)
        number = messages.newest(self.coordinator.outbox)
        message = read_message(self.coordinator.outbox / f"{messages.stem(number)}{NOTE}", messages.LARGEST_MODEL)
        if message is None or self.coordinator.federation.phase(number) is None:
            return []
        connected = -1
        while not client_manager.wait_for(self.sites, timeout=_LOOK):
            if connected != (connected := client_manager.num_available()):
                self.say(f"round {number} waits for sites: {connected} of {self.sites} are connected")
        ins = FitIns(_packed(message), {_ROUND: number})
        return [(client, ins) for _, client in sorted(client_manager.all().items())]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> tuple[Parameters, dict[str, Any]]:
        """Write what arrived to the inbox, and close the round if there is enough."""
        number = messages.newest(self.coordinator.outbox)
        for _, result in results:
            if message := _unpacked(result.parameters):
                write_message(self.inbox, f"{message.sha256[:16]}-{number:04}", message)
        self.state = advance(self.coordinator, [self.inbox], close=True)
        self.report(self.state)
        return _NOTHING, {}

    def configure_evaluate(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[Any]:
        return []

    def aggregate_evaluate(self, server_round: int, results: Any, failures: Any) -> tuple[None, dict[str, Any]]:
        return None, {}

    def evaluate(self, server_round: int, parameters: Parameters) -> None:
        return None


class _Answers(Client):
    """A site as Flower sees it."""

    def __init__(
        self, reply: Callable[[], Answer], site: Site, federation: Federation, inbox: Path, outbox: Path
    ) -> None:
        self.reply, self.site, self.federation, self.inbox, self.outbox = reply, site, federation, inbox, outbox
        self.last: Answer | UserError = Answer(0, "waiting")

    def get_parameters(self, ins: Any) -> GetParametersRes:
        return GetParametersRes(Status(Code.OK, ""), _NOTHING)

    def fit(self, ins: FitIns) -> FitRes:
        """Answer the round of a message as ``federate site`` does; nothing is sent where nothing may leave."""
        number, message = ins.config.get(_ROUND), _unpacked(ins.parameters)
        try:
            if not isinstance(number, int) or message is None or self.federation.phase(number) is None or number < 1:
                raise UserError("the coordinator sent no message of a round")
            write_message(self.inbox, messages.stem(number), message)
            reply = self.last = self.reply()
            stem = outbox_stem(self.site.member, number)
            update = read_message(self.outbox / f"{stem}{NOTE}", messages.LARGEST_MODEL)
            if update is None:
                raise UserError(f"{self.outbox} has no answer to round {number}")
        except UserError as error:  # the reason stays at the site
            self.last = error
            return FitRes(Status(Code.FIT_NOT_IMPLEMENTED, "declined"), _NOTHING, 0, {})
        return FitRes(Status(Code.OK, ""), _packed(update), reply.count, {})


def _packed(message: Message) -> Parameters:
    return Parameters([message.note, message.tensors], _KIND)


def _unpacked(parameters: Parameters) -> Message | None:
    if parameters.tensor_type != _KIND or len(parameters.tensors) != 2:
        return None
    return Message(*parameters.tensors)
