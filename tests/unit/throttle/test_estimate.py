"""Estimates that learn."""

import random

import pytest

from services.worker.throttle.estimate import ASSUMED, PROMPTS, REMEMBERED, TAUGHT, Estimator
from sluice_contracts import TokenUsage


def _usage(inputs: int, outputs: int = 100, written: int = 0) -> TokenUsage:
    return TokenUsage(
        input_tokens=inputs, output_tokens=outputs, cache_creation_input_tokens=written
    )


def test_a_prompt_that_was_never_called_starts_from_three_characters_a_token() -> None:
    """And from a moderate output."""
    assert (1_000, 500) == Estimator(0.75).estimate("new@1", 3_000)


def test_the_ratio_is_learned_from_usage() -> None:
    """After some calls the estimate is what the tokenizer really does."""
    estimator, rng = Estimator(0.75), random.Random(1)
    for _ in range(50):
        characters = rng.randrange(1_000, 20_000)
        estimator.learn("p@1", characters, _usage(round(characters / 5.1)))
    assert pytest.approx(2_000, rel=0.02) == estimator.estimate("p@1", 10_200)[0]


def test_a_cached_part_is_seen_as_free() -> None:
    """Charged input is a line over the characters, not a ratio."""
    estimator, rng = Estimator(0.75), random.Random(2)
    for _ in range(80):
        variable = rng.randrange(500, 5_000)
        estimator.learn("p@1", 30_000 + variable * 4, _usage(variable))
    assert pytest.approx(600, rel=0.1) == estimator.estimate("p@1", 30_000 + 2_400)[0]
    assert pytest.approx(4_000, rel=0.1) == estimator.estimate("p@1", 30_000 + 16_000)[0]


def test_output_is_a_quantile_of_what_came_before() -> None:
    """Never the cap: three quarters of the calls stay within the reservation."""
    estimator = Estimator(0.75)
    for number in range(2 * REMEMBERED):
        estimator.learn("p@1", 100, _usage(30, 1 + number % 100))
    assert pytest.approx(75, abs=2) == estimator.estimate("p@1", 100)[1]


def test_a_change_of_behaviour_is_learned_and_the_past_forgotten() -> None:
    """The last some hundred calls decide."""
    estimator = Estimator(0.75)
    for _ in range(2 * REMEMBERED):
        estimator.learn("p@1", 1_000, _usage(300, 50))
    for _ in range(REMEMBERED):
        estimator.learn("p@1", 1_000, _usage(200, 800))
    assert (200, 800) == estimator.estimate("p@1", 1_000)


def test_a_new_prompt_begins_with_what_others_taught() -> None:
    """The model's ratio is a better start than a constant."""
    estimator = Estimator(0.75)
    for _ in range(4 * ASSUMED):
        estimator.learn("old@1", 5_000, _usage(1_000, 240))
    assert (1_000, 240) == estimator.estimate("new@1", 5_000)


def test_cache_hits_of_others_do_not_make_a_new_prompt_free() -> None:
    """Half the plain ratio is the least."""
    estimator = Estimator(0.75)
    for _ in range(50):
        estimator.learn("cached@1", 30_000, _usage(10))
    assert 5_000 == estimator.estimate("new@1", 30_000)[0]


def test_short_answers_that_end_first_do_not_lower_the_estimate() -> None:
    """Of calls that began together the short ones end first; the surge would be refused."""
    estimator = Estimator(0.75)
    for _ in range(2 * REMEMBERED):
        estimator.learn("old@1", 1_000, _usage(300, 400))
    for _ in range(ASSUMED // 2):
        estimator.learn("new@1", 1_000, _usage(300, 20))
    assert 400 == estimator.estimate("new@1", 1_000)[1]


def test_a_new_replica_begins_with_what_another_tells() -> None:
    """Also where the fixed part of the prompt is cached, and until it has learned itself."""
    teacher, newcomer, rng = Estimator(0.75), Estimator(0.75), random.Random(3)
    for _ in range(REMEMBERED):
        variable = rng.randrange(500, 5_000)
        teacher.learn("p@1", 30_000 + variable * 4, _usage(variable, rng.randrange(100, 900)))
    newcomer.adopt(teacher.lessons())
    for characters in (32_000, 40_000, 50_000):
        told, known = newcomer.estimate("p@1", characters), teacher.estimate("p@1", characters)
        assert pytest.approx(known, rel=0.01, abs=1) == told
    for _ in range(REMEMBERED):
        newcomer.learn("p@1", 1_000, _usage(70, 7))
    newcomer.adopt(teacher.lessons())
    assert (70, 7) == newcomer.estimate("p@1", 1_000)


def test_only_what_was_seen_often_is_told_and_of_few_prompts() -> None:
    """The record stays small, and nobody passes on what it was told."""
    estimator, other = Estimator(0.75), Estimator(0.75)
    for number in range(2 * TAUGHT):
        for _ in range(ASSUMED):
            estimator.learn(f"p{number}@1", 1_000, _usage(300))
    estimator.learn("rare@1", 1_000, _usage(300))
    lessons = estimator.lessons()
    assert TAUGHT == len(lessons)
    assert f"p{2 * TAUGHT - 1}@1" in lessons
    assert "rare@1" not in lessons
    other.adopt(lessons)
    assert {} == other.lessons()


def test_what_is_told_takes_no_place_of_what_is_used_here() -> None:
    """Another replica's prompts are not this one's."""
    estimator, other = Estimator(0.75), Estimator(0.75)
    for number in range(PROMPTS):
        estimator.learn(f"p{number}@1", 1_000, _usage(300, 10))
    for _ in range(ASSUMED):
        other.learn("other@1", 1_000, _usage(300, 9_000))
    estimator.adopt(other.lessons())
    assert 300 == estimator.estimate("p0@1", 1_000)[0]
    assert estimator.estimate("other@1", 1_000)[1] < 9_000
