"""Masking of any text."""

import pytest

from services.runtime.redaction import MASK, mask, remember


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("key sk-ant-api03-AbC_d-9 used", f"key {MASK} used"),
        ("'Authorization': 'Bearer abcdefgh12345'", f"'Authorization': 'Bearer {MASK}'"),
        ("x-api-key: abcdefgh12345,", f"x-api-key: {MASK},"),
        ("{'X-Api-Key': 'abcdefgh12345'}", "{'X-Api-Key': '" + MASK + "'}"),
        ("AWS_SECRET_ACCESS_KEY=abc/def+1 next", f"AWS_SECRET_ACCESS_KEY={MASK} next"),
        ("sk-antelope is an animal; bearer of news", "sk-antelope is an animal; bearer of news"),
        ("", ""),
    ],
)
def test_what_looks_like_a_key_is_masked(text: str, masked: str) -> None:
    """Keys of the Claude API and credentials in headers are masked, ordinary words are not."""
    assert masked == mask(text)


def test_a_remembered_text_is_masked_everywhere() -> None:
    """Once remembered, a text without any pattern is masked too, however often it stands there."""
    remember("correct-horse-battery")

    assert f"{MASK} and {MASK}" == mask("correct-horse-battery and correct-horse-battery")


def test_a_text_too_short_to_be_a_secret_is_left_alone() -> None:
    """Remembering a short word does not tear every text apart."""
    remember("the")

    assert mask("the other") == "the other"
