"""Scripts as they are written for scamper, with the vantage points of a simulated Internet behind mmn's mux."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest
from scamper import ScamperCtrl, ScamperInstError

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "examples" / "scamper"
LAB = ROOT / "examples" / "lab" / "world.toml"
# In the world of that file: a router in Amsterdam, a host, the resolver of all sites, and how many vantage points there are.
ROUTER, HOST, RESOLVER, VPS = "198.19.0.2", "198.18.16.1", "198.18.251.53", 24


@pytest.fixture(scope="module")
def mux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    mmn = os.environ.get("MMN")
    assert mmn, "MMN is to name the binary mmn, and MMN_NATS_SERVER nats-server: scripts/check-pyscamper.sh sets them"
    data = tmp_path_factory.mktemp("mmn") / "data"
    with (data.parent / "log").open("w+") as log:
        up = subprocess.Popen(
            [mmn, "up", "--data", str(data), "--listen", "127.0.0.1:0", "--lab", str(LAB), "--lab-driver", "in-process"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert up.stdout is not None
            said = []
            for line in up.stdout:
                said.append(line)
                if line.startswith("ready"):
                    break
            else:
                log.seek(0)
                pytest.fail(f"the network did not start: {''.join(said)}{log.read()}")
            yield str(data / "mux" / "mux.sock")
        finally:
            up.terminate()
            up.wait(30)


def run(script: str, *arguments: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_vantage_points_are_listed(mux: str) -> None:
    every = run("vps.py", mux)
    assert len(every) == VPS and ["ams1", "NL", "ams", "65202", "198.18.0.3"] in [row[:5] for row in every]
    assert [row[0] for row in run("vps.py", mux, "nl")] == ["ams1"]


def test_one_pings(mux: str) -> None:
    *replies, last = run("ping.py", mux, "ams1", ROUTER)
    assert [row[:2] for row in replies] == [[str(attempt), ROUTER] for attempt in (1, 2, 3)]
    assert last[0].startswith("3 of 3, at least ")


def test_the_nearest_is_in_the_same_city(mux: str) -> None:
    nearest = run("shortest.py", mux, ROUTER)
    assert len(nearest) == 5 and nearest[0][:2] == ["ams1", "NL"]


def test_name_servers_are_measured_from_everywhere(mux: str) -> None:
    rows = run("authoritative.py", mux, RESOLVER, "example.test")
    assert len(rows) == VPS and {tuple(row[:2]) for row in rows} == {("ns.lab.test", "198.18.250.53")}


def test_events_feed(mux: str) -> None:
    rows = run("events.py", mux, HOST, ROUTER)
    assert len(rows) == 3 * VPS and sum(row[0].endswith("ended") for row in rows) == VPS
    assert {row[1] for row in rows if len(row) == 3} == {HOST, ROUTER}


def test_a_kind_that_no_vantage_point_offers_is_named(mux: str) -> None:
    control = ScamperCtrl[None](mux=mux)
    control.add_vps(control.vps()[:1])
    with pytest.raises(ScamperInstError, match="owamp"):
        control.do_owamp(HOST, "tx", sync=True)
    with pytest.raises(ScamperInstError, match="mercator"):
        control.do_mercator(HOST, sync=True)
