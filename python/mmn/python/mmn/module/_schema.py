"""JSON Schemas of annotations, and values of Python of what fits them.

No function is called here and nothing is checked: that a value fits its schema is the native half's to say. Begin with
`of_annotation`.
"""

# What annotations are made of has no types itself.
# pyright: basic
from __future__ import annotations

import base64
import collections.abc
import dataclasses
import datetime
import enum
import inspect
import ipaddress
import types
import typing
from collections.abc import Callable
from typing import Any

from .. import _native

__all__ = ["Field", "Shape", "of_annotation", "of_parameters", "of_result", "plain"]


@dataclasses.dataclass(frozen=True)
class Field:
    """What an annotation can't say of a parameter or of a field of a result: ``Annotated[int, Field("…", min=1)]``.

    A text alone, ``Annotated[int, "…"]``, is its description.
    """

    description: str = ""
    _: dataclasses.KW_ONLY
    min: float | None = None
    """The least that a number may be."""
    max: float | None = None
    """The most that a number may be."""
    min_length: int | None = None
    """The least characters of a text, or items of a list."""
    max_length: int | None = None
    """The most characters of a text, or items of a list."""
    pattern: str | None = None
    """What a text must match (ECMA 262)."""
    unit: str | None = None
    """Of a field of a result: it is a number of the summary, in this unit (``ns``, ``1`` for a count, ``ratio``,
    ``bytes``), by which measurements are drawn, alerted on and compared."""


Convert = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Shape:
    """The schema of an annotation, and how a value of Python is made of JSON that fits."""

    schema: dict[str, Any]
    convert: Convert | None = None
    """Absent where JSON's value is the one."""
    shared: bool = True
    """Whether many may hold one value, since nobody can change it."""
    unit: str | None = None

    def made(self, value: Any) -> Any:
        return value if value is None or self.convert is None else self.convert(value)


_PLAIN: dict[Any, Shape] = {
    str: Shape({"type": "string"}),
    int: Shape({"type": "integer"}),
    bool: Shape({"type": "boolean"}),
    float: Shape({"type": "number"}, float),
    Any: Shape({}, shared=False),
    None: Shape({"type": "null"}),
    type(None): Shape({"type": "null"}),
    bytes: Shape(
        {"type": "string", "contentEncoding": "base64url"},
        lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)),
    ),
    ipaddress.IPv4Address: Shape({"type": "string", "format": "ipv4"}, ipaddress.IPv4Address),
    ipaddress.IPv6Address: Shape({"type": "string", "format": "ipv6"}, ipaddress.IPv6Address),
    datetime.datetime: Shape(
        {"type": "string", "format": "date-time"},
        # Python has six digits of a second.
        lambda text: datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00"),
    ),
    datetime.timedelta: Shape(
        {
            "type": "string",
            "format": "duration-text",
            "description": 'a duration with its unit: "500ms", "1m", "PT1H"',
        },
        lambda text: datetime.timedelta(seconds=_native.span_to_seconds(text)),
    ),
}


def of_annotation(annotation: Any, where: str, inside: tuple[type, ...] = ()) -> Shape:
    """The shape of an annotation; `where` it stands is for the error."""
    if isinstance(annotation, typing.Hashable) and annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _annotated(arguments, where, inside)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, where, inside)
    if origin is typing.Literal:
        return Shape(_choice(list(arguments)))
    if origin in (list, collections.abc.Sequence, set, frozenset) and len(arguments) == 1:
        return _items(origin, arguments[0], where, inside)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return _items(tuple, arguments[0], where, inside)
    if origin in (dict, collections.abc.Mapping) and len(arguments) == 2 and arguments[0] is str:
        value = of_annotation(arguments[1], where, inside)
        schema = {"type": "object", "additionalProperties": value.schema}
        return Shape(schema, lambda entries: {name: value.made(one) for name, one in entries.items()}, shared=False)
    if isinstance(annotation, type):
        if annotation in inside:
            raise TypeError(f"{where}: {annotation.__name__} holds itself")
        if issubclass(annotation, enum.Enum):
            return Shape(_choice([plain(member.value) for member in annotation]), annotation)
        if dataclasses.is_dataclass(annotation):
            return _data_class(annotation, where, (*inside, annotation))
        if typing.is_typeddict(annotation):
            return _typed_dict(annotation, where, (*inside, annotation))
        if annotation is dict:
            return Shape({"type": "object"}, shared=False)
    raise TypeError(
        f"{where}: {annotation!r} has no form in JSON; there are str, int, float, bool, bytes, Literal, Enum, list, tuple, "
        "dict[str, …], data classes, TypedDict, addresses, datetime, timedelta, and each of them or None"
    )


def of_parameters(function: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Shape]]:
    """The schema of a function's parameters behind the first, and the shape of each."""
    name = getattr(function, "__name__", "the function")
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise TypeError(f"{name}: its first parameter is the task")
    shapes: dict[str, Shape] = {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in parameters[1:]:
        where = f"{name}({parameter.name})"
        if parameter.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            raise TypeError(f"{where}: a parameter has a name")
        if parameter.name not in hints:
            raise TypeError(f"{where}: give it a type")
        shape = shapes[parameter.name] = of_annotation(hints[parameter.name], where)
        if parameter.default is inspect.Parameter.empty:
            properties[parameter.name] = shape.schema
            required.append(parameter.name)
        else:
            properties[parameter.name] = shape.schema | {"default": plain(parameter.default)}
    return _object(properties, required), shapes


def of_result(function: Callable[..., Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The schema of what a function gives, and the numbers of its summaries."""
    name = getattr(function, "__name__", "the function")
    hints = typing.get_type_hints(function, include_extras=True)
    if "return" not in hints:
        raise TypeError(f"{name}: give its result a type")
    annotation = hints["return"]
    shape = of_annotation(annotation, f"the result of {name}")
    summary: list[dict[str, str]] = []
    if isinstance(annotation, type) and (dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation)):
        for field, hint in typing.get_type_hints(annotation, include_extras=True).items():
            meant = of_annotation(hint, f"{annotation.__name__}.{field}")
            if meant.unit is not None:
                described = str(meant.schema.get("description", ""))
                summary.append({"name": field, "unit": meant.unit, "description": described})
    return shape.schema, summary


def plain(value: Any) -> Any:
    """A value as JSON has it: what a default is written as."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: plain(one) for name, one in pairs if one is not None}
    if isinstance(value, datetime.timedelta):
        return f"{value / datetime.timedelta(microseconds=1):.0f}us" if value.microseconds % 1000 else _millis(value)
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    if isinstance(value, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, collections.abc.Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    return value


def _millis(value: datetime.timedelta) -> str:
    millis = value // datetime.timedelta(milliseconds=1)
    return f"{millis // 1000}s" if millis % 1000 == 0 else f"{millis}ms"


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": required} if required else schema


def _choice(values: list[Any]) -> dict[str, Any]:
    texts = all(isinstance(value, str) for value in values)
    return {"type": "string", "enum": values} if texts else {"enum": values}


def _annotated(arguments: tuple[Any, ...], where: str, inside: tuple[type, ...]) -> Shape:
    shape = of_annotation(arguments[0], where, inside)
    for extra in arguments[1:]:
        if isinstance(extra, str):
            extra = Field(extra)
        if not isinstance(extra, Field):
            continue
        kind = shape.schema.get("type")
        is_list = kind == "array" or isinstance(kind, list) and "array" in kind
        words = {
            "description": extra.description or None,
            "minimum": extra.min,
            "maximum": extra.max,
            "minItems" if is_list else "minLength": extra.min_length,
            "maxItems" if is_list else "maxLength": extra.max_length,
            "pattern": extra.pattern,
        }
        schema = shape.schema | {word: value for word, value in words.items() if value is not None}
        shape = dataclasses.replace(shape, schema=schema, unit=extra.unit or shape.unit)
    return shape


def _union(arguments: tuple[Any, ...], where: str, inside: tuple[type, ...]) -> Shape:
    shapes = [of_annotation(one, where, inside) for one in arguments if one is not type(None)]
    optional = len(shapes) < len(arguments)
    if {ipaddress.IPv4Address, ipaddress.IPv6Address} == {one for one in arguments if one is not type(None)}:
        # Two formats, of which a text has one.
        shapes = [Shape({"type": "string"}, ipaddress.ip_address)]
    if len(shapes) > 1:
        if any(shape.convert not in (None, float) for shape in shapes):
            raise TypeError(f"{where}: of the types of a union at most one may need to be made of JSON")
        schemas = [shape.schema for shape in shapes] + ([{"type": "null"}] if optional else [])
        return Shape({"anyOf": schemas}, None, all(shape.shared for shape in shapes))
    [shape] = shapes
    if not optional:
        return shape
    if set(shape.schema) >= {"type"} and "enum" not in shape.schema and isinstance(shape.schema["type"], str):
        schema = shape.schema | {"type": [shape.schema["type"], "null"]}
    else:
        schema = {"anyOf": [shape.schema, {"type": "null"}]}
    return dataclasses.replace(shape, schema=schema)


def _items(origin: Any, item: Any, where: str, inside: tuple[type, ...]) -> Shape:
    shape = of_annotation(item, where, inside)
    collection: Callable[[Any], Any] = origin if origin in (tuple, set, frozenset) else list
    schema: dict[str, Any] = {"type": "array", "items": shape.schema}
    if origin in (set, frozenset):
        schema["uniqueItems"] = True
    shared = shape.shared and collection in (tuple, frozenset)
    return Shape(schema, lambda items: collection(shape.made(one) for one in items), shared)


def _data_class(kind: type, where: str, inside: tuple[type, ...]) -> Shape:
    hints = typing.get_type_hints(kind, include_extras=True)
    shapes: dict[str, Shape] = {}
    properties: dict[str, Any] = {}
    required = []
    for field in dataclasses.fields(kind):
        shape = of_annotation(hints[field.name], f"{kind.__name__}.{field.name}", inside)
        schema = shape.schema
        if field.default is not dataclasses.MISSING:
            schema = schema | {"default": plain(field.default)}
        elif field.default_factory is not dataclasses.MISSING:
            schema = schema | {"default": plain(field.default_factory())}
        elif not _may_be_none(hints[field.name]):
            required.append(field.name)
        if field.init:
            shapes[field.name] = shape
        properties[field.name] = schema
    missing = {name: None for name, hint in hints.items() if name in shapes and _may_be_none(hint)}
    missing = {name: none for name, none in missing.items() if "default" not in properties[name]}

    def convert(entries: dict[str, Any]) -> Any:
        return kind(**missing, **{name: shapes[name].made(one) for name, one in entries.items()})

    frozen = bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]
    schema = _object(properties, required)
    if kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("):
        schema = {"description": _sentence(kind.__doc__)} | schema
    return Shape(schema, convert, frozen and all(shape.shared for shape in shapes.values()))


def _typed_dict(kind: type, where: str, inside: tuple[type, ...]) -> Shape:
    hints = typing.get_type_hints(kind, include_extras=True)
    shapes = {name: of_annotation(hint, f"{kind.__name__}.{name}", inside) for name, hint in hints.items()}
    required = [name for name in hints if name in getattr(kind, "__required_keys__", hints)]
    schema = _object({name: shape.schema for name, shape in shapes.items()}, required)
    return Shape(schema, lambda entries: {name: shapes[name].made(one) for name, one in entries.items()}, shared=False)


def _may_be_none(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        return _may_be_none(typing.get_args(hint)[0])
    return type(None) in typing.get_args(hint)


def _sentence(doc: str) -> str:
    return " ".join(inspect.cleandoc(doc).split("\n\n")[0].split())
