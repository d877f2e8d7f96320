"""The same in asyncio, and the other one inside of a running loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import mmn
import mmn.aio

from .conftest import ANSWERS, SILENT, Up


def run(up: Up, work: Callable[[mmn.aio.Network], Awaitable[None]]) -> None:
    async def main() -> None:
        async with mmn.aio.connect(data=up.data) as net:
            await work(net)

    asyncio.run(main())


def test_one_call_one_result(up: Up) -> None:
    async def work(net: mmn.aio.Network) -> None:
        vp = await net.vp("ams1")
        result = await vp.ping(ANSWERS, count=1)
        assert result.received == 1 and result.vp == vp
        one, other = await asyncio.gather(vp.ping(ANSWERS, count=1), vp.trace(ANSWERS, attempts=1))
        assert one.ok and other.reached
        with pytest.raises(mmn.MeasurementFailed, match="ams1 to no-such-host"):
            await vp.ping("no-such-host", count=1)
        assert len(await net.vps("country:NL")) == 1 and "ping" in await net.kinds()

    run(up, work)


def test_many_as_they_arrive(up: Up) -> None:
    async def work(net: mmn.aio.Network) -> None:
        count = 0
        async for result in net.ping([ANSWERS] * 10, vps="ams1, fra1", count=1):
            count += result.received
        assert count == 20
        measurement = await net.ping([ANSWERS, SILENT], vps="ams1", count=1, timeout=4)
        assert len(measurement) == 2
        with pytest.raises(mmn.WaitTimeout) as late:
            await measurement.results(timeout=1.5)
        assert late.value.results is not None and len(late.value.results) == 1
        assert len(await measurement.results()) == 1
        assert (await measurement.ledger()).ok == 2
        with pytest.raises(mmn.ApiError):
            await net.measure("ping", ANSWERS, vps="ams1", count="three")
        async with net.ping([SILENT] * 3, vps="ams1", count=1, timeout=20) as left:
            pass
        taken = await net.measurement(left.id)
        assert [r.outcome for r in await taken.results()] == ["cancelled"] * 3

    run(up, work)


def test_a_result_knows_a_vantage_point_that_is_awaited(up: Up) -> None:
    async def work(net: mmn.aio.Network) -> None:
        (result,) = await net.ping(ANSWERS, vps="ams1", count=1).results()
        vp = net.vp_of(result)
        assert isinstance(vp, mmn.aio.VantagePoint) and vp == result.vp and vp.name == "ams1"
        assert isinstance(result.vp, mmn.aio.VantagePoint)
        assert (await vp.ping(ANSWERS, count=1)).received == 1
        (refused,) = await net.measure("ping", ANSWERS, vps="ams1", port=70).results()
        assert not refused.ok and net.vp_of(refused) == vp

    run(up, work)


def test_an_open_measurement(up: Up) -> None:
    async def targets() -> AsyncIterator[str]:
        for _ in range(2000):
            yield ANSWERS

    async def work(net: mmn.aio.Network) -> None:
        async with net.open("ping", vps="ams1", port=70) as feed:
            count = 0
            async for result in feed.run(targets()):
                count += result.outcome == "refused"
            assert count == 2000 == len(feed)
        async with net.open("ping", vps="ams1", port=70) as feed:
            async for result in feed.run([ANSWERS] * 20_000):
                count += 1
            assert count == 22_000

    run(up, work)


def test_a_wait_that_is_cancelled_gives_way(up: Up) -> None:
    async def work(net: mmn.aio.Network) -> None:
        vp = await net.vp("ams1")
        waiting = asyncio.ensure_future(vp.ping(SILENT, count=1, timeout=25))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # The loop goes on meanwhile.
        steps = 0

        async def step() -> None:
            nonlocal steps
            while True:
                steps += 1
                await asyncio.sleep(0)

        stepping = asyncio.ensure_future(step())
        await vp.ping(ANSWERS, count=1)
        stepping.cancel()
        assert steps > 10

    run(up, work)


def test_the_synchronous_api_works_inside_of_a_running_loop(up: Up) -> None:
    async def notebook() -> None:
        with mmn.connect(data=up.data) as net:
            assert net.vp("ams1").ping(ANSWERS, count=1).ok
            assert len(net.ping([ANSWERS] * 3, vps="ams1", count=1).results()) == 3

    asyncio.run(notebook())
