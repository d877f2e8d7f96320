"""The same for asyncio.

    import mmn.aio

    async with mmn.aio.connect() as net:
        async for r in net.ping(["192.0.2.1", "192.0.2.2"], vps="all", count=1):
            print(r.vp, r.target, r.rtt_min_ns)

What waits is awaited, and gives way to the loop; everything else is as in `mmn`. No thread is taken from the loop's pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from ._aio_calls import NetworkCalls, VantagePointCalls
from ._errors import Error, UsageError, WaitTimeout, of_result
from ._measurement import CHUNK, Ledger, Started
from ._network import MOST_AT_ONCE, Known, _inputs, connection
from ._request import DEADLINE_S, one_target, request, seconds
from ._results import Result, Results
from ._vps import Place
from .kinds import result_class

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from os import PathLike
    from typing import Any

    from ._native import Connection, Pending, Stream
    from ._request import Duration, Vps

__all__ = ["AsyncFeed", "AsyncMeasurement", "Network", "VantagePoint", "connect"]

R = TypeVar("R", bound=Result)


async def _ready(register: Callable[[Callable[[], object]], None]) -> None:
    """Waits until what `register` was given is called, from whatever thread."""
    loop = asyncio.get_running_loop()
    come = loop.create_future()
    register(lambda: loop.call_soon_threadsafe(_come, come))
    await come


def _come(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _answer(pending: Pending) -> Any:
    try:
        await _ready(pending.on_ready)
    except asyncio.CancelledError:
        pending.abandon()
        raise
    return pending.wait()


class VantagePoint(Place, VantagePointCalls):
    """A place to measure from: `await vp.ping("192.0.2.1")` is one call and one result."""

    __slots__ = ()

    _net: Network | None

    async def measure(
        self, kind: str, target: str | None = None, *, deadline: Duration | None = None, **params: Any
    ) -> Result:
        """Measures a kind of any name from here, and waits for the result.

        Raises a `MeasurementError` that names the vantage point and the reason when it did not end as *ok*.
        """
        result: Result = await self._measured(kind, target, deadline, params)
        return result

    async def _measured(
        self, kind: str, target: str | None, deadline: Duration | None, params: dict[str, Any]
    ) -> Any:
        if self._net is None:
            raise UsageError(f"the vantage point {self.name} belongs to no connection: ask one for it")
        return await self._net._one(kind, target, self, deadline, params)


class AsyncMeasurement(Started, Generic[R]):
    """Tasks that were issued, and their results as they arrive: `async for r in net.ping(…)`.

    It begins at once. What is wrong with the request is raised where it is awaited first: by `await m`, `async for`, or any of
    its methods.
    """

    _net: Network

    def __init__(self, net: Network, pending: Pending | None, make: Callable[[bytes, Any], R], inputs: list[str] | None) -> None:
        self._net = net
        self._connection = net._connection
        self._pending = pending
        self._beginning = asyncio.Lock()
        self._make = make
        self._inputs = inputs
        self._batch: Iterator[R] = iter(())

    async def _begun(self) -> None:
        async with self._beginning:
            if self._pending is not None:
                self._about, self._stream = await _answer(self._pending)
                self._net._planned(self._about)
                self._pending = None
                if self._inputs is not None:
                    self._stream.give_all(self._inputs)
                    self._about["ledger"]["accepted"] = len(self._inputs) * max(1, len(self._about["vps"]))

    def __await__(self) -> Any:
        """Waits until it is accepted."""
        return self._accepted().__await__()

    async def _accepted(self) -> AsyncMeasurement[R]:
        await self._begun()
        return self

    def __len__(self) -> int:
        """How many tasks it has, once it is accepted."""
        return int(self._about["ledger"]["accepted"])

    def __bool__(self) -> bool:
        return True

    @property
    def vps(self) -> list[VantagePoint]:
        """From where, as chosen, once it is accepted."""
        names = {vp["vp"]: vp["name"] for vp in self._about.get("plan", {}).get("vps", ())}
        return [self._net._vp(id, names.get(id)) for id in self._about["vps"]]

    async def ledger(self) -> Ledger:
        """The account of its tasks, as it is now."""
        await self._begun()
        known = self._stream.ledger
        return Ledger(known if known is not None else await _answer(self._connection.ledger(self.id)))

    async def _next(self, room: bool = False) -> list[R] | None:
        await _ready(lambda callback: self._stream.on_ready(callback, room=room))
        return self._stream.take(self._make, self._net, 0.0)

    async def __aiter__(self) -> AsyncIterator[R]:
        await self._begun()
        while True:
            for result in self._batch:
                yield result
            batch = await self._next()
            if batch is None:
                return
            self._batch = iter(batch)

    async def results(self, timeout: float | None = None) -> Results[R]:
        """Waits for all results and gives those that were not read yet; see `mmn.Measurement.results`."""
        collected: Results[R] = Results()

        async def collect() -> None:
            async for result in self:
                collected.append(result)

        # The time counts from its acceptance on.
        await self._begun()
        try:
            await asyncio.wait_for(collect(), timeout)
        except asyncio.TimeoutError:
            late = WaitTimeout(f"not all results of {self.kind} {self.id} were in after {timeout:g} s")
            late.results = collected
            raise late from None
        return collected

    async def cancel(self) -> None:
        """Calls it off. Tasks that have not ended come as results whose outcome is *cancelled*."""
        await self._begun()
        await _answer(self._connection.cancel(self.id))

    def close(self) -> None:
        """Reads no more. The measurement goes on, and its results are kept."""
        if self._pending is None:
            self._stream.close()
        else:
            self._pending.abandon()

    async def __aenter__(self) -> AsyncMeasurement[R]:
        await self._begun()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if not self.done:
                await self.cancel()
        except Error:
            # What went wrong in the block is what its author wants to hear of.
            if error is None:
                raise
        finally:
            self.close()


class AsyncFeed(AsyncMeasurement[R]):
    """An open measurement, which takes targets for as long as there are any; see `mmn.Feed`."""

    _given = 0

    def __len__(self) -> int:
        return self._given * max(1, len(self._about["vps"]))

    @property
    def given(self) -> int:
        """How many targets it was given."""
        return self._given

    async def put(self, target: str) -> None:
        """Gives a target. It waits while the network takes none."""
        await self.extend([target])

    async def extend(self, targets: Iterable[str]) -> None:
        """Gives targets. It waits while the network takes none."""
        await self._begun()
        source = iter(targets)
        while chunk := list(islice(source, CHUNK)):
            while chunk:
                taken = self._stream.give(chunk)
                self._given += taken
                chunk = chunk[taken:]
                if chunk:
                    await _ready(self._stream.on_room)

    def finish(self) -> None:
        """Says that no more targets will be given: iteration then ends with the last result."""
        self._stream.finish()

    async def run(self, targets: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[R]:
        """Gives the targets and yields the results as they arrive; ends with the last one."""
        await self._begun()
        giving = asyncio.ensure_future(self._give_all(targets))
        try:
            async for result in self:
                yield result
            await giving
        finally:
            giving.cancel()

    async def _give_all(self, targets: Iterable[str] | AsyncIterable[str]) -> None:
        try:
            if isinstance(targets, AsyncIterable):
                async for target in targets:
                    await self.put(target)
            else:
                source = iter(targets)
                while chunk := list(islice(source, CHUNK)):
                    await self.extend(chunk)
        finally:
            self.finish()

    async def __aenter__(self) -> AsyncFeed[R]:
        await self._begun()
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.finish()
        await super().__aexit__(kind, error, trace)


class Network(Known, NetworkCalls):
    """A network of vantage points, for asyncio; see `mmn.Network`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._vps: dict[str, VantagePoint] = {}
        self._place = VantagePoint

    @property
    def url(self) -> str:
        """Where its API is."""
        return self._connection.url

    async def vps(self, select: str | None = None) -> list[VantagePoint]:
        """The vantage points, by name: all, or those of a selection such as `"germany+eyeball, !tag:vpn"`."""
        all = sorted(self._learn(await _answer(self._connection.vps())))
        if select is None:
            return all
        chosen = (await _answer(self._connection.select(select)))["vps"]
        return [self._vp(vp["vp"], vp["name"]) for vp in chosen]

    async def vp(self, name: str) -> VantagePoint:
        """The vantage point of that name, or id."""
        vps = await self.vps()
        for vp in vps:
            if name in (vp.name, vp.id):
                return vp
        raise UsageError(f"there is no vantage point {name!r} among the {len(vps)} of this network: vps() lists them")

    def vp_of(self, result: Result) -> VantagePoint | None:
        """From where a result is: `result.vp`, by its own type.

        Results have one class for both ways, so type checkers take their `vp` for the synchronous one. Here it is one whose calls
        are awaited. It knows its name; what else is asked of it waits for an answer, unless `await net.vps()` was called before.
        """
        return self._vp(result.vp_id, result.vp_name) if result.vp_id is not None else None

    async def kinds(self) -> dict[str, dict[str, Any]]:
        """The kinds of measurement that the network offers now, each with its description and schemas."""
        return {kind["info"]["name"]: kind["info"] for kind in await _answer(self._connection.kinds())}

    def measure(
        self,
        kind: str,
        targets: str | Iterable[str] | None = None,
        *,
        vps: Vps | None = None,
        deadline: Duration | None = None,
        label: str | None = None,
        **params: Any,
    ) -> AsyncMeasurement[Any]:
        """Measures a kind of any name, also one that was plugged in a minute ago."""
        return self._many(kind, targets, vps, deadline, label, params)

    async def measurement(self, id: str) -> AsyncMeasurement[Any]:
        """A measurement that is there already, from its first result on."""
        about, stream = await _answer(self._connection.attach(id))
        taken: AsyncMeasurement[Any] = AsyncMeasurement(self, None, result_class(about["kind"]), None)
        taken._about, taken._stream = about, stream
        return taken

    def close(self) -> None:
        """Ends the connection. Measurements go on at the anchor."""

    async def __aenter__(self) -> Network:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<mmn.aio.Network {self.url}>"

    def _many(
        self,
        kind: str,
        given: str | Iterable[str] | None,
        vps: Vps | None,
        deadline: Duration | None,
        label: str | None,
        params: dict[str, Any],
    ) -> AsyncMeasurement[Any]:
        asked = request(kind, params, vps=vps, deadline=deadline, label=label)
        inputs = _inputs(given)
        if len(inputs) > MOST_AT_ONCE:
            return AsyncMeasurement(self, self._connection.open(asked), result_class(kind), inputs)
        asked["inputs"] = inputs
        return AsyncMeasurement(self, self._connection.start(asked), result_class(kind), None)

    def _open(
        self, kind: str, vps: Vps | None, deadline: Duration | None, label: str | None, params: dict[str, Any]
    ) -> AsyncFeed[Any]:
        asked = request(kind, params, vps=vps, deadline=deadline, label=label)
        return AsyncFeed(self, self._connection.open(asked), result_class(kind), None)

    async def _one(
        self, kind: str, target: str | None, vp: VantagePoint, deadline: Duration | None, params: dict[str, Any]
    ) -> Result:
        asked = request(kind, params, vps=vp, deadline=deadline)
        asked["inputs"] = [one_target(target)]
        wait_s = (DEADLINE_S if deadline is None else seconds(deadline)) + 1.0
        about, records = await _answer(self._connection.measure(asked, int(wait_s * 1000)))
        if records:
            result: Result = result_class(kind)(records[-1], self)
        else:
            # The API waits less long than was asked: the result is followed.
            result = (await (await self.measurement(about["id"])).results())[-1]
        if not result.ok:
            raise of_result(result)
        return result


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    ca: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
) -> Network:
    """Connects to a network, as `mmn.connect` does: `async with mmn.aio.connect() as net:`"""
    return Network(connection(url, token, ca, data))
