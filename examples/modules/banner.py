"""What a TCP service says first: SSH, SMTP, FTP and others greet whoever connects."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated

import mmn.module
from mmn.module import AsyncTask, Cost, Field


@dataclass
class Banner:
    """What came before anything was sent."""

    address: Annotated[str, "the address that was connected to"]
    text: Annotated[str, "the first line; octets that are no UTF-8 are replaced"]
    connect_ns: Annotated[int, Field("until the connection stood", min=0, unit="ns")]
    banner_ns: Annotated[int | None, Field("from then until the first line was there", min=0, unit="ns")] = None


@mmn.module.kind("banner", input="target", concurrency=200, cost=Cost(packets=8, bytes=1_000, seconds=5.0))
async def banner(
    task: AsyncTask,
    port: Annotated[int, Field("the TCP port", min=1, max=65535)] = 22,
    wait: Annotated[float, Field("how long to wait for the banner, in seconds", min=0.01, max=60)] = 5.0,
) -> Banner:
    """connects to a TCP port and reads the first line"""
    address = (await task.resolve(task.target))[0]
    begun = time.monotonic_ns()
    reader, writer = await task.connect(str(address), port)
    task.answered = True
    found = Banner(str(address), "", connect_ns=time.monotonic_ns() - begun)
    try:
        line = await asyncio.wait_for(reader.readline(), min(wait, task.remaining))
        found.text = line.decode(errors="replace").rstrip("\r\n")
        found.banner_ns = time.monotonic_ns() - begun - found.connect_ns
    except asyncio.TimeoutError:
        pass  # Who says nothing is measured, too.
    finally:
        writer.close()
    return found


@banner.self_test
async def test() -> None:
    """A listener of this host's own greets, and is understood."""
    server = await asyncio.start_server(lambda _, writer: writer.write(b"hello\r\n"), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.readline() == b"hello\r\n"
        writer.close()


if __name__ == "__main__":
    mmn.module.run()
