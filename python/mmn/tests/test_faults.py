"""What dies while a script runs."""

from __future__ import annotations

import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

import mmn

from .conftest import ANSWERS, PATIENCE, ROOT, Up


@pytest.fixture
def own(tmp_path: pathlib.Path) -> Iterator[Up]:
    """A network that a test may break."""
    running = Up(tmp_path / "up", "--lab", str(ROOT / "examples/lab/world.toml"), "--lab-driver", "in-process")
    yield running
    running.stop()


def test_an_anchor_that_is_killed_in_mid_iteration_is_survived(own: Up) -> None:
    net = mmn.connect(data=own.data)
    # Targets are on their way while it dies, and results too: each takes a third of a second, and ten are out at a time.
    tasks: list[str] = []
    with net.open("ping", vps="ams1", count=1, deadline="2m") as feed:
        for result in feed.run([ANSWERS] * 100, window=10):
            if len(tasks) == 20:
                os.kill(own.child("anchor"), signal.SIGKILL)
            tasks.append(result.task)
            assert result.ok, result
    assert len(tasks) == len(set(tasks)) == 100
    assert feed.ledger.ok == 100

    # Who is near the target has its result before the others, and the anchor dies between.
    measurement = net.ping(ANSWERS, vps="akl1, ams1, fra1", count=3, interval="500ms", deadline="2m")
    names: list[str | None] = []
    for result in measurement:
        if not names:
            os.kill(own.child("anchor"), signal.SIGKILL)
        names.append(result.vp_name)
        assert result.received == 3, result
    assert names[0] == "akl1" and sorted(map(str, names)) == ["akl1", "ams1", "fra1"]


def test_a_module_that_is_killed_ends_its_tasks_with_a_reason(tmp_path: pathlib.Path) -> None:
    up = Up(tmp_path / "up")
    try:
        net = mmn.connect(data=up.data)
        (vp,) = net.vps()
        measurement = net.ping(["127.0.0.1"] * 3, vps=vp, count=20, interval="200ms", deadline="30s")
        # It is at work once it has taken what came before.
        vp.ping("127.0.0.1", count=1)
        os.kill(up.child("packet"), signal.SIGKILL)
        results = measurement.results(timeout=PATIENCE)
        assert len({result.task for result in results}) == 3
        for result in results:
            assert result.ok or (result.vp == vp and result.reason is not None)
        assert measurement.ledger.pending == 0
    finally:
        up.stop()
