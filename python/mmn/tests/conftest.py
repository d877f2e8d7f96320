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

    def child(self, role: str) -> int:
        """The process id of a child, by the word of its command."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        for line in listed.stdout.splitlines():
            pid, _, arguments = line.strip().partition(" ")
            if f" {role}" in arguments:
                return int(pid)
        raise AssertionError(f"there is no {role} among\n{listed.stdout}")

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
