"""Modules in Python at work in a network: whatever their functions do, nothing else comes to harm."""

import os
import pathlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import mmn

from .module_place import HERE, Place, place, soon

MODULE = "module_odd"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("up")) as up:
        up.add(HERE / "module_odd.py", "odd-sum", "odd-name", "odd-nap", "odd-doze", "odd-ask", "odd-wrong")
        yield up


def pid(up: Place) -> int:
    return int(up.ask("odd-sum", left=1).body["pid"])


def test_a_kind_is_measured_by_all_who_ask(up: Place) -> None:
    result = up.ask("odd-sum", left=3)
    assert result.ok and result.body["total"] == 4 and result.summary == {"total": 4}
    assert "half" not in result.body and result.answered is None
    printed = up.mmn("run", "odd-sum", "--set", "left=3", "--set", "right=5", "--json").stdout
    assert '"total":8' in printed.replace(" ", "")
    info = up.net.kinds()["odd-sum"]
    assert info["version"] == "1.0" and info["description"] == "adds two numbers"
    assert info["params"]["properties"]["left"]["description"] == "the one"


def test_an_async_kind_performs_many_at_a_time(up: Place) -> None:
    names = [f"host{number}.example" for number in range(300)]
    results = up.net.measure("odd-name", names, vps="all", how="upper", nap=0.05).results(timeout=40)
    assert {result.body["name"] for result in results} == {name.upper() for name in names}
    assert all(result.answered for result in results)


def test_wrong_parameters_are_refused_by_name(up: Place) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"left": 10}, "left"),
        ({"left": 1, "middle": 2}, "middle"),
        ({}, "left"),
        ({"left": "a"}, "left"),
    ]
    for params, name in wrong:
        with pytest.raises(mmn.ApiError, match=name):
            up.net.measure("odd-sum", vps="all", **params)


@pytest.mark.parametrize("kind", ["odd-nap", "odd-doze"])
def test_cancellation_reaches_the_function(up: Place, kind: str, tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "marker"
    measurement = up.net.measure(kind, vps="all", deadline="60s", marker=str(marker))
    soon(lambda: up.running(MODULE) == 1, "it is performed")
    measurement.cancel()
    [result] = measurement.results(timeout=30)
    assert result.outcome == "cancelled"
    soon(lambda: marker.exists() and marker.read_text() == "called off", "the function heard of it")


def test_a_deadline_reaches_the_function(up: Place, tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "marker"
    [result] = up.net.measure("odd-nap", vps="all", deadline="1s", marker=str(marker)).results(timeout=30)
    assert result.outcome == "lost" and result.reason.code == "deadline"
    soon(marker.exists, "the function heard of it")


def test_the_site_decides_where_packets_may_go(up: Place) -> None:
    assert up.ask("odd-ask", "localhost").ok
    refused = up.ask("odd-ask", "10.1.2.3")
    assert (refused.outcome, refused.reason.code) == ("refused", "policy")
    refused = up.ask("odd-ask", "test-net")
    assert (refused.outcome, refused.reason.code) == ("refused", "policy")
    unknown = up.ask("odd-ask", "no-such-name.invalid")
    assert unknown.outcome == "failed"
    # The node's own policy is heard, and its changes.
    policy = up.data / "node" / "policy.toml"
    before = policy.read_text() if policy.exists() else ""
    policy.write_text('allow = ["10.0.0.0/8"]\nallow_loopback = true\n')
    soon(lambda: up.ask("odd-ask", "10.1.2.3").ok, "the new policy holds")
    policy.write_text(before)
    soon(lambda: not up.ask("odd-ask", "10.1.2.3").ok, "the former policy holds")


@pytest.mark.parametrize(
    ("how", "code", "detail"),
    [
        ("text", "internal", "does not fit"),
        ("field", "internal", "total"),
        ("object", "internal", "/half: a object can't be written"),
        ("huge", "internal", "does not fit"),
        ("raise", "internal", "ZeroDivisionError"),
        ("leave", "internal", "SystemExit"),
        ("fail", "no-luck", "this time"),
        ("refused", "connection-refused", "nobody listens"),
    ],
)
def test_what_goes_wrong_in_a_function_is_told(up: Place, how: str, code: str, detail: str) -> None:
    result = up.ask("odd-wrong", how=how)
    assert result.outcome == "failed"
    assert result.reason.code == code and detail in (result.reason.detail or "")


def test_the_traceback_is_in_the_log(up: Place) -> None:
    assert not up.ask("odd-wrong", how="raise").ok
    soon(lambda: "ZeroDivisionError" in up.log(MODULE) and "module_odd.py" in up.log(MODULE), "a traceback")


@pytest.mark.parametrize("how", ["crash", "exit"])
def test_a_process_that_dies_is_started_again(up: Place, how: str) -> None:
    before = pid(up)
    # The other module of this vantage point goes on meanwhile; the task is tried again, and kills again.
    [result] = up.net.measure("odd-wrong", vps="all", deadline="5s", how=how).results(timeout=30)
    assert result.outcome == "lost"
    assert up.net.vps()[0].ping("127.0.0.1", count=1).ok
    up.mmn("module", "restart", MODULE)
    soon(lambda: up.ask("odd-sum", left=1).ok and pid(up) != before, "another process")
    if how == "crash":
        assert "Segmentation fault" in up.log(MODULE)


def test_one_that_is_killed_loses_no_task(up: Place) -> None:
    before = pid(up)
    measurement = up.net.measure("odd-name", [f"n{n}" for n in range(200)], vps="all", deadline="60s", nap=0.5)
    soon(lambda: up.running(MODULE) > 100, "tasks are performed")
    os.kill(before, signal.SIGKILL)
    results = measurement.results(timeout=60)
    assert len(results) == 200 and all(result.ok for result in results)
    assert pid(up) != before


def test_one_that_is_stopped_goes_on_afterwards(up: Place) -> None:
    stopped = pid(up)
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert up.net.vps()[0].ping("127.0.0.1", count=1).ok
        soon(lambda: {"suspect", "lost"} & health(up), "it is missed")
    finally:
        os.kill(stopped, signal.SIGCONT)
    soon(lambda: health(up) == {"healthy"}, "it is well again")
    assert pid(up) == stopped


def health(up: Place) -> set[str]:
    return {one["health"] for one in up.instances(MODULE)}


def test_a_function_that_holds_the_interpreter_delays_no_heartbeat(up: Place) -> None:
    measurement = up.net.measure("odd-wrong", vps="all", deadline="20s", how="hold")
    seen: set[str] = set()
    while up.net.measurement(measurement.id).ledger.pending:
        seen |= health(up)
    assert seen == {"healthy"}
    [result] = measurement.results(timeout=30)
    assert result.ok


def test_a_flood_of_words_is_held_up_and_shown(up: Place) -> None:
    result = up.ask("odd-wrong", how="flood")
    assert result.ok
    assert "flood" in (up.status(MODULE).get("detail") or "")
    assert up.ask("odd-sum", left=1).ok


def test_what_tasks_would_cost_is_said_or_not_known(up: Place) -> None:
    assert up.net.plan("odd-sum", vps="all", left=1)["packets"] == 0
    assert "packets" not in up.net.plan("odd-nap", vps="all")


def test_a_drain_lets_tasks_end(up: Place) -> None:
    measurement = up.net.measure("odd-name", ["a"], vps="all", deadline="30s", nap=1.0)
    soon(lambda: up.running(MODULE) == 1, "a task is performed")
    up.mmn("module", "drain", MODULE)
    [result] = measurement.results(timeout=30)
    assert result.ok
    soon(lambda: up.status(MODULE)["state"] == "stopped", "it has left")
    up.mmn("module", "restart", MODULE)
    up.offered("odd-sum")
    assert up.ask("odd-sum", left=1).ok


def test_a_second_version_works_beside_the_first(up: Place, tmp_path: pathlib.Path) -> None:
    former = (HERE / "module_odd.py").read_text()
    later = former.replace('kind("odd-sum",', 'kind("odd-sum", version="1.1",').replace("right: int = 1", "right: int = 2")
    file = tmp_path / "odd_later.py"
    file.write_text(later)
    up.add(file)
    soon(lambda: up.net.kinds()["odd-sum"]["version"] == "1.1", "the later version is known")
    totals = {up.ask("odd-sum", left=1).body["total"] for _ in range(20)}
    assert totals <= {2, 3}
    up.mmn("module", "remove", MODULE)
    assert soon(lambda: up.ask("odd-sum", left=1).body["total"] == 3, "the later one is left")
    up.mmn("module", "remove", "odd_later")
    up.add(HERE / "module_odd.py", "odd-sum")
