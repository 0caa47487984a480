"""Attestations: signed statements that a machine other than this one may receive patient text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from clinragen.config import build, load_yaml
from clinragen.errors import UserError


@dataclass
class Attestation:
    """A signed statement that a host may receive the data. ``signature`` repeats ``who``; all fields are needed."""

    host: str = ""  # host or host:port, as in the address that it covers
    who: str = ""  # full name and role
    agreement: str = ""  # data use agreement and contract with the host, with numbers
    retention: str = ""  # what the host keeps, and for how long
    signed_on: str = ""  # YYYY-MM-DD
    signature: str = ""  # who, typed again

    @classmethod
    def read(cls, path: Path) -> Attestation:
        """Read one from a YAML file.

        Raises:
            UserError: missing, not YAML, or with other keys.
        """
        return build(cls, load_yaml(path), str(path))

    def refusal(self, host: str, port: int) -> str | None:
        """Why this attestation does not cover a host, or None."""
        for name, value in asdict(self).items():
            if len(value.strip()) < 3:
                return f"attestation.{name} is empty"
        if self.host.lower() not in (host, f"{host}:{port}"):
            return f"attestation.host is '{self.host}'"
        if self.signature.split() != self.who.split():
            return "attestation.signature must repeat attestation.who word for word"
        try:
            signed = date.fromisoformat(self.signed_on)
        except ValueError:
            return f"attestation.signed_on '{self.signed_on}' is no date (YYYY-MM-DD)"
        return "attestation.signed_on lies in the future" if signed > date.today() else None


def attested_cluster(address: str, attestation: Attestation, setting: str, remedy: str) -> str:
    """The address of a Ray cluster, if an attestation covers it; also on this machine: its workers may be anywhere.

    Args:
        address: HOST:PORT of its head node.
        attestation: what has to cover it.
        setting: where the address comes from, for errors.
        remedy: what has to name it, for errors.

    Raises:
        UserError: not HOST:PORT, or not attested.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"{setting} is '{address}', expected HOST:PORT of its head node")
    if why := attestation.refusal(host.lower(), int(port)):
        raise UserError(
            f"{setting} '{address}' is refused: {why}. Patient text would go to its machines: {remedy}; see "
            "docs/privacy.md"
        )
    return address
