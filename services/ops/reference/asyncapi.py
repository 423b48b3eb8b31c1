"""The AsyncAPI 3 document of the whole system, for code generators and catalogues of APIs.

FastStream writes what it knows: servers, channels, operations, payloads. It writes one channel for
each handler, bindings 0.4.0 with nothing but the topic's name, and no headers, keys or examples:
those are completed here from the catalogue.
"""

import json
from collections.abc import Awaitable, Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Final

import yaml
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from services.ops.topic_plan import settings_of
from sluice_contracts import CATALOGUE, Topic
from sluice_contracts.headers import CE_TYPE, MEANINGS
from sluice_contracts.schemas import MODELS, definitions
from sluice_contracts.topics import INTERNAL_TYPES

_EXAMPLES: Final = Path(__file__).parents[3] / "contracts" / "examples"
_ROOMS: Final = ("worker", "relay", "ops")
"""Whose operations the document lists; upstream and downstream have documents of their own."""
_GROUPS: Final = {"worker": "sluice-worker", "relay": "sluice-relay"}
_REPLICATION: Final = 3
_KAFKA: Final = "0.5.0"
_DESCRIPTION: Final = (
    "Claude over Kafka: publish `CompletionRequested` events, subscribe to validated results. "
    "Every request ends as exactly one outcome, succeeded or failed, in the eyes of a "
    "`read_committed` consumer. A failed outcome has its dead letter, which a person can replay."
)

_Document = dict[str, Any]


def asyncapi() -> str:
    """Return the document as YAML."""
    document = complete(described(declared()))
    text = yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=100)
    return f"# Written by `make generate`; do not edit.\n{text}"


def declared() -> KafkaBroker:
    """Return a broker with a handler for each topic that a room reads or writes; never started."""
    broker = KafkaBroker("localhost:9092")
    for topic in CATALOGUE:
        payload = _union([MODELS[event] for event in topic.events if event in MODELS])
        for room in _rooms(topic.readers):
            title = f"{room}.receives.{topic.name}"
            subscriber = broker.subscriber(topic.name, title=title, description=topic.summary)
            subscriber(_handler(payload))
        for room in _rooms(topic.writers):
            title = f"{room}.sends.{topic.name}"
            broker.publisher(
                topic.name, title=title, description=topic.summary, schema=payload or dict
            )
    return broker


def described(broker: KafkaBroker) -> _Document:
    """Return what FastStream writes of a broker's handlers."""
    specification = AsyncAPI(
        broker,
        title="Sluice",
        version="1.0.0",
        description=_DESCRIPTION,
        identifier="urn:sluice",
        license={"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        schema_version="3.1.0",
    )
    document: _Document = json.loads(specification.to_specification().to_json())
    return document


def complete(document: _Document) -> _Document:
    """Join the channels of each topic and say what FastStream left out."""
    topics = {topic.name: topic for topic in CATALOGUE}
    addresses = {key: channel["address"] for key, channel in document["channels"].items()}
    operations = {
        key: _completed(key, operation, topics[addresses[_last(operation["channel"])]])
        for key, operation in sorted(document["operations"].items())
    }
    servers = {
        name: {"host": server["host"], "protocol": server["protocol"]}
        for name, server in document["servers"].items()
    }
    return {
        "asyncapi": document["asyncapi"],
        "id": document["id"],
        "info": document["info"],
        "defaultContentType": document["defaultContentType"],
        "servers": servers,
        "channels": {topic.name: _channel(topic, list(servers)) for topic in CATALOGUE},
        "operations": operations,
        "components": {
            "messages": {event: _message(event) for event in _events()},
            "schemas": definitions("#/components/schemas/{model}"),
        },
    }


def _completed(key: str, operation: _Document, topic: Topic) -> _Document:
    room = key.partition(".")[0]
    completed = {
        "action": operation["action"],
        "title": f"The {room} {key.split('.')[1]} `{topic.name}`",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{e}"} for e in topic.events],
        "tags": [{"name": room}],
    }
    if operation["action"] == "receive" and room in _GROUPS:
        group = {"type": "string", "const": _GROUPS[room]}
        completed["bindings"] = {"kafka": {"groupId": group, "bindingVersion": _KAFKA}}
    return completed


def _channel(topic: Topic, servers: list[str]) -> _Document:
    settings = settings_of(topic, _REPLICATION)
    configuration: _Document = {"cleanup.policy": [settings.pop("cleanup.policy")]}
    configuration |= {k: int(v) if v.isdigit() else v for k, v in settings.items()}
    return {
        "address": topic.name,
        "title": topic.name,
        "description": f"{topic.summary} Key: {topic.key}. Owner: {topic.owner}.",
        "servers": [{"$ref": f"#/servers/{name}"} for name in servers],
        "messages": {event: {"$ref": f"#/components/messages/{event}"} for event in topic.events},
        "tags": [{"name": topic.owner}],
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": _REPLICATION,
                "topicConfiguration": configuration,
                "bindingVersion": _KAFKA,
            }
        },
    }


def _message(event: str) -> _Document:
    properties = {
        name: {"type": "string", "description": meaning} for name, meaning in MEANINGS.items()
    }
    properties[CE_TYPE] = {"type": "string", "const": event}
    key = next(topic.key for topic in CATALOGUE if event in topic.events)
    message: _Document = {
        "name": event,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": properties},
        "correlationId": {"location": "$message.header#/x-request-id"},
        "bindings": {
            "kafka": {"key": {"type": "string", "description": key}, "bindingVersion": _KAFKA}
        },
    }
    if event in INTERNAL_TYPES:
        summary = "Between Sluice's own rooms; its payload is no part of the contract."
        return message | {"summary": summary, "payload": {"type": "object"}}
    cls = MODELS[event]
    return message | {
        "title": cls.__name__,
        "summary": cls.__doc__,
        "payload": {"$ref": f"#/components/schemas/{cls.__name__}"},
        "examples": [
            {"name": path.stem, "payload": json.loads(path.read_text(encoding="utf-8"))}
            for path in sorted((_EXAMPLES / event).glob("*.json"), reverse=True)
        ],
    }


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 -- pyyaml's signature
        return True  # a document for many readers, some of which know no YAML anchors


def _events() -> list[str]:
    return list(dict.fromkeys(event for topic in CATALOGUE for event in topic.events))


def _rooms(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in _ROOMS]


def _last(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _union(classes: list[type[Any]]) -> Any:
    return reduce(or_, classes) if classes else None


def _handler(payload: Any) -> Callable[[Any], Awaitable[None]]:
    async def handle(event: Any) -> None:
        """Only its signature is read."""

    handle.__annotations__["event"] = payload or dict[str, Any]
    return handle
