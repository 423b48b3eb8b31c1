"""Is this answer what was asked for."""

from typing import Any

import pytest
from pydantic_core import to_json

from services.worker.answer import Answer
from services.worker.errors import PermanentError, TransientError
from services.worker.schemas import OutputSchema
from services.worker.validate import Passed, Repairable, repair_turns, validate
from sluice_contracts import FailureCode as F

SCHEMA = OutputSchema.compile(
    to_json(
        {
            "type": "object",
            "properties": {
                "intent": {"$ref": "#/$defs/Intent"},
                "notes": {
                    "type": "array",
                    "items": {"anyOf": [{"const": "None"}, {"type": "null"}]},
                },
            },
            "required": ["intent"],
            "additionalProperties": False,
            "$defs": {"Intent": {"enum": ["Refund", "Card_Arrival"]}},
        }
    )
)


def _answer(text: str | None, stop: str | None = "end_turn", **facts: Any) -> Answer:
    content = facts.pop("content", [] if text is None else [{"type": "text", "text": text}])
    return Answer("m", content, stop, facts, {}, "req_1", None)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ('{"intent": "Refund"}', {"intent": "Refund"}),
        ('```json\n{"intent": "Refund"}\n```', {"intent": "Refund"}),
        (' {"intent": "card_arrival", "notes": ["NONE", null]} ',
         {"intent": "Card_Arrival", "notes": ["None", None]}),
    ],
)  # fmt: skip
def test_a_valid_answer_passes(text: str, output: dict[str, Any]) -> None:
    """Fences and the capitals of listed values are mended for free."""
    assert Passed(output) == validate(_answer(text), SCHEMA)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (None, "the answer is empty"),
        ("", "the answer is empty"),
        ("Sure! {", "the answer is not JSON"),
        ('{"intent": NaN}', "the answer is not JSON"),
        (
            '{"intent": "Refund", "x": 1}',
            "1 violations of additionalProperties",
        ),
        ("[" * 500, "the answer is not JSON"),
        ('{"intent": 1e999}', "the answer is not JSON that others can read"),
        ("[" * 60 + "]" * 60, "the answer is not JSON that others can read"),
    ],
)
def test_what_does_not_pass_can_be_repaired(text: str | None, detail: str) -> None:
    """The detail is safe to log; what quotes the answer is kept apart."""
    verdict = validate(_answer(text), SCHEMA)
    assert isinstance(verdict, Repairable)
    assert isinstance(verdict.error, PermanentError)
    assert (F.OUTPUT_INVALID, text or "") == (verdict.error.code, verdict.error.said)
    assert detail in verdict.error.detail


def test_details_quote_nothing_that_the_model_said() -> None:
    """Its words may be restricted; only the correction for the model itself repeats them."""
    verdict = validate(_answer('{"intent": "hush"}'), SCHEMA)
    assert isinstance(verdict, Repairable)
    assert (False, True) == ("hush" in verdict.error.detail, "hush" in (verdict.correction or ""))


@pytest.mark.parametrize("schema", [None, SCHEMA])
def test_a_refusal_is_final(schema: OutputSchema | None) -> None:
    """It is not parsed, and its category is named."""
    with pytest.raises(PermanentError) as caught:
        validate(_answer('{"intent": "Refund"}', "refusal", category="cyber"), schema)
    assert (F.REFUSED, True) == (caught.value.code, "cyber" in caught.value.detail)


def test_an_answer_that_was_cut_needs_room() -> None:
    """With a schema it is worth one more try; without, half a text is what there is."""
    verdict = validate(_answer('{"in', "max_tokens"), SCHEMA)
    assert isinstance(verdict, Repairable)
    assert (F.TRUNCATED, None) == (verdict.error.code, verdict.correction)
    with pytest.raises(PermanentError) as caught:
        validate(_answer("Once upon", "max_tokens"), None)
    assert (F.TRUNCATED, "Once upon") == (caught.value.code, caught.value.said)
    with pytest.raises(PermanentError):
        validate(_answer('{"in', "model_context_window_exceeded"), SCHEMA)


def test_an_answer_without_a_stop_reason_was_lost() -> None:
    """It is tried again, and may have been paid."""
    with pytest.raises(TransientError) as caught:
        validate(_answer("x", None), None)
    assert caught.value.possibly_paid


def test_a_stop_reason_of_tomorrow_is_no_success() -> None:
    """What we cannot continue we do not call finished."""
    with pytest.raises(PermanentError, match="pause_turn"):
        validate(_answer("x", "pause_turn"), None)


@pytest.mark.parametrize("text", [None, "", "Hello."])
def test_without_a_schema_any_finished_answer_passes(text: str | None) -> None:
    """Answers without content exist, and are answers."""
    assert Passed() == validate(_answer(text, "stop_sequence"), None)


def test_text_is_joined_over_blocks_of_its_kind() -> None:
    """The first block may be thinking."""
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": '{"intent": '},
        {"type": "text", "text": '"Refund"}'},
        {"type": "block_of_tomorrow"},
    ]
    assert Passed({"intent": "Refund"}) == validate(_answer(None, content=content), SCHEMA)


def test_a_correction_sends_the_answer_back_unchanged() -> None:
    """Thinking blocks are signed; an answer without blocks cannot be a turn."""
    content = [
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "text", "text": "x"},
    ]
    turns = repair_turns(_answer(None, content=content), "mend it")
    assert [
        {"role": "assistant", "content": content},
        {"role": "user", "content": "mend it"},
    ] == turns
    assert ["user"] == [turn["role"] for turn in repair_turns(_answer(None), "mend it")]
    assert [] == repair_turns(_answer("x"), None)
