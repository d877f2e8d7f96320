"""One call, one result."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import pathlib
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest

import mmn
from mmn.kinds import DnsResult, PingResult, TraceResult

from .conftest import ANSWERS, SILENT, Up


def test_vantage_points_are_objects(net: mmn.Network) -> None:
    vps = net.vps()
    assert len(vps) == 24
    assert vps == sorted(vps)
    ams = next(vp for vp in vps if vp.country == "NL")
    assert (ams.name, ams.asn, ams.continent, ams.place) == ("ams1", 65202, "EU", "ams, NL")
    assert ams.tags == {"fibre"}
    assert ams.addresses[0] == "198.18.0.3"
    assert ams.simulated and ams.healthy
    assert {"ping", "trace", "dns"} <= ams.kinds
    assert ams == net.vp("ams1") == net.vp(ams.id)
    assert len({ams, net.vp("ams1")}) == 1
    assert [vp.name for vp in net.vps("country:NL")] == ["ams1"]
    assert len(net.vps("3 of (all)")) == 3
    assert repr(ams) == "<VantagePoint 'ams1' ams, NL AS65202 healthy>"
    distance = ams.distance_km(50.11, 8.68)
    assert distance is not None and 350 < distance < 380


def test_a_ping(vp: mmn.VantagePoint) -> None:
    result = vp.ping(ANSWERS, count=2, interval="10ms", size=100)
    assert isinstance(result, PingResult)
    assert result.ok and result.outcome == "ok" and result.reason is None and result.answered
    assert (result.sent, result.received, result.loss) == (2, 2, 0.0)
    assert result.vp is vp and result.vp_name == "ams1" and result.target == ANSWERS and result.kind == "ping"
    assert result.task.startswith("0")
    # Amsterdam to Auckland and back, in the lab.
    assert result.rtt is not None and result.rtt_min_ns is not None
    assert 200e6 < result.rtt_min_ns < 800e6
    assert result.rtt.min_ns == result.rtt_min_ns
    first = result.replies[0]
    assert first.seq == 0 and first.status == "replied" and first.error is None and first.repeats == []
    assert first.sent_at is not None and first.sent_at_ns is not None and result.started_at is not None
    assert first.sent_at.tzinfo is not None
    assert abs(first.sent_at.timestamp() - first.sent_at_ns / 1e9) < 1e-5
    assert result.simulated
    assert "PingReply(seq=0, status='replied'" in repr(result.replies)


def test_who_does_not_answer_is_no_error(vp: mmn.VantagePoint) -> None:
    result = vp.ping(SILENT, count=1, timeout=0.2)
    assert result.ok and result.answered is False
    assert result.received == 0 and result.loss == 1.0
    assert result.rtt is None and result.rtt_min_ns is None


def test_other_kinds(vp: mmn.VantagePoint) -> None:
    trace = vp.trace(ANSWERS, attempts=1)
    assert isinstance(trace, TraceResult)
    assert trace.reached and len(trace.hops) > 3
    tcp = vp.tcp(ANSWERS, port=80)
    assert tcp.state == "open" and tcp.connect_ns is not None
    assert vp.tcp(ANSWERS, port=81, retries=0).state in ("closed", "timed_out", "unreachable")
    plain = vp.measure("ping", ANSWERS, count=1)
    assert isinstance(plain, PingResult)
    assert issubclass(DnsResult, mmn.Result)


def test_errors_name_the_vantage_point_and_the_reason(net: mmn.Network, vp: mmn.VantagePoint) -> None:
    with pytest.raises(mmn.MeasurementFailed) as failed:
        vp.ping("no-such-host", count=1)
    assert failed.value.vp == vp and failed.value.code == "unresolvable"
    assert "ping from ams1 to no-such-host failed: unresolvable" in str(failed.value)
    assert failed.value.result.target == "no-such-host"

    with pytest.raises(mmn.MeasurementRefused) as refused:
        vp.ping(ANSWERS, port=70)
    assert refused.value.code == "parameters" and "ams1" in str(refused.value)

    # The lane is what the site does not allow; or it is none for such a ping, however many there are.
    with pytest.raises(mmn.MeasurementRefused, match="policy: .*allow_packet_sockets"):
        vp.ping(ANSWERS, count=1, lane="bulk")
    several = {(r.outcome, r.reason and r.reason.code) for r in net.ping([ANSWERS] * 100, vps=vp, count=2, lane="bulk")}
    with pytest.raises(mmn.MeasurementRefused, match="parameters: the bulk lane takes one plain"):
        vp.ping(ANSWERS, count=2, lane="bulk")
    assert several == {("refused", "parameters")}

    with pytest.raises(mmn.MeasurementLost) as lost:
        vp.ping(SILENT, count=1, timeout=5, deadline="100ms")
    assert lost.value.code == "deadline"

    with pytest.raises(mmn.ApiError) as declined:
        vp.measure("ping", ANSWERS, count="three")
    assert declined.value.status == 422 and declined.value.problem["errors"][0]["pointer"] == "/params/count"
    assert "count" in str(declined.value)
    with pytest.raises(mmn.ApiError) as unknown:
        vp.measure("pong", ANSWERS)
    assert "pong" in str(unknown.value)

    for error in (failed.value, refused.value, declined.value):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)


def test_misuse_is_told_before_anything_is_sent(net: mmn.Network, vp: mmn.VantagePoint) -> None:
    with pytest.raises(mmn.UsageError, match="list is empty"):
        net.ping([], vps=vp)
    with pytest.raises(mmn.UsageError, match="no vantage point"):
        net.ping(ANSWERS, vps=[])
    with pytest.raises(mmn.UsageError, match="no vantage point 'nowhere'"):
        net.vp("nowhere")
    with pytest.raises(mmn.UsageError):
        net.ping(ANSWERS, vps="germany++eyeball")
    with pytest.raises(mmn.UsageError, match="can't hold a value"):
        net.measure("ping", ANSWERS, vps=vp, count=[{1, 2}])
    with pytest.raises(ValueError):
        vp.ping(ANSWERS, deadline=-1)
    with pytest.raises(mmn.UsageError, match="belongs to no connection"):
        pickle.loads(pickle.dumps(vp)).ping(ANSWERS)
    with pytest.raises(TypeError):
        vp.ping(ANSWERS, cuont=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_a_vantage_point_measures_one_target(vp: mmn.VantagePoint) -> None:
    address: Any = ipaddress.ip_address(ANSWERS)
    assert vp.ping(address).target == ANSWERS
    several: Any = [ANSWERS, SILENT]
    with pytest.raises(mmn.UsageError, match="takes several"):
        vp.ping(several)


@pytest.mark.parametrize("wrong", ["5 parsecs", "", "3", "-1s", "1s!", "P", -1, float("nan"), float("inf"), True, [1]])
def test_a_duration_that_is_none_is_told_by_its_name(vp: mmn.VantagePoint, net: mmn.Network, wrong: Any) -> None:
    with pytest.raises(mmn.UsageError, match="^timeout: .*is no duration such as 2.5"):
        vp.ping(ANSWERS, timeout=wrong)
    with pytest.raises(mmn.UsageError, match="^deadline: "):
        net.ping(ANSWERS, vps=vp, deadline=wrong)
    with pytest.raises(mmn.UsageError, match="^interval: "):
        net.open("ping", vps=vp, interval=wrong)


@pytest.mark.parametrize("right", ["500ms", "1m 30s", "PT1M", "0.5s", 2, 0.5, datetime.timedelta(seconds=2)])
def test_durations_are_given_in_many_ways(vp: mmn.VantagePoint, right: Any) -> None:
    assert vp.ping(ANSWERS, count=1, timeout=right, deadline=right).ok


def test_who_is_not_there_is_told_with_a_way_out(tmp_path: pathlib.Path) -> None:
    with pytest.raises(mmn.NotRunning, match="start one with `mmn up`"):
        mmn.connect(data=tmp_path)
    with pytest.raises(mmn.ConnectionLost, match="no connection to"):
        mmn.connect("http://127.0.0.1:1").vps()
    with pytest.raises(mmn.UsageError, match="no URL"):
        mmn.connect("127.0.0.1:1")
    with pytest.raises(ConnectionError):
        mmn.connect(data=tmp_path)


def test_a_url_and_a_token(up: Up) -> None:
    token = (up.data / "creds/client.token").read_text()
    with mmn.connect(up.url(), token=token) as net:
        assert net.whoami()["subject"]
        assert repr(net) == f"<Network {up.url()}>"
    with pytest.raises(mmn.ApiError) as refused:
        mmn.connect(up.url(), token="nonsense").whoami()
    assert refused.value.status == 401


def test_the_token_of_this_machine_is_shown_to_nobody_else(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str | None] = []

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["authorization"])
            problem = {"type": "about:blank", "status": 401, "title": "A token is needed", "reason": "unauthorized"}
            body = json.dumps(problem).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setenv("MMN_DATA", str(up.data))
    with http.server.HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(mmn.ApiError, match=r"connect\(url, token=…\)") as refused:
            mmn.connect(url).whoami()
        assert refused.value.status == 401
        with pytest.raises(mmn.ApiError):
            mmn.connect(url, token="of my own").whoami()
        monkeypatch.setenv("MMN_API", url)
        with pytest.raises(mmn.ApiError):
            mmn.connect().whoami()
        server.shutdown()
    assert shown == [None, "Bearer of my own", None]
    # Its own API is shown it, by its URL too.
    assert mmn.connect(up.url()).whoami()["subject"]
    monkeypatch.setenv("MMN_TOKEN_FILE", str(up.data / "nothing"))
    with pytest.raises(mmn.UsageError, match="MMN_TOKEN_FILE"):
        mmn.connect(up.url())


def test_the_other_scheme_is_told(up: Up) -> None:
    with pytest.raises(mmn.ConnectionLost, match=r"speaks no TLS: does it speak http://"):
        mmn.connect(up.url().replace("http:", "https:"), token="any").vps()


def test_plans_and_kinds(net: mmn.Network) -> None:
    plan = net.plan("ping", [ANSWERS, SILENT], vps="ams1, fra1", count=2)
    assert plan["tasks"] == 4
    assert "ping" in net.kinds() and net.limits()["max_inputs"] > 0


def test_the_import_takes_nothing_that_is_not_needed() -> None:
    heavy = "import sys, mmn; print({'asyncio', 'json', 'datetime', 'pandas', 'polars', 'pyarrow'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
