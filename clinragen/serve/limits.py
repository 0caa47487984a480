"""What one request may ask for, and how many requests there may be: the service stays up whatever it is sent."""

from __future__ import annotations

from dataclasses import dataclass, fields

from clinragen.errors import UserError


@dataclass(frozen=True)
class Limits:
    """Limits of the service.

    Attributes:
        stays: most stays of a request.
        body: most bytes of a request.
        measurements: most measurements of a request.
        letters: most characters of the notes of a stay.
        requests: most requests that are being answered; one more is refused with 503.
        waiting: most requests that wait for the model; one more is refused with 503.
        read_seconds: within which the headers, and then the body of a request must have arrived.
        seconds: within which a request must be answered once it was read.
        connections: most open connections; one more is refused.
    """

    stays: int = 16
    body: int = 8 << 20
    measurements: int = 100_000
    letters: int = 200_000
    requests: int = 64
    waiting: int = 8
    read_seconds: float = 15.0
    seconds: float = 120.0
    connections: int = 512

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "waiting" else 1
            if not value >= least:
                raise UserError(f"limit '{field.name}' is {value}: expected at least {least}")
