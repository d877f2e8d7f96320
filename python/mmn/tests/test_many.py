"""Many tasks, and their results as they arrive."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

import mmn
from mmn.kinds import PingResult

from .conftest import ANSWERS, PATIENCE, SILENT, Up


def test_results_arrive_and_account_for_every_task(net: mmn.Network) -> None:
    targets = [ANSWERS, SILENT, "no-such-host"]
    measurement = net.ping(targets, vps="ams1, fra1, akl1", count=1, timeout="300ms", label="three")
    assert len(measurement) == 9 and bool(measurement)
    assert sorted(vp.name for vp in measurement.vps) == ["akl1", "ams1", "fra1"]
    outcomes: Counter[tuple[str | None, str]] = Counter()
    tasks = set()
    for result in measurement:
        assert isinstance(result, PingResult)
        outcomes[result.target, result.outcome] += 1
        tasks.add(result.task)
        assert result.vp in measurement.vps
        if not result.ok:
            with pytest.raises(mmn.MeasurementError):
                result.check()
            assert result.reason is not None and result.reason.code
            assert result.replies == [] and result.rtt_min_ns is None
    assert outcomes == {
        (ANSWERS, "ok"): 3,
        (SILENT, "ok"): 3,
        ("no-such-host", "failed"): 3,
    }
    assert len(tasks) == 9
    ledger = measurement.ledger
    assert (ledger.accepted, ledger.ok, ledger.failed, ledger.refused, ledger.pending) == (9, 6, 3, 0, 0)
    assert ledger.reasons["failed"] == {"unresolvable": 3}
    assert measurement.done and measurement.label == "three"
    # It can be read again, by anybody who knows its id.
    again = net.measurement(measurement.id)
    assert len(again.results()) == 9


def test_a_loop_goes_on_where_it_was_left(net: mmn.Network) -> None:
    measurement = net.ping([ANSWERS] * 10, vps="fra1", count=1)
    first = list(itertools.islice(measurement, 3))
    assert len(first) == 3 and len(measurement.results()) == 7


def test_a_timeout_loses_nothing(net: mmn.Network, vp: mmn.VantagePoint) -> None:
    measurement = net.ping([ANSWERS, SILENT], vps=vp, count=1, timeout=4)
    with pytest.raises(mmn.WaitTimeout) as late:
        measurement.results(timeout=1.5)
    assert late.value.results is not None and [r.target for r in late.value.results] == [ANSWERS]
    assert "1 tasks are pending" in str(late.value)
    assert isinstance(late.value, TimeoutError)
    assert [r.target for r in measurement.results()] == [SILENT]


def test_cancellation_ends_every_task(net: mmn.Network, vp: mmn.VantagePoint) -> None:
    measurement = net.ping([SILENT] * 5, vps=vp, count=1, timeout=20)
    measurement.cancel()
    results = measurement.results(timeout=PATIENCE)
    assert [r.outcome for r in results] == ["cancelled"] * 5
    assert {r.reason.code for r in results if r.reason} == {"by-client"}
    with pytest.raises(mmn.MeasurementCancelled):
        results[0].check()

    with net.ping([SILENT] * 5, vps=vp, count=1, timeout=20) as left:
        pass
    assert net.measurement(left.id).results(timeout=PATIENCE)[0].outcome == "cancelled"


def test_more_targets_than_a_request_holds(net: mmn.Network) -> None:
    measurement = net.ping([ANSWERS] * 12_000, vps="ams1", port=70)
    assert len(measurement) == 12_000
    assert Counter(r.outcome for r in measurement) == {"refused": 12_000}


def test_an_open_measurement_takes_targets_as_they_come(net: mmn.Network) -> None:
    def targets() -> Iterator[str]:
        for _ in range(3000):
            yield ANSWERS

    with net.open("ping", vps="ams1, fra1", port=70) as feed:
        results = list(feed.run(targets(), window=500))
    assert len(results) == 6000 == len(feed) and feed.given == 3000
    assert feed.ledger.refused == 6000

    with net.open("ping", vps="ams1", count=1) as feed:
        feed.put(ANSWERS)
        assert next(iter(feed)).target == ANSWERS
        feed.extend([ANSWERS, ANSWERS])
        feed.finish()
        assert len(feed.results()) == 2
        with pytest.raises(mmn.UsageError, match="takes no more"):
            feed.put(ANSWERS)


def test_vantage_points_say_when_they_want_more(net: mmn.Network) -> None:
    asked: Counter[str] = Counter()
    before = net.limits()["pending_tasks"]
    todo = {vp: [ANSWERS] * 5 for vp in net.vps("ams1, fra1, lon1")}

    def more(vp: mmn.VantagePoint) -> str | None:
        asked[vp.name] += 1
        return todo[vp].pop() if todo[vp] else None

    rtts: dict[str, int] = {}
    count = 0
    for result in net.drive("ping", vps=list(todo), more=more, window=2, count=1):
        count += 1
        assert result.rtt_min_ns is not None and result.vp is not None
        name = result.vp.name
        if name not in rtts:
            # What is found makes more work.
            todo[result.vp].append(ANSWERS)
        rtts[name] = min(rtts.get(name, result.rtt_min_ns), result.rtt_min_ns)
    assert count == 18
    assert set(rtts) == {"ams1", "fra1", "lon1"} and min(asked.values()) >= 6
    assert net.limits()["pending_tasks"] <= before


def test_a_driver_that_is_left_calls_its_work_off(net: mmn.Network) -> None:
    driven = net.drive("ping", vps="ams1", more=lambda vp: ANSWERS, window=10, port=70)
    assert next(driven).outcome == "refused"
    driven.close()  # type: ignore[attr-defined]


def test_results_are_values(net: mmn.Network, vp: mmn.VantagePoint) -> None:
    result = vp.ping(ANSWERS, count=1)
    again = pickle.loads(pickle.dumps(result))
    assert again == result and hash(again) == hash(result) and type(again) is PingResult
    assert again.vp == vp and again.vp is not None and again.vp.name == "ams1" and again.replies == result.replies
    assert result != vp.ping(ANSWERS, count=1) and result != 1
    assert pickle.loads(pickle.dumps(result.replies)) == result.replies
    whole = result.to_dict()
    assert whole["outcome"] == "ok" and whole["body"]["sent"] == 1
    assert '"outcome":"ok"' in result.to_json()
    assert repr(result).startswith(f"PingResult(vp='ams1', target='{ANSWERS}', ")
    html = result._repr_html_()
    assert "<table>" in html and " ms</td>" in html
    with pytest.raises(AttributeError):
        result.sent = 2
    assert pickle.loads(pickle.dumps(net.vps())) == net.vps()


def test_what_a_stranger_wrote_is_no_html(net: mmn.Network, vp: mmn.VantagePoint) -> None:
    results = net.ping(["<script>"], vps=vp, count=1).results()
    assert "<script>" not in results._repr_html_() and "<script>" not in results[0]._repr_html_()
    assert "&lt;script&gt;" in results._repr_html_()


def test_a_table_that_can_not_be_made_costs_no_results(net: mmn.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = net.ping(ANSWERS, vps="ams1", count=1)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match="pip install pandas"):
            measurement.to_pandas()
    assert len(measurement.to_pandas()) == 1


def test_tables(net: mmn.Network) -> None:
    import pandas
    import polars

    results = net.ping([ANSWERS, SILENT, "no-such-host"], vps="ams1, fra1", count=1, timeout="300ms").results()
    arrow = results.to_arrow()
    assert arrow.num_rows == 6 and str(arrow.schema.field("rtt_min_ns").type) == "int64"
    assert str(arrow.schema.field("started_at").type) == "timestamp[ns, tz=UTC]"
    frame = results.to_pandas()
    assert len(frame) == 6 and str(frame["rtt_min_ns"].dtype) == "Int64"
    assert frame["rtt_min_ns"].isna().tolist().count(True) == 4 and frame["loss"].dropna().tolist() == [0.0, 0.0, 1.0, 1.0]
    assert str(frame["started_at"].dtype) == "datetime64[ns, UTC]"
    assert isinstance(frame, pandas.DataFrame)
    table = results.to_polars()
    assert isinstance(table, polars.DataFrame) and table.height == 6
    assert table["rtt_min_ns"].null_count() == 4 and str(table["rtt_min_ns"].dtype) == "Int64"
    assert table["outcome"].to_list().count("failed") == 2
    assert mmn.Results().to_arrow().num_rows == 0 and len(mmn.Results().to_pandas()) == 0
    assert mmn.Results().to_polars().height == 0


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        mmn.Results().to_pandas()


INTERRUPTED = """
import os, signal, sys, threading, time
import mmn
net = mmn.connect(data=sys.argv[1])
vp = net.vp("ams1")
try:
    print("ready", flush=True)
    if sys.argv[2] == "sync":
        vp.ping("198.18.17.1", count=1, timeout=25)
    elif sys.argv[2] == "many":
        net.ping("198.18.17.1", vps=vp, count=1, timeout=25).results()
    else:
        feed = net.open("ping", vps=vp, count=1)
        for _ in feed:
            pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("way", ["sync", "many", "open"])
def test_ctrl_c_ends_a_wait(up: Up, way: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(up.data), way], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    # Once before it waits or after: it is interrupted either way, and long before the 25 s.
    child.send_signal(signal.SIGINT)
    assert child.stdout.readline() == "interrupted\n"
    assert child.wait(PATIENCE) == 0


def test_a_child_of_fork_is_told(net: mmn.Network, vp: mmn.VantagePoint, up: Up) -> None:
    vp.ping(ANSWERS, count=1)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                vp.ping(ANSWERS, count=1)
                told = "nothing"
            except mmn.ForkError as error:
                told = str(error)
            own = mmn.connect(data=up.data).vp("ams1").ping(ANSWERS, count=1)
            os.write(writing, f"{told}; {own.received}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    assert "call mmn.connect() again" in told and told.endswith("; 1")
    assert vp.ping(ANSWERS, count=1).ok


def test_threads_measure_beside_each_other(net: mmn.Network) -> None:
    got: list[int] = []

    def measure() -> None:
        got.append(sum(r.received for r in net.ping([ANSWERS] * 20, vps="fra1", count=1)))

    threads = [threading.Thread(target=measure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [20] * 4
