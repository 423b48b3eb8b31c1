"""Which keys are valid."""

import pytest

from services.simulator.errors import ErrorAnswer
from services.simulator.keys import Keys, key_id

VERSION = {"anthropic-version": "2026-10-21"}


def status(keys: Keys, **headers: str) -> int:
    """Return the status that a request with these headers gets."""
    given = VERSION | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        keys.authenticate(given)
    except ErrorAnswer as error:
        return error.status
    return 200


def test_both_headers() -> None:
    """A key is taken from either header; if both are there, x-api-key counts."""
    keys = Keys(["good"], "admin")
    assert 200 == status(keys, x_api_key="good")
    assert 200 == status(keys, authorization="Bearer good")
    assert 401 == status(keys, authorization="Basic good")
    assert 401 == status(keys, x_api_key="bad", authorization="Bearer good")
    assert 401 == status(keys)


def test_rotation() -> None:
    """Keys come and go while running, named by themselves or by their id."""
    keys = Keys(["old"], "admin")
    keys.add("new")
    assert keys.revoke("old")
    assert not keys.revoke("old")
    assert (401, 200) == (status(keys, x_api_key="old"), status(keys, x_api_key="new"))
    assert keys.revoke(key_id("new"))
    assert [] == keys.valid()


def test_version_is_required() -> None:
    """A valid key without a version is not enough."""
    with pytest.raises(ErrorAnswer) as raised:
        Keys(["good"], "admin").authenticate({"x-api-key": "good"})
    assert 400 == raised.value.status


def test_admin() -> None:
    """Only the admin key opens the organisation's endpoints."""
    keys = Keys(["good"], "admin")
    keys.authenticate_admin({"x-api-key": "admin"})
    with pytest.raises(ErrorAnswer):
        keys.authenticate_admin({"x-api-key": "good"})
