"""What the file of the lab's world says is to be measured: ways, round trips, sites, places."""

from __future__ import annotations

import heapq
import math
import pathlib
import tomllib
from collections import defaultdict
from typing import Any

FILE = pathlib.Path(__file__).resolve().parents[3] / "examples/lab/world.toml"

# Two thirds of the speed of light, and the radius of the sphere that the lab takes the Earth for.
KM_PER_MS = 299_792.458 * 2 / 3 / 1e3
EARTH_KM = 6371.0


class World:
    """The world of a file, without what is random in it: nothing is faster than it says."""

    def __init__(self, file: pathlib.Path = FILE) -> None:
        self.plan: dict[str, Any] = tomllib.loads(file.read_text())
        self.cities: dict[str, dict[str, Any]] = self.plan["city"]
        self.routers = {router["name"]: router for router in self.plan["router"]}
        self.vps = {vp["name"]: vp for vp in self.plan["vp"]}
        self.hosts = {host["name"]: host for host in self.plan["host"]}
        self.links: defaultdict[str, list[tuple[str, int, float]]] = defaultdict(list)
        for link in self.plan["link"]:
            km = self.km(self.city(link["a"]), self.city(link["b"])) * link.get("stretch", self.plan["stretch"])
            delay_ms = link.get("delay_ms", km / KM_PER_MS)
            for a, b in ((link["a"], link["b"]), (link["b"], link["a"])):
                self.links[a].append((b, link.get("metric", 1), delay_ms))

    def city(self, name: str) -> str:
        """The city of a router, vantage point or host."""
        if name in self.routers:
            return str(self.routers[name]["city"])
        at = self.vps.get(name) or self.hosts[name]
        return str(at.get("city") or self.routers[at["at"]]["city"])

    def km(self, one: str, other: str) -> float:
        """How far two cities are from each other, along the surface."""
        a, b = self.cities[one], self.cities[other]
        lat, lon = math.radians(b["lat"] - a["lat"]), math.radians(b["lon"] - a["lon"])
        across = math.cos(math.radians(a["lat"])) * math.cos(math.radians(b["lat"]))
        half = math.sin(lat / 2) ** 2 + across * math.sin(lon / 2) ** 2
        return 2 * EARTH_KM * math.asin(math.sqrt(half))

    def of_address(self, address: str) -> list[str]:
        """The hosts that have an address: several when it is anycast."""
        third = address.rsplit(".", 1)[0]
        of = {name: [*_many(host["addr"]), *_many(host.get("prefix", []))] for name, host in self.hosts.items()}
        return [name for name, known in of.items() if address in known or f"{third}.0/24" in known]

    def way(self, vp: str, *hosts: str) -> tuple[str, float]:
        """To which of some hosts packets go, and the least round trip in milliseconds."""
        start = self.vps[vp]["at"]
        best = {start: (0, 0.0)}
        heap = [(0, 0.0, start)]
        while heap:
            metric, delay_ms, here = heapq.heappop(heap)
            if (metric, delay_ms) > best[here]:
                continue
            for there, more, link_ms in self.links[here]:
                found = (metric + more, delay_ms + link_ms)
                if found < best.get(there, (math.inf, math.inf)):
                    best[there] = found
                    heapq.heappush(heap, (*found, there))
        host = min(hosts, key=lambda name: best[self.hosts[name]["at"]])
        ends = self.vps[vp].get("delay_ms", 0.1) + self.hosts[host].get("delay_ms", 0.1)
        return host, 2 * (best[self.hosts[host]["at"]][1] + ends)

    def rtt_ms(self, vp: str, address: str) -> float:
        """The least round trip to an address."""
        return self.way(vp, *self.of_address(address))[1]


def _many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
