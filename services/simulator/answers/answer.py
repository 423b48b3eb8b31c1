"""Puts an answer together: which blocks, how long, why it stops, and how long it takes.

Deterministic given the body and the seed; ids are not, they are new for every call. Not imitated:
server tools, MCP tools, citations and compaction; such requests get a plain answer.
"""

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from services.simulator.answers.instances import Instances, dumps, miscased
from services.simulator.answers.prose import prose, sentence, thought, topics_of
from services.simulator.answers.reading import (
    closest,
    offered_labels,
    offered_tools,
    system_text,
    user_text,
    words,
)
from services.simulator.models import ModelFacts, Thinking
from services.simulator.settings import AnswerSettings, LatencySettings
from services.simulator.tokens import blocks_of, json_tokens, text_tokens

PARALLEL_SHARE = 0.15
TEXT_BEFORE_TOOL_SHARE = 0.5
TOOL_OVERHEAD = 20
THINKING_SIGMA = 0.8


@dataclass(slots=True)
class Answer:
    """What the model says, and the time it takes."""

    content: list[dict[str, Any]]
    stop_reason: str | None
    output_tokens: int
    thinking_tokens: int = 0
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    first_token_s: float = 0.0
    producing_s: float = 0.0
    random: Random = field(default_factory=Random)
    """For what is left to chance after the content: headers, event sizes."""


class Author:
    """Writes answers."""

    def __init__(self, answers: AnswerSettings, latency: LatencySettings, seed: int) -> None:
        self.answers = answers
        self.latency = latency
        self._seed = seed

    def write(self, body: dict[str, Any], digest: bytes, model: ModelFacts) -> Answer:
        """Answer a request whose body has this sha256."""
        random = Random(int.from_bytes(digest[:8], "big") ^ self._seed)  # noqa: S311 not a secret
        limit = body.get("max_tokens", 0)
        if limit == 0:
            # A cache warm-up.
            answer = Answer([], "max_tokens", 0, random=random)
        else:
            text = user_text(body)
            topics = topics_of(text, random)
            content = self._thinking(body, model, topics, random)
            stop_reason = self._speak(body, text, topics, content, random)
            answer = _fitted(content, stop_reason, limit, random)
            _stop_at_sequence(answer, body.get("stop_sequences") or [])
        self._time(answer, random)
        return answer

    def _thinking(
        self, body: dict[str, Any], model: ModelFacts, topics: list[str], random: Random
    ) -> list[dict[str, Any]]:
        asked = body.get("thinking") or {}
        kind = asked.get("type")
        if kind == Thinking.ENABLED:
            share = 1.0
        elif kind == Thinking.ADAPTIVE or (kind is None and model.thinks_by_default):
            share = self.answers.thinking_share
        else:
            share = 0.0
        if random.random() >= share:
            return []
        tokens = _lognormal(random, self.answers.thinking_tokens, THINKING_SIGMA)
        # 5.x models keep their thinking to themselves unless a summary is asked for.
        is_shown = kind == Thinking.ENABLED or asked.get("display") == "summarized"
        return [
            {
                "type": "thinking",
                "thinking": thought(topics, tokens, random) if is_shown else "",
                "signature": "Eu" + random.randbytes(120).hex(),
                "_tokens": round(tokens),
            }
        ]

    def _speak(
        self,
        body: dict[str, Any],
        text: str,
        topics: list[str],
        content: list[dict[str, Any]],
        random: Random,
    ) -> str:
        tool_uses = self._tool_uses(body, text, topics, random)
        if tool_uses:
            if random.random() < TEXT_BEFORE_TOOL_SHARE:
                content.append({"type": "text", "text": sentence(topics, random)})
            content.extend(tool_uses)
            return "tool_use"
        content.append({"type": "text", "text": self._text(body, text, topics, random)})
        return "end_turn"

    def _text(self, body: dict[str, Any], text: str, topics: list[str], random: Random) -> str:
        output_format = (body.get("output_config") or {}).get("format") or body.get("output_format")
        if output_format:
            schema = output_format.get("schema", {})
            value = Instances(text, words(text[-8_000:]), topics, random).make(schema)
            if random.random() < self.answers.wrong_case_share:
                value = miscased(value, schema)
            return dumps(value)
        labels = offered_labels(body)
        if labels:
            return closest(labels, words(text[-8_000:]), random.random())
        tokens = _lognormal(random, self.answers.median_tokens, self.answers.sigma)
        return prose(topics, tokens, random)

    def _tool_uses(
        self, body: dict[str, Any], text: str, topics: list[str], random: Random
    ) -> list[dict[str, Any]]:
        tools = offered_tools(body)
        choice = (body.get("tool_choice") or {"type": "auto"}).get("type")
        if not tools or choice == "none" or _answers_a_tool(body):
            return []
        text_words = words(text[-8_000:] + " " + system_text(body)[-2_000:])
        named = {tool["name"]: tool for tool in tools}
        if choice == "tool":
            first = body["tool_choice"].get("name")
        else:
            described = {
                f"{name} {tool.get('description', '')}": name for name, tool in named.items()
            }
            first = described[closest(described, text_words, random.random())]
        chosen = [first]
        if choice == "auto" and len(named) > 1 and random.random() < PARALLEL_SHARE:
            chosen.append(next(name for name in named if name != first))
        instances = Instances(text, text_words, topics, random)
        return [
            {
                "type": "tool_use",
                "id": "toolu_01" + random.randbytes(11).hex(),
                "name": name,
                "input": instances.make(named[name]["input_schema"]) or {},
                "caller": {"type": "direct"},
            }
            for name in chosen
            if name in named
        ]

    def _time(self, answer: Answer, random: Random) -> None:
        latency = self.latency
        if latency.scale == 0:
            return
        first = _lognormal(random, latency.first_token_s, latency.sigma)
        speed = _lognormal(random, latency.tokens_per_second, latency.speed_sigma)
        answer.first_token_s = first * latency.scale
        answer.producing_s = answer.output_tokens / speed * latency.scale


def _fitted(content: list[dict[str, Any]], stop_reason: str, limit: int, random: Random) -> Answer:
    """Cut an answer at `max_tokens`; thinking counts, and may leave no room for text."""
    left = limit
    kept: list[dict[str, Any]] = []
    thinking = 0
    for block in content:
        hidden = block.pop("_tokens", None)
        tokens = hidden if hidden is not None else tokens_of(block)
        if tokens > left:
            cut = _cut(block, left, tokens)
            if cut is not None:
                kept.append(cut)
            thinking += left if hidden is not None else 0
            return Answer(kept, "max_tokens", limit, thinking, random=random)
        kept.append(block)
        left -= tokens
        thinking += hidden or 0
    return Answer(kept, stop_reason, max(1, limit - left), thinking, random=random)


def tokens_of(block: dict[str, Any]) -> int:
    """Return the output tokens of a block of an answer."""
    if "input" in block:
        return TOOL_OVERHEAD + json_tokens(block["input"])
    return max(1, text_tokens(block.get("text", "")))


def _cut(block: dict[str, Any], left: int, tokens: int) -> dict[str, Any] | None:
    if block["type"] == "thinking":
        return block
    if block["type"] != "text" or left <= 0:
        return None
    return {**block, "text": block["text"][: max(1, len(block["text"]) * left // tokens)]}


def _stop_at_sequence(answer: Answer, sequences: list[str]) -> None:
    for number, block in enumerate(answer.content):
        if block["type"] != "text":
            continue
        found = [(block["text"].find(one), one) for one in sequences if one in block["text"]]
        if found:
            at, answer.stop_sequence = min(found)
            answer.stop_reason = "stop_sequence"
            kept = {**block, "text": block["text"][:at]}
            answer.content[number:] = [kept] if kept["text"] else []
            return


def _answers_a_tool(body: dict[str, Any]) -> bool:
    last = body["messages"][-1] if body.get("messages") else {}
    return any(
        isinstance(block, dict) and block.get("type") == "tool_result"
        for block in blocks_of(last.get("content"))
    )


def _lognormal(random: Random, median: float, sigma: float) -> float:
    return random.lognormvariate(math.log(median), sigma) if median > 0 else 0.0
