"""The text around the input of a causal model, from its chat template, if it has one."""

from __future__ import annotations

from typing import Any

from clinragen.errors import UserError
from clinragen.model.pretrained import reason

_ASSESSMENT = "\nAssessment:"
_SENTINEL = "\u241f"  # placeholder of the context, which no template contains


def chat_frame(tokenizer: Any, chat: bool) -> tuple[str, str]:
    """Text before and after the context of a causal model, from its chat template, if any.

    Raises:
        UserError: the template cannot be rendered.
    """
    if not chat or not getattr(tokenizer, "chat_template", None):
        return "", _ASSESSMENT
    messages = [{"role": "user", "content": _SENTINEL + _ASSESSMENT}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001 (a template is a program of its author's; transformers runs it in a sandbox)
        raise UserError(
            f"the language model's chat template fails ({reason(error)}): --set model.language_model.chat=false"
        ) from None
    before, sentinel, after = str(text).partition(_SENTINEL)
    return (before, after) if sentinel else ("", _ASSESSMENT)
