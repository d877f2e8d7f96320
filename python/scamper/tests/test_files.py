"""Files: what is in them, as objects; and written again."""

import copy
import datetime
import json
import pathlib
import pickle
import warnings

import pytest
from everything import everything
from scamper import (
    ScamperAddr,
    ScamperCycle,
    ScamperDealiasProbedef,
    ScamperFile,
    ScamperHost,
    ScamperHostType,
    ScamperList,
    ScamperPing,
    ScamperPingStop,
    ScamperTrace,
)
from scripted import FIXTURES

RECORDED = pathlib.Path(__file__).parent / "recorded"
NAMES = ["ping", "trace", "dealias", "host", "misc", "release-20211212"]


def objects(path: object) -> list[object]:
    with ScamperFile(str(path)) as file:
        return list(file)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_that_were_recorded(name: str) -> None:
    with ScamperFile(str(FIXTURES / f"{name}.warts")) as file:
        lines = [json.dumps(everything(one)) for one in file]
    recorded = (RECORDED / f"{name}.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(line) for line in recorded]


@pytest.mark.parametrize("suffix", ["warts", "warts.gz", "warts.bz2", "warts.xz"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_again(name: str, suffix: str, tmp_path: pathlib.Path) -> None:
    before = objects(FIXTURES / f"{name}.warts")
    with ScamperFile(str(tmp_path / f"copy.{suffix}"), "w") as file:
        assert file.filetype == suffix and file.is_write() and not file.is_read()
        for one in before:
            file.write(one)
    after = objects(tmp_path / f"copy.{suffix}")
    assert [everything(one) for one in after] == [everything(one) for one in before]


def test_a_copy_has_the_octets_of_what_it_was_made_of(tmp_path: pathlib.Path) -> None:
    copied = tmp_path / "copy.warts"
    with ScamperFile(str(copied), mode="w") as file:
        for one in objects(FIXTURES / "trace.warts"):
            file.write(one)
    assert copied.read_bytes() == (FIXTURES / "trace.warts").read_bytes()


def test_results_of_two_files_get_lists_of_their_own(tmp_path: pathlib.Path) -> None:
    with ScamperFile(str(tmp_path / "both.warts"), "w") as file:
        for name in ["ping", "trace"]:
            for one in objects(FIXTURES / f"{name}.warts"):
                if isinstance(one, (ScamperPing, ScamperTrace)):
                    file.write(one)
    both = objects(tmp_path / "both.warts")
    assert sum(isinstance(one, ScamperList) for one in both) == 1
    assert sum(isinstance(one, ScamperCycle) for one in both) == 2
    pings = [one for one in both if isinstance(one, ScamperPing)]
    assert {one.cycle.hostname for one in pings if one.cycle} == {"vm"}


def test_json_is_a_line_for_each(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.json"
    with ScamperFile(str(path), "w") as file:
        for one in objects(FIXTURES / "ping.warts"):
            file.write(one)
    kinds = [json.loads(line)["type"] for line in path.read_text().splitlines()]
    assert kinds == ["cycle-start", *["ping"] * 7, "cycle-stop"]


def test_text_is_for_people(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    with ScamperFile(str(path), "w") as file:
        for one in objects(FIXTURES / "ping.warts"):
            file.write(one)
    assert path.read_text().startswith("ping from 10.8.0.1 to 10.9.0.4: 124 byte packets\n124 bytes from 10.9.0.4,")


def test_classes_are_filtered_by() -> None:
    file = ScamperFile(str(FIXTURES / "misc.warts"), filter_types=[ScamperPing, ScamperHost])
    assert list(file) == []
    file = ScamperFile(str(FIXTURES / "trace.warts"))
    file.filter_types(ScamperTrace)
    assert {type(one) for one in file} == {ScamperTrace}
    with pytest.raises(ValueError):
        file.filter_types(int)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        file.filter_types()


def test_a_broken_file_is_said_to_be(tmp_path: pathlib.Path) -> None:
    octets = (FIXTURES / "ping.warts").read_bytes()
    (tmp_path / "cut.warts").write_bytes(octets[:-3])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert len(objects(tmp_path / "cut.warts")) == len(objects(FIXTURES / "ping.warts")) - 1
    assert ["the file ends within a record" in str(one.message) for one in said] == [True]


def test_what_can_not_be_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        ScamperFile(str(tmp_path / "none.warts"))
    with pytest.raises(ValueError):
        ScamperFile(str(tmp_path / "x"), "a")
    with pytest.raises(ValueError):
        ScamperFile(str(FIXTURES / "ping.warts"), "r", "warts")
    with pytest.raises(RuntimeError):
        ScamperFile(str(tmp_path / "x"), "w", "pcap")
    file = ScamperFile(str(tmp_path / "x"), "w")
    with pytest.raises(RuntimeError):
        file.read()
    with pytest.raises(TypeError):
        file.write("a ping")
    file.close()
    file.close()
    with pytest.raises(ValueError):
        file.write(objects(FIXTURES / "ping.warts")[0])
    with pytest.raises(ValueError):
        _ = file.filename


def test_a_cycle_that_is_held_learns_its_end() -> None:
    with ScamperFile(str(FIXTURES / "ping.warts")) as file:
        first = next(one for one in file if isinstance(one, ScamperPing))
        assert first.cycle is not None and first.cycle.stop is None
        list(file)
        assert first.cycle.stop == datetime.datetime(2026, 11, 22, 0, 44, 4, 999999, datetime.timezone.utc)


def test_a_ping_says_what_it_was() -> None:
    ping = next(one for one in objects(FIXTURES / "ping.warts") if isinstance(one, ScamperPing) and one.attempts == 3)
    assert ping.stop_reason is ScamperPingStop.Completed and ping.stop_reason_str == "done"
    assert (ping.nreplies, ping.nloss, ping.ndups, ping.nerrs) == (3, 0, 0, 0)
    assert [reply.attempt for reply in ping] == [1, 2, 3]
    assert ping.min_rtt == datetime.timedelta(microseconds=65)
    reply = ping.reply(0)
    assert reply is not None and reply.rx is not None and reply.tx is not None
    assert reply.rx - reply.tx == reply.rtt and reply.src == ping.dst
    assert ping.reply(9) is None and ping.inst is None


def test_addresses_are_values() -> None:
    one, other = ScamperAddr("192.0.2.1"), ScamperAddr(b"\xc0\x00\x02\x02")
    assert one < other and one == "192.0.2.1" and one != other and hash(one) == hash(ScamperAddr("192.0.2.1"))
    assert str(other) == "192.0.2.2" and repr(one) == "ScamperAddr('192.0.2.1')" and f"{one:>12}" == "   192.0.2.1"
    assert one.packed == b"\xc0\0\x02\x01" and one.is_reserved() and one.is_ipv4() and not one.is_rfc1918()
    assert not ScamperAddr("8.8.8.8").is_reserved() and ScamperAddr("10.1.1.1").is_rfc1918()
    assert ScamperAddr("2002::1").is_6to4() and ScamperAddr("2001:db8::1").is_reserved()
    assert ScamperAddr("2600::1").is_unicast() and not ScamperAddr("2600::1").is_reserved()
    assert ScamperAddr("fe80::1").is_linklocal() and ScamperAddr("fe80::1").is_reserved()
    assert pickle.loads(pickle.dumps(one)) == one and copy.deepcopy(other) == other
    assert one.__getstate__() == {"type": 1, "addr": b"\xc0\0\x02\x01"}
    for wrong in ["x", "192.0.2", b"\0"]:
        with pytest.raises(ValueError):
            ScamperAddr(wrong)


def test_definitions_of_probes_are_made() -> None:
    definition = ScamperDealiasProbedef("icmp-echo", dst="192.0.2.1", ttl=64, icmp_sum=7)
    assert str(definition) == "-P icmp-echo -c 7 -i 192.0.2.1 -t 64" and definition.is_icmp()
    assert repr(definition) == "ScamperDealiasProbedef('icmp-echo', dst='192.0.2.1', ttl=64, icmp_sum=7)"
    for wrong in [("smoke", {}), ("udp", {"icmp_id": 1}), ("icmp-echo", {"dport": 1})]:
        with pytest.raises(ValueError):
            ScamperDealiasProbedef(wrong[0], **wrong[1])


def test_answers_are_found_by_type() -> None:
    hosts = [one for one in objects(FIXTURES / "host.warts") if isinstance(one, ScamperHost)]
    assert [host.qtype for host in hosts] == ["A", "TXT", "NS", "MX"]
    assert hosts[0].ans_addrs() == [ScamperAddr("192.0.2.1")]
    assert [rr.rtype for rr in hosts[0].ans(["a"])] == [ScamperHostType.A] and list(hosts[0].ans(["AAAA"])) == []
    assert hosts[1].ans_txts()[0].str(0) == "hi" and hosts[2].ans_nses() == ["ns.example.com"]
