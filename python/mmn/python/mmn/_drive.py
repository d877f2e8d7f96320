"""Measuring event by event: who wants work is given some, and results are told as they come."""

from __future__ import annotations

from ._errors import Error, UsageError
from ._measurement import Feed
from ._native import wait_any
from ._request import request
from .kinds import result_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ._network import Network
    from ._request import Duration
    from ._vps import VantagePoint


def drive(
    net: Network,
    kind: str,
    vps: Iterable[VantagePoint] | str,
    more: Callable[[VantagePoint], str | None],
    window: int,
    deadline: Duration | None,
    label: str | None,
    params: dict[str, Any],
) -> Iterator[Any]:
    """See `Network.drive`. Each vantage point has an open measurement of its own."""
    if window < 1:
        raise UsageError("a window holds one task at least")
    chosen = net.vps(vps) if isinstance(vps, str) else list(vps)
    if not chosen:
        raise UsageError("there is no vantage point to measure from")
    make = result_class(kind)
    opening = [
        net._connection.open(request(kind, params, vps=vp, deadline=deadline, label=label)) for vp in chosen
    ]
    feeds: list[Feed[Any]] = []
    for pending in opening:
        about, stream = pending.wait()
        feeds.append(Feed(net, about, stream, make))
    under_way = [0] * len(feeds)
    wanting = list(range(len(feeds)))
    try:
        while True:
            for position in wanting:
                given = _given(more, chosen[position], window - under_way[position])
                if given:
                    under_way[position] += len(given)
                    feeds[position].extend(given)
            if not any(under_way):
                break
            ready = wait_any([feed._stream for feed in feeds])
            for position in ready:
                batch = feeds[position]._stream.take(make, net, 0.0)
                for result in batch or ():
                    under_way[position] -= result.final
                    yield result
            # A result may have made work for any vantage point.
            wanting = [position for position, count in enumerate(under_way) if count < window]
    finally:
        _end(net, feeds, make, ended=not any(under_way))


def _end(net: Network, feeds: list[Feed[Any]], make: Callable[[bytes, Any], Any], *, ended: bool) -> None:
    """Ends the measurements: what is under way is called off."""
    for feed in feeds:
        feed.finish()
    for feed in feeds:
        try:
            if ended:
                while feed._stream.take(make, net) is not None:
                    pass
            else:
                feed.cancel()
        except Error:
            # Whoever left the loop, or was told of an error there, wants no other one. Tasks end by their deadlines.
            pass
        finally:
            feed.close()


def _given(more: Callable[[VantagePoint], str | None], vp: VantagePoint, room: int) -> list[str]:
    given: list[str] = []
    while len(given) < room and (target := more(vp)) is not None:
        given.append(target)
    return given
