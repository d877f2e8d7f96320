"""The network: where vantage points are asked for, and measurements begin."""

from __future__ import annotations

from ._calls import NetworkCalls
from ._drive import drive
from ._errors import UsageError
from ._measurement import Feed, Measurement
from ._native import Connection
from ._request import DEADLINE_S, one_target, request, seconds, targets
from ._vps import Place, VantagePoint
from .kinds import result_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike
    from typing import Any

    from ._request import Duration, Vps
    from ._results import Result

# More inputs than that are appended to an open measurement.
MOST_AT_ONCE = 10_000


class Known:
    """The vantage points that a connection has heard of."""

    _connection: Connection
    _vps: dict[str, Any]
    _place: type[Place]

    def _vp(self, id: str, name: str | None) -> Any:
        """A vantage point of which little needs to be known: the rest is asked for when it is looked at."""
        vp = self._vps.get(id)
        if vp is None:
            view = {"vantage_point": {"id": id, "name": name}} if name is not None else None
            vp = self._vps[id] = self._place(id, view, self)
        return vp

    def _name_of(self, id: str) -> str | None:
        vp = self._vps.get(id)
        return None if vp is None or vp._view is None else str(vp.name)

    def _planned(self, about: dict[str, Any]) -> None:
        """Remembers the names of those that a measurement was planned for."""
        for vp in about.get("plan", {}).get("vps", ()):
            self._vp(vp["vp"], vp["name"])

    def _learn(self, views: list[dict[str, Any]]) -> list[Any]:
        all = []
        for view in views:
            id = view["vantage_point"]["id"]
            vp = self._vp(id, None)
            vp._view = view
            all.append(vp)
        return all

    def _look_up(self, id: str) -> dict[str, Any] | None:
        for view in self._connection.vps().wait():
            vp = self._vp(view["vantage_point"]["id"], None)
            vp._view = view
        known: dict[str, Any] | None = self._vps[id]._view if id in self._vps else None
        return known


class Network(Known, NetworkCalls):
    """A network of vantage points, as `connect` finds it. It has a method for each kind of measurement."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._vps: dict[str, VantagePoint] = {}
        self._place = VantagePoint

    @property
    def url(self) -> str:
        """Where its API is."""
        return self._connection.url

    def vps(self, select: str | None = None) -> list[VantagePoint]:
        """The vantage points, by name: all, or those of a selection such as `"germany+eyeball, !tag:vpn"`.

        A random selection (`any(…)`, `3 of (…)`, `sample(…)`) is drawn anew each time.
        """
        views = self._connection.vps().wait()
        if select is None:
            return sorted(self._learn(views))
        chosen = self._connection.select(select).wait()["vps"]
        by_id = {vp.id: vp for vp in self._learn(views)}
        return [by_id.get(vp["vp"]) or self._vp(vp["vp"], vp["name"]) for vp in chosen]

    def vp(self, name: str) -> VantagePoint:
        """The vantage point of that name, or id."""
        vps = self.vps()
        for vp in vps:
            if name in (vp.name, vp.id):
                return vp
        raise UsageError(f"there is no vantage point {name!r} among the {len(vps)} of this network: vps() lists them")

    def kinds(self) -> dict[str, dict[str, Any]]:
        """The kinds of measurement that the network offers now, each with its description and schemas."""
        return {kind["info"]["name"]: kind["info"] for kind in self._connection.kinds().wait()}

    def measure(
        self,
        kind: str,
        targets: str | Iterable[str] | None = None,
        *,
        vps: Vps | None = None,
        deadline: Duration | None = None,
        label: str | None = None,
        **params: Any,
    ) -> Measurement[Any]:
        """Measures a kind of any name, also one that was plugged in a minute ago. See the methods of the built-in kinds."""
        return self._many(kind, targets, vps, deadline, label, params)

    def plan(
        self,
        kind: str,
        targets: str | Iterable[str] | None = None,
        *,
        vps: Vps | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        """What a measurement would do: vantage points, tasks, packets, refusals with reasons. Nothing is sent."""
        asked = request(kind, params, vps=vps)
        asked["inputs"] = _inputs(targets)
        plan: dict[str, Any] = self._connection.plan(asked).wait()
        return plan

    def measurement(self, id: str) -> Measurement[Any]:
        """A measurement that is there already, from its first result on."""
        about, stream = self._connection.attach(id).wait()
        return Measurement(self, about, stream, result_class(about["kind"]))

    def whoami(self) -> dict[str, Any]:
        """Who asks, as the anchor sees it."""
        answer: dict[str, Any] = self._connection.whoami().wait()
        return answer

    def limits(self) -> dict[str, Any]:
        """The anchor's limits."""
        answer: dict[str, Any] = self._connection.limits().wait()
        return answer

    def close(self) -> None:
        """Ends the connection. Measurements go on at the anchor."""

    def __enter__(self) -> Network:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Network {self.url}>"

    def _many(
        self,
        kind: str,
        given: str | Iterable[str] | None,
        vps: Vps | None,
        deadline: Duration | None,
        label: str | None,
        params: dict[str, Any],
    ) -> Measurement[Any]:
        asked = request(kind, params, vps=vps, deadline=deadline, label=label)
        inputs = _inputs(given)
        if len(inputs) <= MOST_AT_ONCE:
            asked["inputs"] = inputs
            about, stream = self._connection.start(asked).wait()
            return Measurement(self, about, stream, result_class(kind))
        about, stream = self._connection.open(asked).wait()
        stream.give_all(inputs)
        about["ledger"]["accepted"] = len(inputs) * max(1, len(about["vps"]))
        return Measurement(self, about, stream, result_class(kind))

    def _open(
        self, kind: str, vps: Vps | None, deadline: Duration | None, label: str | None, params: dict[str, Any]
    ) -> Feed[Any]:
        asked = request(kind, params, vps=vps, deadline=deadline, label=label)
        about, stream = self._connection.open(asked).wait()
        return Feed(self, about, stream, result_class(kind))

    def _drive(
        self,
        kind: str,
        vps: str | Iterable[VantagePoint],
        more: Callable[[VantagePoint], str | None],
        window: int,
        deadline: Duration | None,
        label: str | None,
        params: dict[str, Any],
    ) -> Iterator[Any]:
        return drive(self, kind, vps, more, window, deadline, label, params)

    def _one(
        self, kind: str, target: str | None, vp: VantagePoint, deadline: Duration | None, params: dict[str, Any]
    ) -> Result:
        asked = request(kind, params, vps=vp, deadline=deadline)
        asked["inputs"] = [one_target(target)]
        wait_s = (DEADLINE_S if deadline is None else seconds(deadline)) + 1.0
        about, records = self._connection.measure(asked, int(wait_s * 1000)).wait()
        make = result_class(kind)
        if records:
            result: Result = make(records[-1], self)
            return result
        # The API waits less long than was asked: the result is followed.
        about, stream = self._connection.attach(about["id"]).wait()
        result = Measurement(self, about, stream, make).results()[-1]
        return result


def _inputs(given: str | Iterable[str] | None) -> list[Any]:
    inputs: list[Any] = [None] if given is None else targets(given)
    if not inputs:
        raise UsageError("no target was given: the list is empty")
    return inputs


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    ca: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
) -> Network:
    """Connects to a network: the `mmn up` of this machine, or the API at `url` with a `token`.

    `ca` names a PEM file with the certificates to trust, `data` the data directory of an `mmn up` that is not in its usual
    place. What is not given is taken from `MMN_API`, `MMN_TOKEN_FILE`, `MMN_API_CA` and `MMN_DATA` in the environment, as
    the command `mmn` does. The token of this machine's own `mmn up` is shown to that one alone: another API wants one that
    `mmn creds new client NAME` made there.

        with mmn.connect() as net:
            for vp in net.vps("country:DE"):
                print(vp, vp.ping("192.0.2.1").rtt_min_ns)
    """
    return Network(connection(url, token, ca, data))


def connection(
    url: str | None, token: str | None, ca: str | PathLike[str] | None, data: str | PathLike[str] | None
) -> Connection:
    """The connection that `connect` wraps, here and in `mmn.aio`."""
    from os import environ, path

    if url is None and data is None:
        url = environ.get("MMN_API") or None
    ca = ca if ca is not None else environ.get("MMN_API_CA") or None
    directory = data or environ.get("MMN_DATA") or _data_dir()
    token_file = environ.get("MMN_TOKEN_FILE")
    if token is None and token_file and (url is not None or data is None):
        try:
            with open(token_file, encoding="utf-8") as file:
                token = file.read()
        except OSError as error:
            raise UsageError(f"the token that MMN_TOKEN_FILE names can't be read: {error}") from None
    return Connection(url, token, ca, directory)


def _data_dir() -> str:
    from os import environ, path

    base = environ.get("XDG_DATA_HOME", "")
    return path.join(base if path.isabs(base) else path.expanduser("~/.local/share"), "mmn")
