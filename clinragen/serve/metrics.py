"""Counts for Prometheus. Labels are routes, statuses and verdicts: nothing of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """What is counted.

    Args:
        pending: number of requests that run or wait for the model.
    """

    def __init__(self, pending: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "clinragen_requests", "Requests, by route and status", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "clinragen_request_seconds", "Time to the answer", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self._stays = Counter("clinragen_stays", "Stays that were answered", registry=self._registry)
        self._abstained = Counter(
            "clinragen_abstained_stays", "Stays on which the model abstains", registry=self._registry
        )
        self._claims = Counter("clinragen_claims", "Claims of rationales", ("verdict",), registry=self._registry)
        self._left_out = Counter(
            "clinragen_rows_left_out", "Rows of requests that were not read", registry=self._registry
        )
        waiting = Gauge("clinragen_pending", "Requests that run or wait for the model", registry=self._registry)
        waiting.set_function(pending)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, answer: Mapping[str, Any]) -> None:
        """Count the stays of an answer."""
        self._stays.inc(len(answer["stays"]))
        self._abstained.inc(sum(bool(stay["abstains"]) for stay in answer["stays"]))
        self._left_out.inc(sum(entry["rows"] for entry in answer["left_out"]))
        for stay in answer["stays"]:
            for claim in stay["claims"]:
                self._claims.labels(claim["verdict"]).inc()

    def text(self) -> bytes:
        """In the format of Prometheus."""
        return generate_latest(self._registry)
