"""A secret in memory: what shows of it, and the forms it is stored in."""

import json
import pickle
from collections.abc import Callable

import pytest

from services.runtime.secret import Secret, SecretInvalid, parse, written_like

KEY = "sk-ant-api03-unit-0123456789"


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda s: f"{s!r:>80}"])
def test_a_secret_shows_its_key_id_and_never_its_value(show: Callable[[Secret], str]) -> None:
    """Every way of printing a secret shows which key it is and not the key."""
    secret = Secret(KEY, version="v1")

    shown = show(secret)

    assert secret.key_id in shown
    assert KEY not in shown


def test_a_secret_is_not_pickled() -> None:
    """Pickling a secret is refused."""
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Secret(KEY, version="v1"))


def test_a_secret_has_no_dictionary_to_dump() -> None:
    """A secret has no `__dict__` that a debugger or serialiser could walk."""
    assert not hasattr(Secret(KEY, version="v1"), "__dict__")


def test_secrets_are_equal_by_value() -> None:
    """The same value under another version is the same secret."""
    assert Secret(KEY, version="v1") == Secret(KEY, version="v2")
    assert Secret(KEY, version="v1") != Secret(KEY + "x", version="v1")
    assert Secret(KEY, version="v1") != KEY


@pytest.mark.parametrize(
    "stored",
    [KEY, f"  {KEY}\n", json.dumps({"api_key": KEY}), f' {{"api_key": "{KEY}", "owner": "x"}}'],
)
def test_the_key_is_found_in_every_stored_form(stored: str) -> None:
    """A bare text and a JSON object with `api_key` both give the key."""
    assert KEY == parse(stored)


@pytest.mark.parametrize(
    "stored",
    ["", " \n", "{", "{}", '{"key": "hidden-1"}', '{"api_key": ""}', '{"api_key": 7}',
     "hidden 2", "hidden\x003", "hiddén-4"],
)  # fmt: skip
def test_a_text_without_a_usable_key_is_refused_unquoted(stored: str) -> None:
    """An unusable secret is refused with a reason that does not quote it."""
    with pytest.raises(SecretInvalid) as caught:
        parse(stored)

    assert "hidd" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_new_key_is_written_in_the_stored_form() -> None:
    """A JSON secret keeps its other fields, a bare one stays bare."""
    kept = written_like(json.dumps({"api_key": "old", "owner": "team"}), "new")

    assert {"api_key": "new", "owner": "team"} == json.loads(kept)
    assert written_like("old", "new") == "new"
    assert written_like(None, "new") == "new"
