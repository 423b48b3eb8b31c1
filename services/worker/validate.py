"""Stage `validate`: is this answer what was asked for, and if not, can the model mend it?

The order matters: how the answer stopped, then its text, then JSON, then the original schema.
Usage was counted before, so that an answer that fails here is still on the books.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from pydantic_core import from_json

from services.worker import causes
from services.worker.answer import Answer
from services.worker.causes import Cause
from services.worker.errors import SluiceError
from services.worker.schemas import OutputSchema, for_people, for_the_model

_FINISHED: Final = ("end_turn", "stop_sequence")
_CUT: Final = ("max_tokens", "model_context_window_exceeded")
_DEEPEST: Final = 56
"""Levels of an output; an event may have 64 in all."""
_MEND: Final = (
    "Your answer does not pass the check and was discarded:\n{problems}\n\nWrite the whole answer"
    " again, corrected. Give only the JSON value, with no text or fence around it."
)


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer that is what was asked for; `output` is the checked value, where one was asked."""

    output: Any = None


@dataclass(frozen=True, slots=True)
class Repairable:
    """An answer that does not pass; `error` is raised when no round is left to mend it."""

    error: SluiceError
    correction: str | None
    """What to tell the model; None where it only needs more room."""


def validate(answer: Answer, schema: OutputSchema | None) -> Passed | Repairable:
    """Judge an answer.

    Raises:
        SluiceError: `refused` or `truncated`, where no round can mend it; `upstream_failed`, where
            the answer has no end, or wants an answer itself.
    """
    _check_stop(answer)
    if answer.stop_reason in _CUT:
        cut = _unfit(causes.CUT_OFF, answer, f"cut off by {answer.stop_reason}")
        if schema is None or answer.stop_reason != "max_tokens":
            raise cut
        return Repairable(cut, correction=None)
    if schema is None:
        return Passed()
    return _check_output(answer, schema)


def _check_stop(answer: Answer) -> None:
    reason = answer.stop_reason
    if reason == "refusal":
        category = answer.stop_details.get("category") or "unnamed"
        raise _unfit(causes.REFUSED, answer, f"the model refused, category {category}")
    if reason is None:
        raise causes.NO_END.error(
            "the answer has no stop reason: it was cut on the way",
            api_request_id=answer.request_id,
            key_id=answer.key_id,
        )
    if reason not in _FINISHED and reason not in _CUT:
        raise _unfit(
            causes.WANTS_AN_ANSWER,
            answer,
            f"stop reason {reason!r} needs an answer that this worker cannot give",
        )


def _check_output(answer: Answer, schema: OutputSchema) -> Passed | Repairable:
    text = _unfenced(answer.text)
    try:
        output = from_json(text)
    except ValueError as exc:
        problem = "the answer is empty" if not text else f"it is not JSON: {exc}"
        public = "empty" if not text else "not JSON"
        return _repairable(answer, public, problem)
    if not _can_be_told(output):
        what = f"not JSON that others can read: nested over {_DEEPEST} levels, or NaN or Infinity"
        return _repairable(answer, what, f"it is {what}")
    if schema.accepts(output):
        return Passed(output)
    mended = schema.with_case_mended(output)
    if schema.accepts(mended):
        return Passed(mended)
    problems = schema.problems(mended)
    return _repairable(answer, for_people(problems), for_the_model(problems))


def _repairable(answer: Answer, public: str, problem: str) -> Repairable:
    error = _unfit(causes.NOT_VALID, answer, f"the answer is {public}", quoted=problem)
    return Repairable(error, correction=_MEND.format(problems=problem))


def _unfit(cause: Cause, answer: Answer, detail: str, *, quoted: str | None = None) -> SluiceError:
    return cause.error(
        detail,
        said=answer.text,
        quoted=quoted,
        api_request_id=answer.request_id,
        key_id=answer.key_id,
    )


def repair_turns(answer: Answer, correction: str | None) -> list[dict[str, Any]]:
    """Write the turns that ask for a corrected answer.

    The answer goes back unchanged, thinking included: those blocks are signed. One without blocks
    cannot go back at all; an answer that was only cut short is asked for again as it was.
    """
    if correction is None:
        return []
    said = [{"role": "assistant", "content": answer.content}] if answer.content else []
    return [*said, {"role": "user", "content": correction}]


def _can_be_told(output: Any) -> bool:
    """Whether the contract's readers take this value as a part of an outcome."""
    level = [output]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, float) and not isfinite(value):
                return False
        if not below:
            return True
        level = below
    return False


def _unfenced(text: str) -> str:
    """Drop a Markdown fence around the whole answer, a habit where no grammar holds the model."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        _, _, inner = text.removesuffix("```").partition("\n")
        return inner.strip()
    return text
