"""A network of its own for the tests: a simulated Internet, in which what is found is known beforehand."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest

import mmn

ROOT = pathlib.Path(__file__).resolve().parents[3]

# How long something is waited for before a test has failed, in seconds.
PATIENCE = 60.0

# Of the lab's world: one that answers pings, one that does not, and one with a name.
ANSWERS = "198.18.16.1"
SILENT = "198.18.17.1"


class Up:
    """A running `mmn up`."""

    def __init__(self, data: pathlib.Path, *arguments: str) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [os.environ["MMN"], "up", "--data", str(data), "--listen", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError(f"mmn up ended: {self.said}")

    def child(self, *words: str) -> int:
        """The process id of the descendant whose command holds these words."""
        parents, below = {}, {self.process.pid}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        while more := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= more
        said = {}
        for pid in below - {self.process.pid}:
            said[pid] = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        found = [pid for pid, command in said.items() if set(words) <= set(command)]
        assert len(found) == 1, f"{words} is none or several of {said}"
        return found[0]

    def url(self) -> str:
        """Where its API listens."""
        return str(json.loads((self.data / "api.json").read_text())["url"])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    world = str(ROOT / "examples/lab/world.toml")
    running = Up(tmp_path_factory.mktemp("up"), "--lab", world, "--lab-driver", "in-process")
    yield running
    running.stop()


@pytest.fixture
def net(up: Up) -> Iterator[mmn.Network]:
    with mmn.connect(data=up.data) as network:
        yield network


@pytest.fixture
def vp(net: mmn.Network) -> mmn.VantagePoint:
    return net.vp("ams1")
