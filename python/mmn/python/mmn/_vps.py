"""Vantage points: the places to measure from."""

from __future__ import annotations

from ._calls import VantagePointCalls
from ._errors import UsageError, of_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from ._network import Network
    from ._request import Duration
    from ._results import Result

    Health = Literal["starting", "healthy", "degraded", "suspect", "lost", "draining", "stopped"]


class Place:
    """What is known of a vantage point. Unknown is `None`. Two are equal when they are the same vantage point."""

    __slots__ = ("_net", "_view", "id")

    _net: Any
    _view: dict[str, Any] | None

    #: Its identity, which no change of name or address touches.
    id: str

    def __init__(self, id: str, view: dict[str, Any] | None = None, net: Any = None) -> None:
        self.id = id
        self._view = view
        self._net = net

    def _known(self) -> dict[str, Any]:
        if self._view is None or "health" not in self._view:
            view = self._net._look_up(self.id) if self._net is not None else None
            if view is not None:
                self._view = view
        return self._view or {}

    def _place(self) -> dict[str, Any]:
        place: dict[str, Any] = self._known().get("vantage_point", {})
        return place

    def _location(self) -> dict[str, Any]:
        location: dict[str, Any] = self._place().get("location", {})
        return location

    @property
    def name(self) -> str:
        """Its label, unique in its network, changeable."""
        if self._view is not None:
            return str(self._view["vantage_point"]["name"])
        return str(self._place().get("name", self.id))

    @property
    def country(self) -> str | None:
        """ISO 3166-1 alpha-2, upper case: `DE`."""
        return self._location().get("country")

    @property
    def continent(self) -> str | None:
        """`AF`, `AN`, `AS`, `EU`, `NA`, `OC` or `SA`."""
        return self._location().get("continent")

    @property
    def city(self) -> str | None:
        """The city by its English name."""
        return self._location().get("city")

    @property
    def place(self) -> str | None:
        """City and country, as far as its host says: `Berlin, DE`."""
        return ", ".join(filter(None, (self.city, self.country))) or None

    @property
    def latitude(self) -> float | None:
        """Degrees north, WGS 84."""
        return self._location().get("latitude")

    @property
    def longitude(self) -> float | None:
        """Degrees east, WGS 84."""
        return self._location().get("longitude")

    @property
    def asn(self) -> int | None:
        """The number of the AS that it is in."""
        return self._place().get("asn")

    @property
    def as_name(self) -> str | None:
        """The name of that AS."""
        return self._place().get("as_name")

    @property
    def addresses(self) -> list[str]:
        """Its addresses, the one that the default route uses first."""
        return list(self._place().get("addresses", ()))

    @property
    def tags(self) -> frozenset[str]:
        """What its host calls it besides."""
        return frozenset(self._place().get("tags", ()))

    @property
    def simulated(self) -> bool:
        """Whether it is part of a simulated Internet."""
        return bool(self._place().get("simulated", False))

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that can be measured from there now."""
        return frozenset(self._known().get("kinds", ()))

    @property
    def health(self) -> Health:
        """How it is, as the anchor sees it."""
        health: Health = self._known().get("health", "lost")
        return health

    @property
    def healthy(self) -> bool:
        """Whether it is at work with nothing wrong."""
        return self.health == "healthy"

    @property
    def policy(self) -> Mapping[str, Any] | None:
        """What its site allows; `None` until its node has spoken."""
        return self._known().get("policy")

    def distance_km(self, latitude: float, longitude: float) -> float | None:
        """The distance to a place along the surface, in kilometres; `None` when nobody said where it is."""
        from math import asin, cos, radians, sin, sqrt

        if self.latitude is None or self.longitude is None:
            return None
        here, there = radians(self.latitude), radians(latitude)
        across = radians(longitude - self.longitude)
        half = sin((there - here) / 2) ** 2 + cos(here) * cos(there) * sin(across / 2) ** 2
        return 2 * 6371.0 * asin(sqrt(min(1.0, half)))

    def to_dict(self) -> dict[str, Any]:
        """All that the anchor says of it, as in the contract's `VpView`."""
        return dict(self._known())

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        known = [repr(self.name)]
        if self._view is not None and "health" in self._view:
            if self.place:
                known.append(self.place)
            if self.asn is not None:
                known.append(f"AS{self.asn}")
            known.append(self.health)
        return f"<VantagePoint {' '.join(known)}>"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Place) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __lt__(self, other: Place) -> bool:
        return self.name < other.name

    def __reduce__(self) -> tuple[Any, ...]:
        # A connection does not travel: what comes back knows what was known, and can't measure.
        return type(self), (self.id, self._view)


class VantagePoint(Place, VantagePointCalls):
    """A place to measure from, with a method for each kind: `vp.ping("192.0.2.1")` is one call and one result."""

    __slots__ = ()

    _net: Network | None

    def measure(self, kind: str, target: str | None = None, *, deadline: Duration | None = None, **params: Any) -> Result:
        """Measures a kind of any name from here, and waits for the result.

        Raises a `MeasurementError` that names the vantage point and the reason when it did not end as *ok*.
        """
        result: Result = self._measured(kind, target, deadline, params)
        return result

    def _measured(self, kind: str, target: str | None, deadline: Duration | None, params: dict[str, Any]) -> Any:
        if self._net is None:
            raise UsageError(
                f"the vantage point {self.name} belongs to no connection: ask one for it by net.vp({self.name!r})"
            )
        result = self._net._one(kind, target, self, deadline, params)
        if not result.ok:
            raise of_result(result)
        return result
