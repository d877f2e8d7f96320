"""A module at work: the threads and the event loop in which its functions run.

The native half does what a module owes. Here tasks are only taken, performed and given back. Begin with `main`.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from .. import _native
from . import Kind, test

_PATIENCE = 2.0
"""How long threads may take to end once the module has, in seconds."""
_HUNG = 70
"""The exit status of a module all of whose threads hang: its node starts it again."""


def main(kinds: list[Kind[Any, Any]]) -> NoReturn:
    if "MMN_MODULE" not in os.environ:
        sys.exit(_by_hand(kinds, sys.argv[0], sys.argv[1:]))
    if not kinds:
        sys.exit("mmn.module.run: there is no kind; @mmn.module.kind makes a function one")
    # A crash of the interpreter leaves a traceback in the log, too.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # The native half hears the signals; asyncio is not to take them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        served = _native.Served([kind._described(index) for index, kind in enumerate(kinds)])
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"mmn.module.run: {error}")
    _let_go_of_standard_input()
    threads = _Threads(served, kinds)
    status = 0
    try:
        if any(not kind.is_async for kind in kinds):
            threads.start()
        if any(kind.is_async for kind in kinds):
            asyncio.run(_Loop(served, kinds).run())
        while not served.wait(_PATIENCE):
            pass
    except RuntimeError as error:
        print(f"mmn.module.run: {error}", file=sys.stderr)
        status = 1
    _leave(status, orderly=threads.ended(_PATIENCE))


def _let_go_of_standard_input() -> None:
    """The native half has the node's socket, and programs that functions start must not read it."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _leave(status: int, *, orderly: bool) -> NoReturn:
    if orderly:
        sys.exit(status)
    # A thread that does not end would be waited for.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Threads:
    """Threads for functions that are not async: as many as are wanted."""

    def __init__(self, served: _native.Served, kinds: list[Kind[Any, Any]]) -> None:
        self._served = served
        self._perform = [kind._perform for kind in kinds]
        self._all: list[threading.Thread] = []

    def start(self) -> None:
        self._served.joins()
        self._begin(1)
        threading.Thread(target=self._tend, name="mmn-threads", daemon=True).start()

    def ended(self, seconds: float) -> bool:
        for thread in self._all:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in self._all)

    def _begin(self, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=self._work, name=f"mmn-task-{len(self._all)}", daemon=True)
            self._all.append(thread)
            thread.start()

    def _tend(self) -> None:
        while more := self._served.wanted():
            if isinstance(more, str):
                print(f"mmn.module.run: {more}", file=sys.stderr)
                _leave(_HUNG, orderly=False)
            self._begin(more)

    def _work(self) -> None:
        take, perform, task = self._served.take, self._perform, None
        while (task := take(task)) is not None:
            perform[task._kind](task)


class _Loop:
    """The event loop for functions that are async."""

    def __init__(self, served: _native.Served, kinds: list[Kind[Any, Any]]) -> None:
        self._served = served
        self._perform = [kind._perform_async for kind in kinds]
        self._running: dict[int, asyncio.Task[None]] = {}
        self._closed = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        door = self._served.door
        loop.add_reader(door, self._answer)
        await self._closed.wait()
        loop.remove_reader(door)

    def _answer(self) -> None:
        begun, called_off, closed = self._served.answer()
        for task in begun:
            self._begin(task)
        for one in called_off:
            running = self._running.get(one)
            if running is not None:
                running.cancel()
        if closed:
            self._closed.set()

    def _begin(self, task: _native.Task) -> None:
        # The task's number is its own as long as it is held here.
        running = asyncio.get_running_loop().create_task(self._perform[task._kind](task))
        self._running[task._id] = running
        running.add_done_callback(lambda _: self._running.pop(task._id, None))


def _by_hand(kinds: list[Kind[Any, Any]], program: str, arguments: list[str]) -> int | str:
    """Without a node: says what there is, or performs one task of it."""
    name = os.path.basename(program)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"A module of mmn. Plug it in:\n  mmn module add {program}\n")
        print(f"Perform one task here, without a network:\n  {name} KIND [INPUT] [NAME=VALUE…]\n")
        for kind in kinds:
            print(f"{kind.name} {kind.version} (input: {kind._spec['input']}): {kind.description}")
            for param, schema in kind.params["properties"].items():
                default = f" [default: {json.dumps(schema['default'])}]" if "default" in schema else ""
                print(f"  {param}={schema.get('type', '…')}  {schema.get('description', '')}{default}")
        return 0
    chosen = next((kind for kind in kinds if kind.name == arguments[0]), None)
    if chosen is None:
        return f"{name}: {arguments[0]!r} is none of its kinds ({', '.join(kind.name for kind in kinds)})"
    given = dict(word.split("=", 1) for word in arguments[1:] if "=" in word)
    inputs = [word for word in arguments[1:] if "=" not in word]
    shape = chosen._spec["input"]
    what: Any = None if shape == "nothing" else inputs if shape == "targets" else "".join(inputs[:1])
    try:
        params = {key: _read(chosen.params["properties"].get(key, {}), text) for key, text in given.items()}
        outcome = test(chosen, what, **params)
    except ValueError as error:
        return f"{name}: {error}"
    if outcome.outcome != "ok":
        return f"{name}: {outcome.outcome}: {outcome.code}: {outcome.detail}"
    print(json.dumps(outcome.result, indent=2, ensure_ascii=False))
    return 0


def _read(schema: dict[str, Any], text: str) -> Any:
    """A parameter's text: as it is where it is one, else JSON."""
    kinds = schema.get("type", "")
    if "string" in kinds:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
