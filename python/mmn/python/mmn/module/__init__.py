"""Modules in Python: a decorated function is a kind of measurement.

    import mmn.module

    @mmn.module.kind("echo")
    def echo(task: mmn.module.Task, text: str = "") -> dict[str, str]:
        "gives back the text that it was given"
        return {"text": text}

    if __name__ == "__main__":
        mmn.module.run()

``mmn module add echo.py`` plugs it in while others run. What a module owes its network (announcements, heartbeats, credits,
receipts, results that are kept until somebody has them, cancellation, draining) is done by the native half on a thread of
its own, whatever the function does. The function runs in a thread, or, when it is ``async``, in one event loop.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import dataclasses
import inspect
import ipaddress
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Final, Generic, Literal, NoReturn, ParamSpec, TypeVar

from .. import _native
from ._schema import Field, of_parameters, of_result, plain

__all__ = [
    "AsyncTask",
    "Cost",
    "Failed",
    "Field",
    "Kind",
    "Outcome",
    "Refused",
    "Task",
    "TaskOver",
    "kind",
    "run",
    "test",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Family = Literal["any", "ipv4", "ipv6"]
InputShape = Literal["nothing", "target", "targets", "peer"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", "Task", "AsyncTask")

CONCURRENCY: Final = 64
"""Tasks of a kind at a time, unless it says otherwise."""


class Failed(Exception):
    """The task could not be performed: raise it with a reason's code, and what happened in this case.

    Codes that every part of mmn knows are ``connection-refused``, ``timeout``, ``unreachable``, ``protocol``, and others of
    the module protocol; a kind may have codes of its own, in lower case with dashes.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code):
            raise ValueError(f"{code!r} is no code of a reason: lower case, with dashes")
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Refused(Failed):
    """The task may not be performed: by policy, limits or parameters."""


class TaskOver(Exception):
    """The task was called off, or its time is over. Let it pass: nobody waits for what comes after."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """The most that one task costs, whatever its parameters."""

    packets: int
    bytes: int
    """IP headers included."""
    seconds: float


class _Base:
    __slots__ = ("_task",)

    def __init__(self, task: _native.Task) -> None:
        self._task = task

    @property
    def input(self) -> None | str | list[str]:
        """What the task is about, as the kind's `input` says: nothing, a target, targets, or the id of a vantage point."""
        return self._task.input

    @property
    def target(self) -> str:
        """The target, of a kind whose input is one."""
        return self._task.target

    @property
    def remaining(self) -> float:
        """What is left of its time, in seconds."""
        return self._task.remaining

    @property
    def answered(self) -> bool | None:
        """Whether the network answered: set it, where the kind has such a notion."""
        return self._task.answered

    @answered.setter
    def answered(self, answered: bool | None) -> None:
        self._task.answered = answered

    def __repr__(self) -> str:
        return repr(self._task)


class Task(_Base):
    """What a function is given: its input, its time, and the site's word on where packets may go."""

    __slots__ = ()

    @property
    def cancelled(self) -> bool:
        """Whether it was called off, or its time is over. Look at it between steps that take long."""
        return self._task.cancelled

    def sleep(self, seconds: float) -> None:
        """Sleeps; raises `TaskOver` as soon as the task is over."""
        if self._task._wait(seconds):
            raise TaskOver

    def resolve(self, host: str, family: Family = "any") -> list[Address]:
        """The addresses of a name (or the address that `host` is), those that the site's policy refuses left out.

        Raises `Failed` where there is none, and `Refused` where the policy leaves none.
        """
        return [ipaddress.ip_address(text) for text in _told(self._task._resolve(host, family))]

    def check(self, address: Address | str) -> None:
        """Raises `Refused` where the site's policy does not allow packets to an address."""
        _told(self._task._check(str(address)))

    def pace(self, address: Address | str, packets: int = 1, bytes: int = 0) -> None:
        """Waits until the site's limits let so many packets, of so many bytes in all, go to an address that it allows."""
        _told(self._task._pace(str(address), packets, bytes))

    def connect(self, host: str, port: int, family: Family = "any") -> socket.socket:
        """A TCP connection within the site's policy and limits. What is left of the task's time is its timeout."""
        address = self.resolve(host, family)[0]
        self.pace(address, packets=_PACKETS_OF_CONNECT, bytes=_BYTES_OF_CONNECT)
        return socket.create_connection((str(address), port), timeout=max(self.remaining, 0.001))


class AsyncTask(_Base):
    """What an ``async`` function is given. When the task is over, the function is cancelled (`asyncio.CancelledError`)."""

    __slots__ = ()

    async def resolve(self, host: str, family: Family = "any") -> list[Address]:
        """As `Task.resolve`."""
        told = await asyncio.to_thread(self._task._resolve, host, family)
        return [ipaddress.ip_address(text) for text in _told(told)]

    async def check(self, address: Address | str) -> None:
        """As `Task.check`."""
        _told(await asyncio.to_thread(self._task._check, str(address)))

    async def pace(self, address: Address | str, packets: int = 1, bytes: int = 0) -> None:
        """As `Task.pace`."""
        _told(await asyncio.to_thread(self._task._pace, str(address), packets, bytes))

    async def connect(
        self, host: str, port: int, family: Family = "any"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection within the site's policy and limits."""
        address = (await self.resolve(host, family))[0]
        await self.pace(address, packets=_PACKETS_OF_CONNECT, bytes=_BYTES_OF_CONNECT)
        return await asyncio.open_connection(str(address), port)


_PACKETS_OF_CONNECT: Final = 3
_BYTES_OF_CONNECT: Final = 180


class Kind(Generic[P, R]):
    """A kind of measurement: the function, and what it says of itself. It is called like the function."""

    def __init__(self, function: Callable[Concatenate[Any, P], R], spec: dict[str, Any]) -> None:
        self.function = function
        self.is_async: Final = inspect.iscoroutinefunction(function)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", spec["name"])
        self._test: Callable[[], Any] | None = None
        self._told = _Told(spec["name"])
        params, self._shapes = of_parameters(function)
        result, summary = of_result(function)
        self._spec: dict[str, Any] = spec | {"params": params, "result": result, "summary": summary, "asynchronous": self.is_async}
        self._shared = all(shape.shared for shape in self._shapes.values())
        # What is wrong is told where it stands.
        self._described(0)

    def __call__(self, task: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(task, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<kind {self.name} {self.version}: {self.description}>"

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._spec["name"])

    @property
    def version(self) -> str:
        """The version of its parameters and results."""
        return str(self._spec["version"])

    @property
    def description(self) -> str:
        """What it measures, in a sentence."""
        return str(self._spec["description"])

    @property
    def params(self) -> dict[str, Any]:
        """The JSON Schema of its parameters."""
        return dict(self._spec["params"])

    @property
    def result(self) -> dict[str, Any]:
        """The JSON Schema of its results."""
        return dict(self._spec["result"])

    def self_test(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """A decorator of what shows, within two seconds, that the kind can be performed: a function that raises when not.

        It is called before the kind is given work, sends nothing off the host, and is called again, with growing pauses,
        as long as it raises; until then the kind is announced as unavailable.
        """
        if inspect.iscoroutinefunction(function) and not self.is_async:
            raise TypeError(f"{self.name}: the self-test of a function that is not async is not async either")
        self._test = function
        return function

    def _described(self, index: int) -> _native.ModuleKind:
        try:
            return _native.ModuleKind(json.dumps(self._spec | {"self_test": self._test is not None}), index)
        except ValueError as error:
            raise ValueError(f"the kind {self.name}: {error}") from None

    def _arguments(self, task: _native.Task) -> dict[str, Any]:
        arguments: dict[str, Any] | None = task._arguments()
        if arguments is None:
            params: dict[str, Any] = task._params()
            try:
                arguments = {name: self._shapes[name].made(value) for name, value in params.items()}
            except (ValueError, TypeError, OverflowError) as error:
                names = ", ".join(sorted(params))
                raise Refused("parameters", f"{names}: {error}") from error
            if self._shared:
                task._keep_arguments(arguments)
        return arguments

    def _perform(self, task: _native.Task) -> None:
        """Performs a task in this thread, to its end."""
        try:
            if task._self_test:
                result = self._test() if self._test else None
            else:
                function: Callable[..., Any] = self.function
                result = function(Task(task), **self._arguments(task))
        except BaseException as error:
            self._failed(task, error)
        else:
            self._ended(task, result)

    async def _perform_async(self, task: _native.Task) -> None:
        try:
            result: Any
            if task._self_test:
                result = self._test() if self._test else None
                if inspect.isawaitable(result):
                    await result
            else:
                function: Callable[..., Any] = self.function
                result = await function(AsyncTask(task), **self._arguments(task))
        except asyncio.CancelledError:
            task._fail(False, "internal", "the function was cancelled by itself")
        except BaseException as error:
            self._failed(task, error)
        else:
            self._ended(task, result)

    def _ended(self, task: _native.Task, result: Any) -> None:
        wrong = task._end(result)
        if wrong is not None:
            self._told.line(wrong)

    def _failed(self, task: _native.Task, error: BaseException) -> None:
        if isinstance(error, TaskOver):
            # Whoever called it off, or the deadline, ends it.
            return
        refused, code, detail, expected = _reason(error)
        task._fail(refused, code, detail)
        if not expected and not task.cancelled:
            self._told.traceback(error)


def kind(
    name: str,
    *,
    version: str = "1.0",
    description: str | None = None,
    input: InputShape = "nothing",
    concurrency: int = CONCURRENCY,
    cost: Cost | None = None,
) -> Callable[[Callable[Concatenate[T, P], R]], Kind[P, R]]:
    """Makes a function a kind of measurement.

    The function's first parameter is the task; all others are the kind's parameters, and its result the kind's result: by
    their types, defaults and `Field`s, command lines, forms and checks are made. `description` is what it measures in a
    sentence, by default the first of the docstring. `input` says what one input is. At most `concurrency` tasks are
    performed at a time, each in a thread of its own while it waits. Without a `cost` nobody can ask what tasks would cost.
    """

    def decorate(function: Callable[Concatenate[T, P], R]) -> Kind[P, R]:
        told = description or " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        if not told:
            raise ValueError(f"the kind {name}: say in a sentence what it measures, as its docstring or `description`")
        spec = {
            "name": name,
            "version": version,
            "description": told,
            "input": input,
            "concurrency": concurrency,
            "cost": cost and (cost.packets, cost.bytes, round(cost.seconds * 1e9)),
        }
        made: Kind[P, R] = Kind(function, spec)
        _KINDS[name] = made
        return made

    return decorate


_KINDS: dict[str, Kind[Any, Any]] = {}


def run(*kinds: Kind[Any, Any]) -> NoReturn:
    """Runs a module of these kinds, by default of all that were made, until its node lets it go; then it exits.

    Started by hand instead of by a node it says how to plug it in, and performs a kind that the command line names.
    """
    from . import _serve

    _serve.main(list(kinds or _KINDS.values()))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a task in a test."""

    outcome: Literal["ok", "failed", "refused", "cancelled"]
    code: str | None
    """Of the reason why not, where it is not ok."""
    detail: str | None
    result: Any
    """The result as JSON has it."""
    summary: Mapping[str, float]
    """Its numbers."""
    answered: bool | None


def test(
    kind: Kind[..., Any],
    input: None | str | list[str] = None,
    *,
    timeout: float = 10.0,
    cancel_after: float | None = None,
    **params: Any,
) -> Outcome:
    """Performs one task of a kind without a network, in this thread, as a module would.

    Parameters and result are checked against the kind's schemas; all addresses are allowed. Raises `ValueError`, which names
    the parameter, for what a module would refuse; and whatever the function raises that is not a reason, since that is a
    mistake of the function.
    """
    task = _native.Task._alone(kind._described(0), json.dumps(plain(params)), json.dumps(input), timeout)
    arguments = kind._arguments(task)
    result: Any = None
    timer = None
    try:
        if kind.is_async:
            longest = timeout if cancel_after is None else min(timeout, cancel_after)
            result = asyncio.run(_in_time(kind.function(AsyncTask(task), **arguments), longest))
        else:
            if cancel_after is not None:
                timer = threading.Timer(cancel_after, task._call_off)
                timer.start()
            result = kind.function(Task(task), **arguments)
    except BaseException as error:
        refused, code, detail, expected = _reason(error)
        if isinstance(error, (TaskOver, _Overdue)):
            return Outcome("cancelled", code, detail, None, {}, None)
        if not expected:
            raise
        return Outcome("refused" if refused else "failed", code, detail, None, {}, task.answered)
    finally:
        if timer is not None:
            timer.cancel()
    wrong = task._end(result)
    if wrong is not None:
        raise ValueError(f"the kind {kind.name}: {wrong}")
    ended = task._ended()
    assert ended is not None
    return Outcome("ok", None, None, ended[3], ended[4], task.answered)


test.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test of whoever imports it.


class _Overdue(Exception):
    pass


async def _in_time(performed: Coroutine[Any, Any, R], longest: float) -> R:
    doing = asyncio.ensure_future(performed)
    done, _ = await asyncio.wait([doing], timeout=longest)
    if not done:
        doing.cancel()
        await asyncio.wait([doing])
        if doing.cancelled():
            raise _Overdue
    return doing.result()


def _told(answer: None | list[str] | tuple[bool, str, str | None]) -> list[str]:
    """What the site has answered."""
    if answer is None:
        raise TaskOver
    if isinstance(answer, tuple):
        refused, code, detail = answer
        raise (Refused if refused else Failed)(code, detail or "")
    return answer


def _reason(error: BaseException) -> tuple[bool, str, str | None, bool]:
    """The reason that an exception is: whether refused, code, detail, and whether that may happen to a sound function."""
    from . import _reasons

    return _reasons.of(error)


class _Told:
    """Tells what is wrong with a function, but of each kind of mistake not more than once a second."""

    def __init__(self, name: str) -> None:
        self._name = name
        # When each was told last, and how many were not since then.
        self._last: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        self._tell("", text, None)

    def traceback(self, error: BaseException) -> None:
        text = f"the function raised {type(error).__name__}"
        self._tell(text, text, error)

    def _tell(self, which: str, text: str, error: BaseException | None) -> None:
        import logging

        with self._lock:
            now = time.monotonic()
            last, kept = self._last.get(which, (float("-inf"), 0))
            if now - last < 1.0:
                self._last[which] = (last, kept + 1)
                return
            if len(self._last) > 100:
                self._last.clear()
            self._last[which] = (now, 0)
        others = f" ({kept} more were not told)" if kept else ""
        logging.getLogger("mmn.module").error("%s: %s%s", self._name, text, others, exc_info=error)
