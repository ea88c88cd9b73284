"""Show the OpenAPI document as a page: its operations and schemas, prepared for the template."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from web.base.contexts import PageContext

_JSON: Final = "application/json"
_PROBLEM: Final = "Problem"


@dataclass(frozen=True)
class Field:
    """A parameter, or a member of a body."""

    name: str
    kind: str
    about: str
    is_required: bool
    place: str = ""
    """Of a parameter: path, query or header."""


@dataclass(frozen=True)
class Body:
    """A possible request body."""

    media_type: str
    fields: Sequence[Field]


@dataclass(frozen=True)
class Answer:
    """A possible answer."""

    status: str
    about: str
    media_types: Sequence[str]
    model: str | None


@dataclass(frozen=True)
class ShownOperation:
    """One method of one path."""

    method: str
    address: str
    anchor: str
    summary: str
    is_open: bool
    """Whether it needs no token."""
    parameters: Sequence[Field]
    bodies: Sequence[Body]
    answers: Sequence[Answer]
    problems: Sequence[Answer]
    """Status codes of errors, each a problem document."""
    examples: Sequence[str]
    """Command lines of curl."""


@dataclass(frozen=True)
class ShownModel:
    """A JSON schema used in bodies."""

    name: str
    about: str
    fields: Sequence[Field]
    choices: Sequence[str]
    """The allowed texts, where it is no object."""


@dataclass(frozen=True)
class ReferencePage(PageContext):
    """The API reference."""

    template = "api/reference.html"
    version: str
    groups: Mapping[str, Sequence[ShownOperation]]
    models: Sequence[ShownModel]


def describe(document: dict[str, Any], host: str) -> ReferencePage:
    """Make the reference page of a document for a server at this address."""
    groups: dict[str, list[ShownOperation]] = {}
    (server,) = document["servers"]
    for path, item in document["paths"].items():
        address = f"{server['url'].rstrip('/')}{path}"
        for method, described in item.items():
            groups.setdefault(described["tags"][0], []).append(_operation(method, address, described, host))
    models = [_model(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return ReferencePage(version=document["info"]["version"], groups=groups, models=models)


def _operation(method: str, address: str, described: dict[str, Any], host: str) -> ShownOperation:
    is_open = described.get("security") == []
    content = described.get("requestBody", {}).get("content", {})
    answers = [_shown_answer(status, answer) for status, answer in described["responses"].items()]
    return ShownOperation(
        method=method.upper(),
        address=address,
        anchor=described["operationId"],
        summary=described["summary"],
        is_open=is_open,
        parameters=[
            Field(p["name"], kind_of(p["schema"]), _about(p), p.get("required", False), p["in"])
            for p in described["parameters"]
        ],
        bodies=[Body(media_type, list(_fields(part["schema"]))) for media_type, part in content.items()],
        answers=[answer for answer in answers if answer.model != _PROBLEM],
        problems=[answer for answer in answers if answer.model == _PROBLEM],
        examples=list(_curl(method, host + address, content, is_open=is_open)),
    )


def _shown_answer(status: str, answer: dict[str, Any]) -> Answer:
    content = answer.get("content", {})
    references = (part["schema"].get("$ref") for part in content.values())
    model = next((reference.rsplit("/", 1)[1] for reference in references if reference), None)
    return Answer(status, answer["description"], list(content), model)


def _fields(schema: dict[str, Any]) -> Iterator[Field]:
    required = schema.get("required", [])
    for name, member in schema.get("properties", {}).items():
        yield Field(name, kind_of(member), _about(member), name in required)


def _about(described: dict[str, Any]) -> str:
    """Return a description without its code marks, which a page does not render."""
    return str(described.get("description", "")).replace("`", "")


def _model(name: str, schema: dict[str, Any]) -> ShownModel:
    return ShownModel(name, _about(schema), list(_fields(schema)), schema.get("enum", []))


def kind_of(schema: dict[str, Any]) -> str:
    """Describe briefly which values a schema allows."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        kinds = [kind_of(choice) for choice in schema["anyOf"] if choice.get("maxLength") != 0]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return " | ".join(_value(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    values = schema.get("additionalProperties")
    return f"object of {kind_of(values)}" if isinstance(values, dict) else _plain_kind(schema)


def _plain_kind(schema: dict[str, Any]) -> str:
    if "contentMediaType" in schema:
        return "file"
    kinds = schema.get("type", "any")
    said = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    limits = [f"{schema[key]:,}" for key in ("minimum", "maximum") if key in schema]
    more = schema.get("format") or (f"{' to '.join(limits)}" if limits else "")
    return f"{said}, {more}" if more else said


def _value(value: object) -> str:
    return "null" if value is None else str(value) or "(empty)"


def _curl(method: str, address: str, content: Mapping[str, Any], *, is_open: bool) -> Iterator[str]:
    """Yield a command line for each possible request body, or one without a body."""
    named = re.sub(r"{(\w+)}", lambda found: found[1].upper(), address)
    options = [] if is_open else ['-H "Authorization: Bearer $TOKEN"']
    if method != "get" and not (method == "post" and content):
        options.append(f"-X {method.upper()}")
    for media_type in content or [""]:
        body: list[str] = []
        if media_type == _JSON:
            data = json.dumps(content[media_type].get("example", {}))
            body = [f"-H 'Content-Type: {_JSON}'", f"-d '{data}'"]
        elif media_type:
            body = ["-F files=@image.dcm"]
        yield " ".join(["curl", *options, *body, f"'{named}'"])
