"""The routes of the service, and its schema."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp

from clinragen import __version__
from clinragen.api.asking_engine import EngineChoice
from clinragen.errors import UserError
from clinragen.serve import metrics, pages
from clinragen.serve.access import Access
from clinragen.serve.answer import NOTICE, Answer, Health, Problem
from clinragen.serve.asking import Asker, BundleQuestions, QuestionsRequest, Replies, read_questions
from clinragen.serve.assess import Assessor
from clinragen.serve.body import FORM_TYPE, form, read_body
from clinragen.serve.fhir import read_bundle
from clinragen.serve.fhir_resources import Bundle
from clinragen.serve.gate import PAGE, Gate, refused
from clinragen.serve.intake import Intake
from clinragen.serve.limits import Limits
from clinragen.serve.refusals import Field, RefusalError, busy, invalid, of_errors
from clinragen.serve.rows import StaysRequest, read_stays
from clinragen.serve.similar import BundleSimilar, SimilarFinder, SimilarReply, SimilarRequest, read_similar
from clinragen.serve.worker import Worker

_DIALOGUES = 4  # that are held at a time, where a language model reads questions
_RETRY = 10.0  # seconds after which such a question may be asked again
READERS = {"stays": read_stays, "fhir": read_bundle}
WithPages = Annotated[bool, Query(description="also give the HTML page of each stay")]
_BODIES = (StaysRequest, Bundle, QuestionsRequest, BundleQuestions)  # which are read without FastAPI
_SIMILAR_BODIES = (SimilarRequest, BundleSimilar)  # likewise, with an index
_REFERENCE = "#/components/schemas/{model}"
_STATUSES = {
    400: "not JSON, or no form",
    401: "no token, or another one",
    403: "from a page of another origin",
    408: "the body did not arrive in time",
    413: "the body is too large",
    415: "another content type",
    421: "sent to another host name",
    422: "fields are wrong",
    503: "too many requests, or no answer in time: Retry-After says when to try again",
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in _STATUSES.items()
}


@dataclass
class Service:
    """The model, its thread, and what is counted.

    Attributes:
        assessor: the model.
        access: who may ask.
        limits: of requests.
        reading: what reads questions beside the rules.
        finder: finds similar cases; None: the service has no index.
    """

    assessor: Assessor
    access: Access
    limits: Limits = field(default_factory=Limits)
    reading: EngineChoice = field(default_factory=EngineChoice)
    finder: SimilarFinder | None = None

    def __post_init__(self) -> None:
        self.worker = Worker(self.limits.waiting, self.limits.seconds)
        self.metrics = metrics.Metrics(lambda: self.worker.pending)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._dialogues = ThreadPoolExecutor(_DIALOGUES, thread_name_prefix="dialogue")

    def close(self) -> None:
        """Finish what runs, and take no more."""
        self.worker.close()
        self._dialogues.shutdown(wait=True, cancel_futures=True)
        if "asker" in self.__dict__:
            self.asker.close()

    @cached_property
    def asker(self) -> Asker:
        """What answers questions; the model is not needed for it."""
        trained = self.assessor.trained
        return Asker(trained.model.labels, trained.run.added, self.reading)

    async def replies(self, body: bytes) -> dict[str, Any]:
        """The answers to the questions of a body: in the thread that reads bodies, or, where a language model reads
        questions, in others, as it may take its time.

        Args:
            body: of a request.

        Raises:
            RefusalError: it is not valid.
        """
        window = self.assessor.trained.run.window
        questions = await self._in_reader(lambda: read_questions(body, window, self.limits))
        if not self.reading.asks:
            return await self._in_reader(lambda: self.asker.answer(questions))
        try:
            asker = await self._in_reader(lambda: self.asker)
            answering = asyncio.get_running_loop().run_in_executor(self._dialogues, asker.answer, questions)
            return await asyncio.wait_for(answering, self.limits.seconds)
        except TimeoutError:
            raise busy("the language model that reads questions does not answer in time", _RETRY) from None
        except UserError:
            raise busy("the language model that reads questions cannot be reached", _RETRY) from None

    async def intake(self, body: bytes, kind: str) -> Intake:
        """The stays of a body, read in a thread: a large one takes a second.

        Args:
            body: of a request.
            kind: ``stays`` or ``fhir``.

        Raises:
            RefusalError: it is not valid.
        """
        window = self.assessor.trained.run.window
        return await self._in_reader(lambda: READERS[kind](body, window, self.limits))

    async def answer(self, request: Request, intake: Intake, *, shown: bool) -> dict[str, Any]:
        """The answer for some stays.

        Args:
            request: whose client may leave.
            intake: the stays.
            shown: also give their pages.

        Raises:
            RefusalError: the model cannot read them, or there is no room or time.
        """
        answer = await self._by_model(request, lambda: self.assessor.answer(intake, pages=shown))
        self.metrics.answer(answer)
        return answer

    async def similar(self, request: Request, finder: SimilarFinder, body: bytes) -> dict[str, Any]:
        """The cases most like the stay of a body. An index may ask a model, so it waits for the model's thread.

        Args:
            request: whose client may leave.
            finder: finds them.
            body: of the request.

        Raises:
            RefusalError: it is not valid, the index's model cannot read the stay, or there is no room or time.
        """
        window = self.assessor.trained.run.window
        sought = await self._in_reader(lambda: read_similar(body, window, self.limits))
        return await self._by_model(request, lambda: finder.answer(sought))

    async def _by_model(self, request: Request, job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return await self.worker.run(job, lambda: _disconnected(request))
        except UserError:
            raise RefusalError(422, "the model cannot read these stays") from None

    async def json(self, answer: dict[str, Any]) -> Response:
        """An answer as a response; a batch with its pages is megabytes, which are encoded in a thread."""
        text = await self._in_reader(lambda: json.dumps(answer, ensure_ascii=False, allow_nan=False).encode())
        return Response(text, media_type="application/json")

    async def _in_reader[T](self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, call)


async def _disconnected(request: Request) -> None:
    """Return when the client has left; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def build_app(service: Service) -> ASGIApp:
    """The ASGI application.

    Args:
        service: the model and its limits.
    """
    app = FastAPI(title="clinragen serve", version=__version__, description=NOTICE, docs_url=None, redoc_url=None)
    _answer_errors(app)
    _add_answers(app, service)
    _add_questions(app, service)
    if service.finder is not None:
        _add_similar(app, service, service.finder)
    _add_status(app, service)
    _add_pages(app, service)
    app.openapi = lambda: _schema(app, service)  # type: ignore[method-assign]
    return Gate(app, service.access, service.limits.requests, service.metrics.request)


def _add_answers(app: FastAPI, service: Service) -> None:
    guard = [Depends(service.access.check)]

    @app.post(
        "/v1/stays",
        response_model=Answer,
        responses=_PROBLEMS,
        dependencies=guard,
        openapi_extra=_takes("StaysRequest", "application/json"),
    )
    async def stays(request: Request, pages: WithPages = False) -> Response:
        """Stays in the cohort's schema: their predictions, rationales, and every claim with its verdict."""
        intake = await service.intake(await read_body(request, service.limits), "stays")
        return await service.json(await service.answer(request, intake, shown=pages))

    @app.post(
        "/v1/fhir",
        response_model=Answer,
        responses=_PROBLEMS,
        dependencies=guard,
        openapi_extra=_takes("Bundle", "application/fhir+json", "application/json"),
    )
    async def fhir(request: Request, pages: WithPages = False) -> Response:
        """The stays of a FHIR R4 bundle: Patient, Encounter, Observation, DocumentReference, DiagnosticReport."""
        intake = await service.intake(await read_body(request, service.limits), "fhir")
        return await service.json(await service.answer(request, intake, shown=pages))


def _add_questions(app: FastAPI, service: Service) -> None:
    @app.post(
        "/v1/ask",
        response_model=Replies,
        responses=_PROBLEMS,
        dependencies=[Depends(service.access.check)],
        openapi_extra=_takes_either("QuestionsRequest", "BundleQuestions"),
    )
    async def ask(request: Request) -> Response:
        """Questions about one stay, in the cohort's schema or of a FHIR bundle, answered from its rows alone."""
        return await service.json(await service.replies(await read_body(request, service.limits)))


def _add_similar(app: FastAPI, service: Service, finder: SimilarFinder) -> None:
    @app.post(
        "/v1/similar",
        response_model=SimilarReply,
        responses=_PROBLEMS,
        dependencies=[Depends(service.access.check)],
        openapi_extra=_takes_either("SimilarRequest", "BundleSimilar"),
    )
    async def similar(request: Request) -> Response:
        """The training stays most like one stay, in the cohort's schema or of a FHIR bundle, without whose they are."""
        body = await read_body(request, service.limits)
        return await service.json(await service.similar(request, finder, body))


def _add_status(app: FastAPI, service: Service) -> None:
    refusals = _problems(401, 403, 421, 503)

    @app.get("/health", response_model=Health, responses=_problems(403, 421))
    async def health() -> dict[str, str]:
        """Whether the service answers."""
        return {"status": "ok"}

    @app.get("/v1/model", responses=refusals, dependencies=[Depends(service.access.check)])
    async def model() -> dict[str, Any]:
        """The model, its labels and thresholds."""
        return service.assessor.about()

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals},
        dependencies=[Depends(service.access.check)],
    )
    async def counts() -> Response:
        """Counts for Prometheus."""
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)


def _add_pages(app: FastAPI, service: Service) -> None:
    """What is for a browser; it is not in the schema."""
    start = pages.start_page(
        token=service.access.digest is not None, limits=service.limits, similar=service.finder is not None
    )

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return start.response()

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return pages.docs_page(app.openapi()).response()

    @app.post(PAGE, include_in_schema=False)
    async def page(request: Request) -> Response:
        """The page of one stay, as the form of the start page asks for it; errors are pages, too."""
        try:
            return await _page(request, service)
        except RefusalError as refusal:  # the gate would not see it: the application answers it itself
            return pages.refusal_page(refusal).response(refusal.status, refusal.headers)


async def _page(request: Request, service: Service) -> Response:
    fields = form(await read_body(request, service.limits, (FORM_TYPE,)))
    service.access.check_token(fields.get("token"))
    kind, number = fields.get("kind", ""), fields.get("number", "1")
    if kind not in READERS:
        raise invalid([Field("kind", "expected stays or fhir")])
    intake = await service.intake(fields.get("request", "").encode(), kind)
    chosen = intake.only(int(number) - 1) if number.isdecimal() and len(number) < 6 else None
    if chosen is None:
        raise invalid([Field("number", f"a number from 1 to {len(intake.stays)} is expected")])
    answer = await service.answer(request, chosen, shown=True)
    return HTMLResponse(answer["stays"][0]["page"], headers=pages.REPORT_HEADERS)


def _answer_errors(app: FastAPI) -> None:
    """One form for all errors, which repeats nothing of the request."""

    async def wrong(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return refused(invalid(of_errors(error.errors())))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return refused(RefusalError(error.status_code, str(error.detail), headers=error.headers))

    async def refusal(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RefusalError)
        return refused(error)

    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RefusalError, refusal)


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _PROBLEMS[status] for status in statuses}


def _takes(model: str, *types: str) -> dict[str, Any]:
    content = {kind: {"schema": {"$ref": _REFERENCE.format(model=model)}} for kind in types}
    return {"requestBody": {"required": True, "content": content}}


def _takes_either(*models: str) -> dict[str, Any]:
    schema = {"anyOf": [{"$ref": _REFERENCE.format(model=model)} for model in models]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _schema(app: FastAPI, service: Service) -> dict[str, Any]:
    """OpenAPI, with the models of bodies, which are read without FastAPI."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        bodies = (*_BODIES, *(_SIMILAR_BODIES if service.finder is not None else ()))
        _, models = models_json_schema([(each, "validation") for each in bodies], ref_template=_REFERENCE)
        schema["components"]["schemas"] |= models["$defs"]
        if service.access.digest is not None:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
        app.openapi_schema = schema
    return app.openapi_schema
