"""What a decorated function says of itself, and how it is tried without a network."""

# pyright: reportPrivateUsage=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
import asyncio
import datetime
import enum
import ipaddress
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pytest

import mmn.module
from mmn.module import AsyncTask, Cost, Failed, Field, Refused, Task

from .module_place import ROOT


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Window:
    """How many, and how long."""

    size: Annotated[int, Field("how many", min=1)] = 4
    lasts: datetime.timedelta = datetime.timedelta(milliseconds=1500)


@dataclass
class Seen:
    """What was seen."""

    text: str
    rtt_ns: Annotated[int | None, Field("the round trip", unit="ns")] = None
    at: datetime.datetime | None = None
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = field(default_factory=list)
    raw: bytes = b""


@mmn.module.kind("everything", input="target", cost=Cost(1, 64, 0.5))
def everything(
    task: Task,
    /,
    count: Annotated[int, Field("how often", min=1, max=10)],
    text: Annotated[str, "what to say"] = "hello",
    ratio: float = 0.5,
    colour: Colour = Colour.RED,
    mode: Literal["fast", "slow"] = "fast",
    window: Window = Window(),
    hosts: tuple[ipaddress.IPv4Address, ...] = (),
    extra: dict[str, int] | None = None,
    *,
    flag: bool = False,
) -> Seen:
    """Looks at everything.

    More is told here, and nobody needs it.
    """
    assert isinstance(colour, Colour) and isinstance(window.lasts, datetime.timedelta) and isinstance(ratio, float)
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc)
    return Seen(f"{text} {task.target} {count} {ratio} {colour.name} {window}", 7, at, list(hosts), b"\x00\xff")


def test_the_schema_says_what_the_signature_says() -> None:
    params = everything.params
    properties = params["properties"]
    assert params["required"] == ["count"] and params["additionalProperties"] is False
    assert properties["count"] == {"type": "integer", "description": "how often", "minimum": 1, "maximum": 10}
    assert properties["text"] == {"type": "string", "description": "what to say", "default": "hello"}
    assert properties["colour"] == {"type": "string", "enum": ["red", "blue"], "default": "red"}
    assert properties["mode"]["enum"] == ["fast", "slow"]
    assert properties["window"]["default"] == {"size": 4, "lasts": "1500ms"}
    assert properties["window"]["description"] == "How many, and how long."
    assert properties["hosts"]["items"] == {"type": "string", "format": "ipv4"}
    assert properties["extra"]["type"] == ["object", "null"] and properties["extra"]["default"] is None
    assert everything.description == "Looks at everything."
    assert everything.result["required"] == ["text"]


def test_a_task_is_performed_alone() -> None:
    outcome = mmn.module.test(everything, "there", count=2, colour=Colour.BLUE, hosts=["192.0.2.1"])
    assert outcome.outcome == "ok"
    assert outcome.result["text"].startswith("hello there 2 0.5 BLUE Window(size=4, lasts=datetime.timedelta(seconds=1,")
    assert outcome.result["at"] == "2026-01-02T03:04:05.678901000Z"
    assert outcome.result["addresses"] == ["192.0.2.1"] and outcome.result["raw"] == "AP8"
    assert outcome.summary == {"rtt_ns": 7}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "count"),
        ({"count": 11}, "count: 11 is greater"),
        ({"count": 1, "colour": "green"}, "colour"),
        ({"count": 1, "window": {"size": 0}}, "window.size"),
        ({"count": 1, "cuont": 1}, "cuont"),
    ],
)
def test_what_does_not_fit_is_named(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mmn.module.test(everything, "there", **params)


def test_what_the_schema_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(mmn.module.Refused, match="window"):
        raise_outcome(mmn.module.test(everything, "there", count=1, window={"lasts": "long"}))
    with pytest.raises(ValueError, match="one target"):
        mmn.module.test(everything, count=1)


def raise_outcome(outcome: mmn.module.Outcome) -> None:
    assert outcome.code is not None
    raise (Refused if outcome.outcome == "refused" else Failed)(outcome.code, outcome.detail or "")


def test_what_a_function_raises_is_a_reason_or_a_mistake() -> None:
    @mmn.module.kind("raises")
    def raises(task: Task, how: str) -> None:
        """raises"""
        if how == "mistake":
            raise KeyError("nothing")
        raise {"failed": Failed("no-luck", "now"), "refused": Refused("policy"), "system": ConnectionResetError("gone")}[how]

    outcome = mmn.module.test(raises, how="failed")
    assert (outcome.outcome, outcome.code, outcome.detail) == ("failed", "no-luck", "now")
    assert mmn.module.test(raises, how="refused").outcome == "refused"
    assert mmn.module.test(raises, how="system").code == "connection-reset"
    with pytest.raises(KeyError):
        mmn.module.test(raises, how="mistake")
    with pytest.raises(ValueError, match="code"):
        Failed("No Luck")


def test_a_result_that_does_not_fit_says_where() -> None:
    @mmn.module.kind("garbage")
    def garbage(task: Task, value: Any) -> Seen:
        """gives garbage"""
        return value  # type: ignore[no-any-return]

    for value, words in [
        ("text", "object"),
        ({"text": 1}, "text"),
        ({}, "text"),
        ({"text": "a", "rtt_ns": -0.5}, "rtt_ns"),
        ({"text": "a", "more": 1}, "more"),
    ]:
        with pytest.raises(ValueError, match=words):
            mmn.module.test(garbage, value=value)


@pytest.mark.parametrize("value", [float("nan"), 1 << 70, object(), {1: 2}, datetime.datetime(2026, 1, 1)])
def test_what_json_does_not_know_is_no_result(value: Any) -> None:
    @mmn.module.kind("unwritable")
    def unwritable(task: Task) -> Any:
        """gives what can't be written"""
        return [value]

    with pytest.raises(ValueError, match="/0: "):
        mmn.module.test(unwritable)


def test_a_task_may_be_called_off() -> None:
    @mmn.module.kind("sleeps")
    def sleeps(task: Task) -> None:
        """sleeps"""
        task.sleep(60)

    @mmn.module.kind("dozes")
    async def dozes(task: AsyncTask) -> None:
        """sleeps"""
        await asyncio.sleep(60)

    for kind in (sleeps, dozes):
        begun = time.monotonic()
        assert mmn.module.test(kind, cancel_after=0.05).outcome == "cancelled"
        assert mmn.module.test(kind, timeout=0.05).outcome == "cancelled"
        assert time.monotonic() - begun < 30


def test_each_task_has_its_own_of_what_may_change() -> None:
    @mmn.module.kind("appends")
    def appends(task: Task, items: list[int]) -> int:
        """appends to its parameter"""
        items.append(1)
        return len(items)

    assert not appends._shared and everything._shared is False
    assert mmn.module.test(appends, items=[1, 2]).result == 3


class Row(TypedDict):
    a: int


def unfit(kind: Callable[..., Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        mmn.module.kind("unfit")(kind)


def test_what_can_be_no_kind_is_told_where_it_stands() -> None:
    def no_task() -> int:
        """a"""
        return 1

    def untyped(task: Task, count) -> int:  # type: ignore[no-untyped-def]
        """a"""
        return 1

    def unsaid(task: Task):  # type: ignore[no-untyped-def]
        """a"""

    def strange(task: Task, what: complex) -> int:
        """a"""
        return 1

    def undocumented(task: Task) -> int:
        return 1

    def many(task: Task, *more: int) -> int:
        """a"""
        return 1

    for function in (no_task, untyped, unsaid, strange, undocumented, many):
        unfit(function)
    for name, version in [("Bad Name", "1.0"), ("good", "1")]:
        with pytest.raises(ValueError, match="the kind"):

            @mmn.module.kind(name, version=version)
            def fine(task: Task) -> Row:
                """a"""
                return {"a": 1}


def test_a_kind_is_called_like_its_function() -> None:
    task: Any = None

    @mmn.module.kind("plain")
    def plain(task: Task, a: int, b: int = 2) -> int:
        """adds"""
        return a + b

    assert plain(task, 1) == 3 and plain.__doc__ == "adds"


def test_examples_are_tried_by_hand() -> None:
    for name in ("ntp", "banner"):
        file = str(ROOT / "examples" / "modules" / f"{name}.py")
        told = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True).stdout
        assert f"mmn module add {file}" in told and f"{name} 1.0" in told
        wrong = subprocess.run([sys.executable, file, name, "127.0.0.1", "port=0"], capture_output=True, text=True)
        assert wrong.returncode == 1 and "port: 0 is less than" in wrong.stderr


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(everything._spec)) is not None
