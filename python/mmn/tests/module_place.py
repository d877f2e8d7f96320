"""A network of this machine for the tests of modules: `mmn up` in a directory of its own."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import mmn

from .conftest import ROOT, Up

T = TypeVar("T")

__all__ = ["HERE", "PROGRAM", "ROOT", "Place", "place", "soon"]

HERE = pathlib.Path(__file__).parent
PROGRAM = os.environ["MMN"]


def soon(look: Callable[[], T | None], what: str, seconds: float = 30.0) -> T:
    """What a look gives as soon as it gives something; fails when it does not in time."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.05)


class Place:
    """A running network with one vantage point."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.data = directory
        self.net = mmn.connect(data=directory)

    def mmn(self, *words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs the command against it."""
        environment = os.environ | {"MMN_DATA": str(self.data), "VIRTUAL_ENV": sys.prefix}
        done = subprocess.run([PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=60)
        assert not ok or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    def add(self, file: pathlib.Path, *kinds: str) -> None:
        """Plugs a file in, and waits until its kinds are offered."""
        self.mmn("module", "add", str(file))
        for kind in kinds:
            self.offered(kind)

    def offered(self, kind: str) -> None:
        """Waits until the vantage point offers a kind."""
        soon(lambda: any(kind in vp.kinds for vp in self.net.vps()), f"{kind} is offered")

    def status(self, module: str) -> dict[str, Any]:
        """What the node says of a module."""
        answer = json.loads(self.mmn("module", "list", "--json").stdout)
        found: dict[str, Any] = next(one for one in answer["done"]["modules"] if one["module"] == module)
        return found

    def instances(self, module: str) -> list[dict[str, Any]]:
        """What the anchor says of a module's instances."""
        lines = self.mmn("modules", "--json").stdout.splitlines()
        return [one for one in map(json.loads, lines) if one["module"] == module and one["health"] != "stopped"]

    def running(self, module: str) -> int:
        """How many tasks are performed there."""
        beats = [one.get("heartbeat") for one in self.instances(module)]
        return sum(beat["load"]["running"] for beat in beats if beat)

    def log(self, module: str) -> str:
        """What the module's processes have written."""
        logs = (self.data / "node" / "run").glob(f"{module}-*/module.log")
        return "".join(log.read_text(errors="replace") for log in logs)

    def ask(self, kind: str, target: str | None = None, **params: Any) -> Any:
        """One task's result, whatever it is."""
        [result] = self.net.measure(kind, target, vps="all", deadline="20s", **params).results(timeout=40)
        return result


@contextlib.contextmanager
def place(directory: pathlib.Path) -> Generator[Place, None, None]:
    """A network of this machine as long as it is wanted."""
    config = directory / "anchor.toml"
    # Those who fail again and again are given nothing for a while: here that is what is tried.
    config.write_text("[breaker]\nfailures = 10000\nrecent = 10000\n")
    up = Up(directory, "--anchor-config", str(config))
    try:
        found = Place(directory)
        found.offered("ping")
        yield found
    finally:
        up.stop()
