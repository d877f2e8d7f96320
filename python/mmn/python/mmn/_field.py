"""How the attributes of results are declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ._native import Field

# Bytes, by a name that no attribute has.
Octets: TypeAlias = bytes


def field(
    name: str,
    convert: Callable[[Any], Any] | None = None,
    *,
    each: bool = False,
    default: object = None,
    summary: bool = False,
) -> Any:
    """An attribute that is read from a result when it is looked at. It can't be set."""
    return Field(name, convert, each=each, default=default, summary=summary)
