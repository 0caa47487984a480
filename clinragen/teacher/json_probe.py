"""Probe once whether a server follows a JSON schema; journaled, since the keys of answers depend on it."""

from __future__ import annotations

import json
from collections.abc import Callable

from clinragen.errors import UserError
from clinragen.teacher.answer_source import JournalOnly
from clinragen.teacher.client import Asker, NoAnswerError, ParameterError
from clinragen.teacher.journal import Journal, Record, key
from clinragen.teacher.settings import ModelSettings, Parameters

_QUESTION = [{"role": "user", "content": 'Are you ready? Answer with JSON: {"ready": true}'}]
_SCHEMA = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}},
    "required": ["ready"],
    "additionalProperties": False,
}
#: Failures by which servers refuse a schema, with or without naming it.
_REFUSALS = ("HTTP 400", "HTTP 422", "HTTP 500", "HTTP 501")


async def structured(
    settings: ModelSettings, journal: Journal, asker: Asker, model: str, say: Callable[[str], None]
) -> bool:
    """Whether to request JSON: as configured, or as probed.

    Raises:
        UserError: no server at the address, or a journal of another config.
    """
    if settings.structured != "auto":
        return settings.structured == "json_schema"
    parameters: Parameters = {**settings.parameters(0, _SCHEMA), "max_tokens": 32, "temperature": 0.0}
    name = key(_QUESTION, model, parameters, 0, "probe")
    record = journal.get(name)
    if record is None:
        if isinstance(asker, JournalOnly):
            raise UserError(f"{journal.path} holds no answer of model '{model}': is it the config of that run?")
        say("testing whether the server follows a JSON schema ...")
        record = Record(key=name, stay_id=0, kind="probe", model=model, text="", finish_reason="refused", usage={})
        try:
            answer = await asker.ask(_QUESTION, parameters, name)
            record.update(text=answer.text, finish_reason=answer.finish_reason, usage=answer.usage)
        except ParameterError as error:
            if error.parameter != "response_format":
                raise
        except NoAnswerError as error:
            if str(error) not in _REFUSALS:
                raise UserError(f"no answer from {settings.server.base_url}: {error}. Is the server up?") from None
        await journal.append(record)
    return _is_ready(record["text"])


def _is_ready(text: str) -> bool:
    try:
        return isinstance(json.loads(text)["ready"], bool)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
