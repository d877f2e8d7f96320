"""What dies while a script runs."""

from __future__ import annotations

import os
import pathlib
import signal
from collections import Counter
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
    measurement = net.ping([ANSWERS] * 30, vps="ams1, fra1", count=3, interval="500ms", deadline="2m")
    tasks: list[str] = []
    for result in measurement:
        if not tasks:
            os.kill(own.child("anchor"), signal.SIGKILL)
        tasks.append(result.task)
        assert result.ok, result
    assert len(tasks) == len(set(tasks)) == 60
    assert measurement.ledger.ok == 60

    # An open one too, with targets on their way.
    killed = False
    outcomes: Counter[str] = Counter()
    with net.open("ping", vps="ams1", count=1, deadline="2m") as feed:
        for result in feed.run([ANSWERS] * 200, window=50):
            if not killed:
                killed = True
                os.kill(own.child("anchor"), signal.SIGKILL)
            outcomes[result.outcome] += 1
    assert outcomes == {"ok": 200}
