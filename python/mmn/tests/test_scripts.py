"""The scripts of examples/scripts, as a researcher runs them, and what they find against what the lab's file says."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
from collections import defaultdict

import pytest

import mmn

from .conftest import ROOT, Up
from .world import World

SCRIPTS = ROOT / "examples/scripts"
# In the world of the lab: the name server and the resolver that have a site in each of eight cities.
SERVER, RESOLVER = "198.18.250.53", "198.18.251.53"
# By how much jitter, and a way of the same length for routers but not for light, may lengthen a round trip, in milliseconds.
SLACK_MS = 8.0
# How many are located.
ADDRESSES = 20_000


@pytest.fixture(scope="session")
def world() -> World:
    return World()


def command(up: Up, script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MMN_DATA": str(up.data)},
    )


def run(up: Up, script: str, *arguments: str, status: int = 0) -> list[list[str]]:
    """The rows that a script prints."""
    with command(up, script, *arguments) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == status, err
    return [line.split("\t") for line in out.splitlines()]


def ms(text: str) -> float:
    return float(text.removesuffix(" ms"))


def fits(told: str, truth_ms: float) -> bool:
    return truth_ms - 0.06 <= ms(told) <= truth_ms + SLACK_MS


def test_each_is_short_and_says_what_it_is() -> None:
    scripts = sorted(SCRIPTS.glob("*.py"))
    assert len(scripts) >= 9
    for script in scripts:
        text = script.read_text()
        assert text.startswith('"""') and f"`{script.name}" in text
        assert len(text.splitlines()) < 60, script.name


def test_country(up: Up, world: World) -> None:
    rows = run(up, "country.py", "de")
    expected = sorted(vp for vp in world.vps if world.cities[world.city(vp)]["country"] == "DE")
    assert [row[0] for row in rows] == expected and expected
    for row in rows:
        vp = world.vps[row[0]]
        assert row[1:4] == [world.city(row[0]), f"AS{vp['asn']}", vp["addr"][0]]
        assert row[4:] == [",".join(vp["tags"]), "healthy"]


def test_shortest(up: Up, world: World) -> None:
    rows = run(up, "shortest.py", "target000", "24")
    truth = {vp: world.rtt_ms(vp, "198.18.16.1") for vp in world.vps}
    assert len(rows) == len({row[0] for row in rows}) and rows[0][0] == min(truth, key=lambda vp: truth[vp])
    assert set(truth) - {row[0] for row in rows} == set()
    assert [ms(row[2]) for row in rows] == sorted(ms(row[2]) for row in rows)
    for vp, country, told in rows:
        assert country == world.cities[world.city(vp)]["country"]
        assert fits(told, truth[vp]), (vp, told, truth[vp])


def test_authoritative(up: Up, world: World) -> None:
    rows = run(up, "authoritative.py", "three.test", RESOLVER)
    servers = {f"ns{number}.three.test.": f"198.18.253.{number}" for number in (1, 2, 3)}
    assert {(row[0], row[1]) for row in rows} == set(servers.items())
    # Some lines lose a little.
    assert len(rows) >= 3 * len(world.vps) - 3
    for _, address, vp, told in rows:
        assert fits(told, world.rtt_ms(vp, address)), (vp, address, told)


def test_serials(up: Up, world: World) -> None:
    rows = run(up, "serials.py", "three.test", RESOLVER, status=1)
    behind = {dns["identity"]: dns.get("lag_s", 0) > 0 for dns in world.plan["dns"] if "three.test" in dns.get("zones", [])}
    assert {row[1]: row[4] == "behind" for row in rows} == behind and sum(behind.values()) == 1
    assert {row[1]: int(row[2]) for row in rows} == {site: 1 if late else 2 for site, late in behind.items()}


def test_time_series(up: Up) -> None:
    # Somebody fills the thin link meanwhile: 1,428 octets every 10 ms are more than 1 Mbit/s.
    with mmn.connect(data=up.data) as net, command(up, "tslp.py", "fra1", "behind", "198.19.200.6", "60") as process:
        assert process.stdout is not None
        quiet = list(itertools.islice(process.stdout, 20))
        with net.ping("behind", vps="nyc1", count=4096, interval="10ms", size=1400):
            busy = list(itertools.islice(process.stdout, 30))
        process.communicate(timeout=60)
    near, far = zip(*(_pair(line) for line in quiet), strict=True)
    # 2 × (0.2 + 0.4 + 0.5) ms to the near end, and 2 ms and the packets' own 1 ms more to the far one.
    assert statistics.median(near) == pytest.approx(2.2, abs=0.3)
    assert 2.0 < statistics.median(far) - statistics.median(near) < 6.0
    near, far = zip(*(_pair(line) for line in busy[15:]), strict=True)
    assert statistics.median(near) == pytest.approx(2.2, abs=0.3)
    assert statistics.median(far) - statistics.median(near) > 20.0


def _pair(line: str) -> tuple[float, float]:
    _, near, far = line.split()
    # What is lost met a full queue.
    return float(near), 60.0 if far == "-" else float(far)


def test_anycast(up: Up, world: World) -> None:
    rows = run(up, "anycast.py", SERVER)
    identities = {dns["host"]: dns["identity"] for dns in world.plan["dns"]}
    sites = world.of_address(SERVER)
    served: dict[str, str] = {}
    for site, *vps in rows:
        for told in vps:
            name, rtt = told.split(" ", 1)
            served[name] = site
            assert fits(rtt, world.rtt_ms(name, SERVER))
    truth = {vp: identities[world.way(vp, *sites)[0]] for vp in served}
    assert served == truth and len(served) >= len(world.vps) - 3
    assert len(rows) == 8


def test_snooping(up: Up, world: World) -> None:
    # Two ask as anybody does; their sites then keep the answer. Nobody asks for the other name.
    known, other = "www8.example.test", "www16.example.test"
    with mmn.connect(data=up.data) as net:
        for vp in ("lon1", "nyc1"):
            net.vp(vp).dns(known, server=RESOLVER)
    identities = {dns["host"]: dns["identity"] for dns in world.plan["dns"]}
    filled = {identities[world.way(vp, *world.of_address(RESOLVER))[0]] for vp in ("lon1", "nyc1")}
    rows = run(up, "snoop.py", RESOLVER, SERVER, known, other)
    found = {(row[0], row[1]): row[2] for row in rows}
    assert {site for _, site in found} == {identities[host] for host in world.of_address(RESOLVER)}
    for (name, site), told in found.items():
        assert told.startswith("1 cached") == (name == known and site in filled), (name, site, told)
    assert len(filled) == 2


def test_geolocation(up: Up, world: World) -> None:
    targets = [host for host in world.plan["host"] if host["name"].startswith("target")]
    prefixes = [next(prefix for prefix in host["prefix"] if ":" not in prefix) for host in targets]
    rows = run(up, "geolocate.py", str(ADDRESSES), *prefixes)
    assert len(rows) == len({row[0] for row in rows}) == ADDRESSES
    nearest = 0
    unanswered: defaultdict[str, int] = defaultdict(int)
    hosts = {host["name"]: {vp: world.way(vp, host["name"])[1] for vp in world.vps} for host in targets}
    for address, vp, told, radius in rows:
        (host,) = world.of_address(address)
        if vp == "-":
            unanswered[host] += 1
            continue
        km = world.km(world.city(vp), world.city(host))
        # Light is not faster: it is within the radius.
        assert km <= float(radius.removesuffix(" km")) + 1, (address, vp, radius)
        assert fits(told, hosts[host][vp]), (address, vp, told)
        nearest += hosts[host][vp] <= min(hosts[host].values()) + 0.5
    mute = {host["name"] for host in targets if host.get("echo") is False}
    each = ADDRESSES // len(targets)
    assert {host for host, missing in unanswered.items() if missing > each / 2} == mute
    # The least round trip of all vantage points, though few were asked: jitter may hide it where two are as near, and loss.
    assert nearest > 0.99 * (len(rows) - sum(unanswered.values()))


def test_reaction(up: Up, world: World) -> None:
    (loss, *traces) = run(up, "react.py", "lon1", "lossy")
    assert loss[0] == "loss" and 10 < int(loss[1].removesuffix("%")) <= 100 and loss[3] == "lon1"
    truth = {vp: world.rtt_ms(vp, "198.18.252.2") for vp in world.vps}
    nearest = sorted(truth, key=lambda vp: truth[vp])
    assert len(traces) == 3 and {row[0] for row in traces} == {"trace"}
    # Loss may hide one of the three, but not that all are near.
    assert all(row[1] in nearest[:6] for row in traces)
    for row in traces:
        # The first hop is the vantage point's own router.
        assert row[2] in (world.routers[world.vps[row[1]]["at"]]["addr"][0], "*")
        assert row[-1] == "198.18.252.2" or "*" in row
