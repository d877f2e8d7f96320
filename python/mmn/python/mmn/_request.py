"""What is asked of an anchor, made of what Python gives."""

from __future__ import annotations

from ._errors import UsageError
from ._native import span_to_seconds
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


def seconds(duration: Duration, what: str = "deadline") -> float:
    """A duration in seconds; `what` is the parameter that it is of."""
    found: float | None = None
    if isinstance(duration, str):
        found = _read(duration)
    elif isinstance(duration, (int, float)):
        found = None if isinstance(duration, bool) else float(duration)
    elif hasattr(duration, "total_seconds"):
        found = duration.total_seconds()
    if found is None or not 0 <= found < 1e9:
        raise UsageError(f"{what}: {duration!r} is no duration such as 2.5 (a number of seconds), '500ms' or '1m'")
    return found


def span(duration: Duration, what: str) -> str:
    """A duration as the contract writes it."""
    found = seconds(duration, what)
    return duration if isinstance(duration, str) else f"{round(found * 1e9)}ns"


def _read(text: str) -> float | None:
    try:
        return span_to_seconds(text)
    except ValueError:
        return None


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
            given[name.rstrip("_")] = span(value, name) if name in durations else _value(value, name)
    if given:
        asked["params"] = given
    if vps is not None:
        asked["from"] = selection(vps)
    if deadline is not None:
        asked["deadline"] = span(deadline, "deadline")
    if label is not None:
        asked["label"] = label
    budget = {"max_packets": max_packets, "max_tasks": max_tasks}
    budget = {name: value for name, value in budget.items() if value is not None}
    if budget:
        asked["budget"] = budget
    if public:
        asked["visibility"] = "public"
    return asked


def _value(value: Any, name: str) -> Any:
    """A parameter: what is a timedelta or an address becomes text, and bytes base64."""
    if isinstance(value, bytes):
        from base64 import urlsafe_b64encode

        return urlsafe_b64encode(value).rstrip(b"=").decode()
    if value is None or isinstance(value, (str, int, float, list, tuple, dict)):
        return value
    if hasattr(value, "total_seconds"):
        return span(value, name)
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


def one_target(given: Any) -> str | None:
    """The one target of a call that gives one result. An address of the module `ipaddress` is taken too."""
    if given is None or isinstance(given, str):
        return given
    if hasattr(given, "__iter__"):
        raise UsageError("a call of a vantage point is of one target: the network's of the same name takes several, and vps=vp")
    return str(given)
