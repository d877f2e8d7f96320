"""The figures of `make bench-python`, as a script has them: `bench.py LINE COUNT [DATA]` prints them as JSON.

`mmn-bench python` (crates/bench) starts the networks, runs this, and judges. Each figure stands beside a yardstick of the same
run: the same over HTTP with nothing but Python's own library.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import mmn
from tests.world import World

# What is pinged: one on the loopback, and 65,536 that another namespace answers for.
LOOPBACK = "127.0.0.1"
MANY = [f"10.9.{number >> 8}.{number & 255}" for number in range(65_536)]
# Memory is compared from so many results on.
SETTLED = 100_000
# The script that locates addresses, and how many pings of the same lab are its yardstick.
GEOLOCATE = pathlib.Path(__file__).resolve().parents[2] / "examples/scripts/geolocate.py"
FED = 100_000
# What answers in the lab, from everywhere.
LAB_TARGET = "target000"


class Plain:
    """The API by Python's own library."""

    def __init__(self, data: pathlib.Path) -> None:
        url = json.loads((data / "api.json").read_text())["url"]
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        token = (data / "creds/client.token").read_text().strip()
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def measure(self, request: dict[str, Any], wait: str) -> dict[str, Any]:
        self.connection.request("POST", f"/api/v1/measurements{wait}", json.dumps(request), self.headers)
        answer: dict[str, Any] = json.loads(self.connection.getresponse().read())
        return answer

    def lines(self, id: str) -> Iterator[bytes]:
        path = f"/api/v1/measurements/{id}/results?format=ndjson&follow=1"
        self.connection.request("GET", path, None, self.headers)
        answer = self.connection.getresponse()
        yield from answer

    def all(self, targets: list[str], **params: object) -> int:
        """How many results of these were answered."""
        asked = self.measure({"kind": "ping", "params": params, "inputs": targets}, "")
        return sum(bool(json.loads(line).get("answered")) for line in self.lines(asked["id"]))


def now() -> float:
    return time.perf_counter()


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2] * 1e3, ordered[len(ordered) * 99 // 100] * 1e3


def sync(count: int, data: pathlib.Path) -> dict[str, float]:
    with mmn.connect(data=data) as net:
        (vp,) = net.vps()
        plain, asked = Plain(data), {"kind": "ping", "params": {"count": 1}, "inputs": [LOOPBACK], "from": [vp.id]}
        own: list[float] = []
        other: list[float] = []
        for number in range(200 + count):
            begin = now()
            assert vp.ping(LOOPBACK, count=1).received == 1
            middle = now()
            assert plain.measure(asked, "?wait=10s")["results"][0]["body"]["received"] == 1
            end = now()
            if number >= 200:
                own.append(middle - begin)
                other.append(end - middle)
    (p50, p99), (plain_p50, plain_p99) = quantiles(own), quantiles(other)
    return {"p50_ms": p50, "p99_ms": p99, "plain_p50_ms": plain_p50, "plain_p99_ms": plain_p99}


def many(count: int, data: pathlib.Path) -> dict[str, float]:
    with mmn.connect(data=data) as net:
        (vp,) = net.vps()
        vp.ping(LOOPBACK, count=1)
        begin = now()
        with net.open("ping", vps=vp, count=1) as feed:
            for _ in range(count):
                feed.put(LOOPBACK)
            feed.finish()
            put_replies = sum(result.received for result in feed)
        put_s = now() - begin
        begin = now()
        list_replies = sum(result.received for result in net.ping([LOOPBACK] * count, vps=vp, count=1))
        list_s = now() - begin
        begin = now()
        assert Plain(data).all([LOOPBACK] * count, count=1) == count
        plain_s = now() - begin
    return {
        "put_s": put_s,
        "put_replies": put_replies,
        "list_s": list_s,
        "list_replies": list_replies,
        "plain_s": plain_s,
    }


def rss_mb(process: int | str = "self") -> float:
    """The memory of a process."""
    pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def noop(count: int, data: pathlib.Path) -> dict[str, float]:
    with mmn.connect(data=data) as net:
        net.measure("noop", ["192.0.2.1"] * 1000).results()
        kept: list[str] = []
        results, rss_begin = 0, 0.0
        begin = now()
        with net.open("noop") as feed:
            for result in feed.run(itertools.repeat("192.0.2.1", count)):
                results += 1
                if results == SETTLED:
                    rss_begin = rss_mb()
                    kept = [result.to_json()] * 1000
        took, rss_end = now() - begin, rss_mb()
    begin = now()
    for _ in range(100):
        for line in kept:
            json.loads(line)
    json_s = now() - begin
    return {
        "per_s": results / took,
        "results": results,
        "rss_begin_mb": rss_begin,
        "rss_end_mb": rss_end,
        "json_per_s": 100 * len(kept) / json_s,
    }


def sweep(count: int, data: pathlib.Path) -> dict[str, float]:
    with mmn.connect(data=data) as net:
        (vp,) = net.vps()
        net.ping(MANY[:1000], vps=vp, count=1, lane="bulk").results()
        results, lost, rss_begin = 0, 0, 0.0
        begin = now()
        with net.open("ping", vps=vp, count=1, timeout="5s", lane="bulk") as feed:
            for result in feed.run(itertools.islice(itertools.cycle(MANY), count)):
                results += 1
                lost += result.rtt_min_ns is None
                if results == SETTLED:
                    rss_begin = rss_mb()
        took, rss_end = now() - begin, rss_mb()
        begin = now()
        assert Plain(data).all(MANY, count=1, timeout="5s", lane="bulk") == len(MANY)
        plain_s = now() - begin
    return {
        "per_s": results / took,
        "results": results,
        "lost": lost,
        "rss_begin_mb": rss_begin,
        "rss_end_mb": rss_end,
        "plain_per_s": len(MANY) / plain_s,
    }


def vps(count: int, data: pathlib.Path) -> dict[str, float]:
    with mmn.connect(data=data) as net:
        end = now() + 120
        while sum("ping" in vp.kinds for vp in net.vps()) < count:
            assert now() < end, "not all vantage points are ready after two minutes"
            time.sleep(0.2)
        found = []
        for _ in range(2):
            begin = now()
            results = net.ping(LAB_TARGET, vps="all", count=1, timeout="2s").results()
            took = now() - begin
            slowest = max(result.rtt_max_ns or 0 for result in results) / 1e9
            found.append((took - slowest, slowest, len(results)))
    # The first resolves the name and warms up; the second is what a script sees.
    over_s, slowest_s, results_count = found[-1]
    return {"results": results_count, "over_ms": over_s * 1e3, "slowest_ms": slowest_s * 1e3}


def geolocation(count: int, data: pathlib.Path) -> dict[str, float]:
    world = World()
    hosts = {name: host for name, host in world.hosts.items() if name.startswith("target")}
    nets = {next(net for net in host["prefix"] if ":" not in net): name for name, host in hosts.items()}
    at = {net.rpartition(".")[0]: name for net, name in nets.items()}
    rtt_ms = {name: {vp: world.way(vp, name)[1] for vp in world.vps} for name in hosts}
    least = {name: min(of.values()) for name, of in rtt_ms.items()}
    km = {(vp, name): world.km(world.city(vp), world.city(name)) for vp in world.vps for name in hosts}

    with mmn.connect(data=data) as net, net.open("ping", vps="ams1", count=1, timeout="1s") as feed:
        begin, targets = now(), [net.replace(".0/24", ".1") for net in nets]
        for _ in feed.run(itertools.islice(itertools.cycle(targets), FED)):
            pass
        feed_per_s = FED / (now() - begin)

    located = answered = exact = beyond = 0
    rss_begin = rss_end = 0.0
    command = [sys.executable, str(GEOLOCATE), str(count), *nets]
    begin = now()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "MMN_DATA": str(data)}) as script:
        assert script.stdout is not None
        for line in script.stdout:
            address, vp, _, radius = line.split("\t")
            located += 1
            if vp != "-":
                name = at[address.rpartition(".")[0]]
                answered += 1
                # Half a millisecond is jitter.
                exact += rtt_ms[name][vp] <= least[name] + 0.5
                beyond += km[vp, name] > float(radius.removesuffix(" km\n")) + 1
            if located % SETTLED == 0:
                rss_end = rss_mb(script.pid)
                rss_begin = rss_begin or rss_end
    took = now() - begin
    assert script.returncode == 0
    return {
        "located": located,
        "exact": exact / answered,
        "beyond": beyond,
        "took_s": took,
        "per_s": located / took,
        "feed_per_s": feed_per_s,
        "rss_begin_mb": rss_begin,
        "rss_end_mb": rss_end,
    }


def imports(count: int, _: pathlib.Path) -> dict[str, float]:
    def took(what: str) -> float:
        code = f"import time; begin = time.perf_counter(); import {what}; print(time.perf_counter() - begin)"
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return float(told.stdout) * 1e3

    own, other = zip(*((took("mmn"), took("asyncio, json")) for _ in range(count)), strict=True)
    return {"import_ms": statistics.median(own), "plain_ms": statistics.median(other)}


LINES = {"sync": sync, "many": many, "noop": noop, "sweep": sweep, "vps": vps, "geolocation": geolocation, "imports": imports}

if __name__ == "__main__":
    line, count, *data = sys.argv[1:]
    print(json.dumps(LINES[line](int(count), pathlib.Path(*data))))
