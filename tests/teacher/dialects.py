"""How servers and models of many makes wrap one and the same rationale; each takes a request of ``FaultServer``."""

import json

from fault_server import ABSENT, completion, http

THOUGHT = "The task asks for one sentence. I look at the chart first."


def message(request, finish="stop", **fields):
    return completion(request, choices=[{"index": 0, "finish_reason": finish, "message": fields}])


def stream(request, pieces, *, end=b"data: [DONE]\n\n", usage=True, finish="stop"):
    read = len(request["prompt"].split()) * 2
    chunks = [{"choices": [{"delta": piece, "finish_reason": None}], "model": "m"} for piece in pieces]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    if usage:
        chunks.append({"choices": [], "usage": {"prompt_tokens": read, "completion_tokens": 60}})
    body = b": comment\n\n" + b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end
    return http(body, headers="Content-Type: text/event-stream")


def split(text, size=7):
    return [text[place : place + size] for place in range(0, len(text), size)]


def usage(request, **counts):
    """Usage in which ``read`` stands for what a server that read all of the prompt counts."""
    read = len(request["prompt"].split()) * 2
    return completion(request, usage={name: read if n == "read" else n for name, n in counts.items()})


WRAPPED = {
    "no opening tag": lambda t: f"{THOUGHT}\n</think>\n\n{t}",
    "think": lambda t: f"<think>\n{THOUGHT}\n</think>\n\n{t}",
    "think twice": lambda t: f"<think>{THOUGHT}</think>\n<think>More.</think>{t}",
    "empty think": lambda t: f"<think>\n\n</think>\n\n{t}",
    "a draft in the thoughts": lambda t: f"<think>\nBased on the medical notes, x.\nLab test shows x.\n</think>\n{t}",
    "capitals and blanks": lambda t: f"<THINK >{THOUGHT}</ Think>{t}",
    "thinking": lambda t: f"<thinking>{THOUGHT}</thinking>{t}",
    "thought": lambda t: f"<thought>{THOUGHT}</thought>{t}",
    "reasoning": lambda t: f"<reasoning>{THOUGHT}</reasoning>\n{t}",
    "reflection": lambda t: f"<reflection>{THOUGHT}</reflection>{t}",
    "Seed": lambda t: f"<seed:think>{THOUGHT}</seed:think>{t}",
    "LongCat": lambda t: f"<longcat_think>{THOUGHT}</longcat_think>{t}",
    "Magistral": lambda t: f"[THINK]{THOUGHT}[/THINK]{t}",
    "Magistral without opening": lambda t: f"{THOUGHT}[/THINK]{t}",
    "Kimi": lambda t: f"◁think▷{THOUGHT}◁/think▷{t}",
    "Sky-T1": lambda t: f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|><|begin_of_solution|>{t}<|end_of_solution|>",
    "Command A": lambda t: f"<|START_THINKING|>{THOUGHT}<|END_THINKING|><|START_RESPONSE|>{t}<|END_RESPONSE|>",
    "Apertus": lambda t: f"<|inner_prefix|>{THOUGHT}<|inner_suffix|>{t}",
    "MedGemma": lambda t: f"<unused94>thought\n{THOUGHT}<unused95>{t}",
    "answer tags": lambda t: f"<think>{THOUGHT}</think>\n<answer>\n{t}\n</answer>",
    "box": lambda t: f"<think>{THOUGHT}</think><|begin_of_box|>{t}<|end_of_box|>",
    "harmony": lambda t: (
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{t}<|return|>"
    ),
    "harmony, final alone": lambda t: f"<|channel|>final<|message|>{t}",
    "harmony with a constraint": lambda t: (
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>"
        f"{json.dumps({'rationale': t})}<|return|>"
    ),
    "harmony without its marks": lambda t: f"analysis{THOUGHT}assistantfinal{t}",
    "Granite": lambda t: f"Here is my thought process:\n{THOUGHT}\n\nHere is my response:\n{t}",
    "details": lambda t: f'<details type="reasoning">\n<summary>Thought</summary>\n{THOUGHT}</details>\n{t}',
    "never closed": lambda t: f"<think>\n{THOUGHT}\n\n{t}",
    "Magistral never closed": lambda t: f"[THINK]{THOUGHT}\n{t}",
    "end of turn behind": lambda t: f"{t}<|im_end|>\n",
    "end of sentence behind": lambda t: f"{t}</s>",
    "DeepSeek's end behind": lambda t: f"{t}<｜end▁of▁sentence｜>",
    "Gemma's end behind": lambda t: f"{t}<end_of_turn>\n<eos>",
    "role before": lambda t: f"<|start_header_id|>assistant<|end_header_id|>\n\n{t}<|eot_id|>",
    "role word before": lambda t: f"assistant\n\n{t}",
    "preamble": lambda t: f"Here is the rationale:\n\n{t}",
    "polite": lambda t: f"Sure! Here's the sentence you asked for:\n{t}\n\nLet me know if you need anything else!",
    "label": lambda t: f"Rationale: {t}",
    "bold label": lambda t: f"**Rationale:** {t}",
    "heading": lambda t: f"### Rationale\n\n{t}",
    "final answer": lambda t: f"Final answer: {t}",
    "quoted": lambda t: f'"{t}"',
    "typographic quotes": lambda t: f"“{t}”",
    "code fence": lambda t: f"```\n{t}\n```",
    "text fence": lambda t: f"```text\n{t}\n```\n",
    "tilde fence": lambda t: f"~~~\n{t}\n~~~",
    "fence behind a preamble": lambda t: f"Here it is:\n```plaintext\n{t}\n```\nI hope this helps.",
    "fence without end": lambda t: f"```\n{t}",
    "JSON unasked": lambda t: json.dumps({"rationale": t}),
    "JSON in a fence": lambda t: f"```json\n{json.dumps({'rationale': t}, indent=2)}\n```",
    "JSON behind words": lambda t: f"Here is the JSON object:\n\n{json.dumps({'rationale': t})}\n\nDone.",
    "JSON behind thoughts": lambda t: f"{THOUGHT} {{}}\n</think>\n{json.dumps({'rationale': t})}",
    "JSON with more": lambda t: json.dumps({"rationale": t, "confidence": 0.9}),
    "JSON in a list": lambda t: json.dumps([{"rationale": t}]),
    "zero width": lambda t: "\ufeff" + t.replace(" ", "\u200b ", 3),
    "narrow blanks": lambda t: t.replace(" ", "\u202f", 2).replace(" ", "\u00a0", 2),
    "line breaks": lambda t: t.replace(" ", "\r\n", 2),
}  # fmt: skip

SERVED = {
    "parts": lambda r: message(r, content=[{"type": "text", "text": r["text"]}]),
    "parts with thoughts": lambda r: message(
        r,
        content=[
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
            {"type": "text", "text": r["text"]},
        ],
    ),
    "parts of the newer kind": lambda r: message(
        r, content=[{"type": "output_text", "text": r["text"], "annotations": []}]
    ),
    "parts in pieces": lambda r: message(r, content=[{"type": "text", "text": part} for part in split(r["text"])]),
    "parts as words": lambda r: message(r, content=split(r["text"])),
    "reasoning part": lambda r: message(
        r, content=[{"type": "reasoning", "text": THOUGHT}, {"type": "text", "text": r["text"]}]
    ),
    "parts without types": lambda r: message(r, content=[{"text": r["text"]}]),
    "one part": lambda r: message(r, content={"type": "text", "text": r["text"]}),
    "content as an object": lambda r: message(r, content={"rationale": r["text"]}),
    "thoughts apart": lambda r: message(r, content=r["text"], reasoning_content=THOUGHT),
    "thoughts as reasoning": lambda r: message(r, content=r["text"], reasoning=THOUGHT),
    "answer in reasoning_content": lambda r: message(r, content=None, reasoning_content=r["text"]),
    "answer in reasoning": lambda r: message(r, content="", reasoning=r["text"]),
    "answer in thinking": lambda r: message(r, thinking=f"{THOUGHT}\n\n{r['text']}"),
    "answer in reasoning_details": lambda r: message(
        r, content="\n", reasoning_details=[{"type": "reasoning.text", "text": r["text"]}]
    ),
    "answer and marks in reasoning": lambda r: message(
        r, content=None, reasoning_content=f"{THOUGHT}</think>{r['text']}"
    ),
    "text of old completions": lambda r: completion(r, choices=[{"text": r["text"], "finish_reason": "stop"}]),
    "role and refusal null": lambda r: message(r, role="assistant", content=r["text"], refusal=None, tool_calls=None),
    "STOP": lambda r: completion(r, finish="STOP"),
    "eos": lambda r: completion(r, finish="eos"),
    "stop_sequence": lambda r: completion(r, finish="stop_sequence"),
    "end_turn": lambda r: completion(r, finish="end_turn"),
    "COMPLETE": lambda r: completion(r, finish="COMPLETE"),
    "finish reason null": lambda r: completion(r, finish=None),
    "finish reason missing": lambda r: completion(r, choices=[{"message": {"content": r["text"]}}]),
    "finish reason empty": lambda r: completion(r, finish=""),
    "finish reason of its own": lambda r: completion(r, finish="matched_eos_1"),
    "finish reason as an object": lambda r: completion(r, finish={"type": "stop", "matched": 2}),
    "cached prompts count 0": lambda r: usage(r, prompt_tokens=0, completion_tokens=60),
    "cached tokens left out, told apart": lambda r: usage(
        r, prompt_tokens=3, completion_tokens=60, prompt_tokens_details={"cached_tokens": 4000}
    ),
    "cached tokens left out of one count": lambda r: usage(
        r, prompt_tokens=3, completion_tokens=60, total_tokens=4000
    ),
    "hits and misses": lambda r: usage(
        r, prompt_tokens=3, prompt_cache_hit_tokens=4000, prompt_cache_miss_tokens=3, completion_tokens=60
    ),
    "other names of the counts": lambda r: usage(
        r, input_tokens=3, cache_read_input_tokens=4000, cache_creation_input_tokens=0, output_tokens=60
    ),
    "counts as text": lambda r: usage(r, prompt_tokens="4000", completion_tokens="60"),
    "counts as floats": lambda r: usage(r, prompt_tokens=4000.0, completion_tokens=60.0),
    "hidden thoughts beyond the limit": lambda r: usage(
        r, prompt_tokens="read", completion_tokens=900, completion_tokens_details={"reasoning_tokens": 840}
    ),
    "a stream unasked": lambda r: stream(r, [{"role": "assistant"}, *({"content": p} for p in split(r["text"]))]),
    "a stream of thoughts and text": lambda r: stream(
        r, [{"reasoning_content": THOUGHT}, *({"content": p} for p in split(r["text"]))]
    ),
    "a stream without its end": lambda r: stream(r, [{"content": r["text"]}], end=b""),
    "a stream with CRLF": lambda r: http(
        stream(r, [{"content": r["text"]}]).split(b"\r\n\r\n", 1)[1].replace(b"\n", b"\r\n"),
        headers="Content-Type: text/event-stream",
    ),
    "model and id absent": lambda r: completion(r, model=ABSENT, id=ABSENT, object=ABSENT),
    "two choices": lambda r: completion(
        r,
        choices=[
            {"index": n, "finish_reason": "stop", "message": {"content": r["text"] if n == 0 else "x"}} for n in (0, 1)
        ],
    ),
    "a BOM before the JSON": lambda r: http(b"\xef\xbb\xbf" + completion(r).split(b"\r\n\r\n", 1)[1]),
    "blanks before the JSON": lambda r: http(b"\n\n   " + completion(r).split(b"\r\n\r\n", 1)[1]),
}  # fmt: skip
