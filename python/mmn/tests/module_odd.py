"""Kinds that do whatever a kind may do wrong, and some that do it right: the tests plug them in."""

import asyncio
import ctypes
import ipaddress
import os
import pathlib
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import mmn.module
from mmn.module import AsyncTask, Cost, Failed, Field, Task


@dataclass
class Sum:
    total: Annotated[int, Field("of both", unit="1")]
    pid: int
    half: float | None = None


@mmn.module.kind("odd-sum", cost=Cost(packets=0, bytes=0, seconds=0.001))
def sum_of(task: Task, left: Annotated[int, Field("the one", min=0, max=9)], right: int = 1) -> Sum:
    """adds two numbers"""
    return Sum(left + right, os.getpid())


@mmn.module.kind("odd-name", input="target", concurrency=500)
async def name(task: AsyncTask, how: Literal["upper", "lower"] = "upper", nap: float = 0.0) -> dict[str, str]:
    """gives its target back"""
    await asyncio.sleep(nap)
    task.answered = True
    return {"name": task.target.upper() if how == "upper" else task.target.lower()}


@mmn.module.kind("odd-nap", concurrency=4)
def nap(task: Task, seconds: float = 60.0, marker: str = "") -> None:
    """sleeps, and marks that it was called off"""
    try:
        task.sleep(seconds)
    except mmn.module.TaskOver:
        pathlib.Path(marker).write_text("called off")
        raise


@mmn.module.kind("odd-doze", concurrency=4)
async def doze(task: AsyncTask, seconds: float = 60.0, marker: str = "") -> None:
    """the same, without a thread"""
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        pathlib.Path(marker).write_text("called off")
        raise


@mmn.module.kind("odd-ask", input="target")
def ask(task: Task) -> list[str]:
    """asks the site where packets may go"""
    task.check("192.0.2.1") if task.target == "test-net" else None
    return [str(address) for address in task.resolve(task.target)]


@mmn.module.kind("odd-wrong")
def wrong(task: Task, how: str) -> Sum:
    """does it wrong"""
    garbage: Any = {
        "text": lambda: "nonsense",
        "field": lambda: Sum("three", 1),  # type: ignore[arg-type]
        "object": lambda: Sum(1, 1, half=object()),  # type: ignore[arg-type]
        "raise": lambda: 1 // 0,
        "crash": lambda: ctypes.string_at(0),
        "exit": lambda: os._exit(3),
        "leave": lambda: sys.exit("gone"),
        "huge": lambda: "x" * 2_000_000,
    }
    if how == "fail":
        raise Failed("no-luck", "this time")
    if how == "refused":
        ipaddress.ip_address("127.0.0.1")
        raise ConnectionRefusedError("nobody listens")
    if how == "flood":
        for _ in range(5_000):
            print("x" * 1_000)
        return Sum(0, os.getpid())
    if how == "hold":
        # The interpreter is held: nobody else of this process is let in.
        ctypes.PyDLL(None).sleep(3)
        return Sum(0, os.getpid())
    if how == "linger":
        time.sleep(0.2)
        return Sum(0, os.getpid())
    return garbage[how]()  # type: ignore[no-any-return]


if __name__ == "__main__":
    mmn.module.run()
