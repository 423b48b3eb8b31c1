"""What the grammar cannot hold is told to the model in descriptions, and it listens."""

from random import Random

from services.simulator.answers.instances import Instances


def test_numbers_stay_within_bounds_that_a_description_tells() -> None:
    """Clients move `minimum` and `maximum` there, because the API's grammar has neither."""
    schema = {
        "type": "integer",
        "description": "1 remote to 5 certain.\n\n{minimum: 1, maximum: 5}",
    }
    made = {Instances("text", {"text"}, [], Random(seed)).make(schema) for seed in range(50)}
    assert {1, 2, 3, 4, 5} == made
