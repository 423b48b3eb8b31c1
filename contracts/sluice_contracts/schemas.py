"""The JSON Schemas of the events: what other languages generate their types from."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from sluice_contracts.codec import AUDIT_TYPES, TYPES

MODELS: Final[dict[str, type[BaseModel]]] = {**TYPES, **AUDIT_TYPES}
"""Every payload of the contract by its CloudEvents type."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class _Untitled(GenerateJsonSchema):
    """Leaves out the titles of fields, which only repeat their names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 -- pydantic's
        """Never."""
        return False


def event_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of the event with this CloudEvents type, complete in itself.

    A field with a default is optional in it, in outcomes too: records that an earlier minor
    version wrote stay readable.
    """
    schema = MODELS[name].model_json_schema(schema_generator=_Untitled)
    return {"$schema": DIALECT, "$id": f"urn:sluice:{name}", **schema}


def event_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each event by its CloudEvents type."""
    return {name: event_schema(name) for name in MODELS}


def definitions(ref_template: str) -> dict[str, Any]:
    """Return the schemas of the events and their parts by class, referring to each other.

    Args:
        ref_template: Where they will stand, for example `#/components/schemas/{model}`.
    """
    _, schema = models_json_schema(
        [(cls, "validation") for cls in MODELS.values()],
        ref_template=ref_template,
        schema_generator=_Untitled,
    )
    found: dict[str, Any] = schema["$defs"]
    return found
