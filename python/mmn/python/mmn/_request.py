"""What is asked of an anchor, made of what Python gives."""

from __future__ import annotations

from ._errors import UsageError
from ._vps import Place
from .kinds import DURATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta
    from typing import Any, TypeAlias, Union

    # A number of seconds, a text with a unit ("500ms", "1m", "PT1H"), or a timedelta.
    Duration: TypeAlias = Union[float, str, timedelta]
    # A selection ("germany+eyeball"), a vantage point, or several, by themselves or by id.
    Vps: TypeAlias = Union[str, Place, Iterable[Union[Place, str]]]

# How long a task may take when the caller does not say, in seconds: what the anchor takes.
DEADLINE_S = 30.0


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    if isinstance(duration, (int, float)):
        return float(duration)
    if isinstance(duration, str):
        return _read(duration)
    return duration.total_seconds()


def span(duration: Duration) -> str:
    """A duration as the contract writes it."""
    if isinstance(duration, str):
        return duration
    ns = round(seconds(duration) * 1e9)
    if ns < 0:
        raise UsageError(f"a duration is not negative, as {duration!r} is")
    return f"{ns}ns"


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _read(text: str) -> float:
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-zµ]+)", text.lower().removeprefix("p").replace("t", ""))
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else float(text)
    except (KeyError, ValueError):
        raise UsageError(f"{text!r} is no duration such as 2.5 (seconds), '500ms' or '1m'") from None


def selection(vps: Vps) -> str | list[str]:
    """A choice of vantage points as the contract writes it."""
    if isinstance(vps, str):
        return vps
    if isinstance(vps, Place):
        return [vps.id]
    ids = [vp if isinstance(vp, str) else vp.id for vp in vps]
    if not ids:
        raise UsageError("no vantage point was given to measure from: the list is empty")
    return ids


def request(
    kind: str,
    params: Mapping[str, Any],
    *,
    vps: Vps | None = None,
    deadline: Duration | None = None,
    label: str | None = None,
    max_packets: int | None = None,
    max_tasks: int | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """The request of a measurement, without its inputs. Parameters that are `None` take the kind's defaults."""
    asked: dict[str, Any] = {"kind": kind}
    durations = DURATIONS.get(kind, frozenset())
    given = {}
    for name, value in params.items():
        if value is not None:
            given[name.rstrip("_")] = span(value) if name in durations else _value(value)
    if given:
        asked["params"] = given
    if vps is not None:
        asked["from"] = selection(vps)
    if deadline is not None:
        asked["deadline"] = span(deadline)
    if label is not None:
        asked["label"] = label
    budget = {"max_packets": max_packets, "max_tasks": max_tasks}
    budget = {name: value for name, value in budget.items() if value is not None}
    if budget:
        asked["budget"] = budget
    if public:
        asked["visibility"] = "public"
    return asked


def _value(value: Any) -> Any:
    """A parameter: what is a timedelta or an address becomes text, and bytes base64."""
    if isinstance(value, bytes):
        from base64 import urlsafe_b64encode

        return urlsafe_b64encode(value).rstrip(b"=").decode()
    if value is None or isinstance(value, (str, int, float, list, tuple, dict)):
        return value
    if hasattr(value, "total_seconds"):
        return span(value)
    return str(value)


def targets(given: Any) -> list[str]:
    """Targets: one, or many. Addresses of the module `ipaddress` are taken too."""
    if isinstance(given, str):
        return [given]
    try:
        many = iter(given)
    except TypeError:
        return [str(given)]
    return [target if isinstance(target, str) else str(target) for target in many]
