"""The events of a streamed answer."""

import json
from random import Random
from typing import Any

import pytest

from services.simulator.answers.answer import Answer
from services.simulator.sse import PING, events

BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "hmm", "signature": "Eu00"},
    {"type": "text", "text": "Größe 10 — und mehr Text als ein Stück."},
    {"type": "tool_use", "id": "t", "name": "n", "input": {"a": ["ö", 1]}},
]


def streamed(seed: int, blocks: list[dict[str, Any]]) -> list[bytes]:
    """Return the events of an answer."""
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 40,
        "output_tokens_details": {"thinking_tokens": 0},
    }
    message = {
        "content": blocks,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage,
    }
    return events(message, Answer(blocks, "end_turn", 40, random=Random(seed)))


def datas(made: list[bytes]) -> list[dict[str, Any]]:
    """Return the data of events, pings left out."""
    return [json.loads(one.split(b"data: ", 1)[1]) for one in made if one != PING]


@pytest.mark.parametrize("seed", range(20))
def test_folds_back(seed: int) -> None:
    """The deltas add up to the blocks, whatever their cuts."""
    folded: list[dict[str, Any]] = []
    for data in datas(streamed(seed, BLOCKS)):
        if data["type"] == "content_block_start":
            folded.append(dict(data["content_block"]))
        elif data["type"] == "content_block_delta":
            delta, block = data["delta"], folded[data["index"]]
            if delta["type"] == "input_json_delta":
                block["json"] = block.get("json", "") + delta["partial_json"]
            else:
                name = delta["type"].removesuffix("_delta")
                block[name] = block[name] + delta[name]
    folded[2]["input"] = json.loads(folded[2].pop("json"))
    assert BLOCKS == folded


def test_order() -> None:
    """Start, blocks in order, delta with the stop reason, stop."""
    made = datas(streamed(1, BLOCKS))
    assert "message_start" == made[0]["type"]
    assert [] == made[0]["message"]["content"]
    assert 0 < made[0]["message"]["usage"]["output_tokens"] < 9
    assert ["message_delta", "message_stop"] == [data["type"] for data in made[-2:]]
    assert ("end_turn", 40) == (
        made[-2]["delta"]["stop_reason"],
        made[-2]["usage"]["output_tokens"],
    )
    indexes = [data["index"] for data in made if "index" in data]
    assert indexes == sorted(indexes)


def test_pings() -> None:
    """Most streams have one ping, right after the first block's start; some have none."""
    places = [
        made.index(PING) if PING in made else None
        for made in (streamed(seed, BLOCKS) for seed in range(400))
    ]
    assert {2, 4, None} == set(places)
    assert 260 < places.count(2) < 340


def test_empty_content() -> None:
    """An answer without content has no block and no ping."""
    made = streamed(1, [])
    assert ["message_start", "message_delta", "message_stop"] == [
        data["type"] for data in datas(made)
    ]
    assert PING not in made
