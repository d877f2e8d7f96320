"""The text of commands, as it is on the wire."""

import datetime
import pathlib
from typing import Any

import pytest
from scamper import ScamperAddr, ScamperCtrl, ScamperDealiasMidardiscRound, ScamperDealiasProbedef
from scripted import Server, answering

AT = datetime.datetime.fromtimestamp(1800000000, datetime.timezone.utc)
ROUND = ScamperDealiasMidardiscRound(datetime.timedelta(seconds=1, microseconds=5), 0, 1)
D = "192.0.2.1"

TEXTS: list[tuple[str, dict[str, Any], str]] = [
    ("ping", dict(dst=D), "ping 192.0.2.1"),
    (
        "ping",
        dict(
            dst=ScamperAddr(D),
            attempts=2,
            wait_probe=0.5,
            wait_timeout=datetime.timedelta(seconds=1.25),
            ttl=3,
            size=100,
            userid=7,
            tos=4,
            src="192.0.2.9",
            rtr="192.0.2.8",
            stop_count=1,
            payload=b"\1\2",
            icmp_id=5,
            icmp_seq=6,
            icmp_sum=7,
            mtu=1280,
            dltx=True,
        ),
        "ping -B 0102 -c 2 -C 7 -d 6 -F 5 -i 0.5s -m 3 -M 1280 -o 1 -r 192.0.2.8 -O dltx -s 100 -S 192.0.2.9 -U 7 -W 1.25s -z 4 192.0.2.1",
    ),
    ("ping", dict(dst=D, method="tcp-ack", tcp_ack=9, sport=1, dport=2), "ping -A 9 -d 2 -F 1 -P tcp-ack 192.0.2.1"),
    ("ping", dict(dst=D, method="tcp-syn", tcp_seq=9, tcp_mss=1400), "ping -A 9 -O mss=1400 -P tcp-syn 192.0.2.1"),
    ("ping", dict(dst=D, ip_rr=True, ip_ts="tsonly"), "ping -R -T tsonly 192.0.2.1"),
    (
        "ping",
        dict(dst=D, ip_ts=["192.0.2.2", ScamperAddr("192.0.2.3")]),
        "ping -T tsprespec=192.0.2.2,192.0.2.3 192.0.2.1",
    ),
    ("trace", dict(dst=D), "trace 192.0.2.1"),
    (
        "trace",
        dict(
            dst=D,
            method="udp-paris",
            sport=5,
            dport=6,
            firsthop=2,
            gaplimit=3,
            loops=4,
            hoplimit=20,
            pmtud=True,
            squeries=2,
            ptr=True,
            payload=b"ab",
            attempts=3,
            all_attempts=True,
            rtr="192.0.2.8",
            src="192.0.2.9",
            tos=1,
            wait_timeout=2,
            wait_probe=0.25,
            userid=8,
        ),
        "trace -s 5 -d 6 -f 2 -g 3 -l 4 -m 20 -M -N 2 -O ptr -p 6162 -P udp-paris -q 3 -Q -r 192.0.2.8 -S 192.0.2.9 -t 1 -U 8 -w 2s -W 0.25s 192.0.2.1",
    ),
    ("trace", dict(dst=D, icmp_id=4, icmp_sum=5), "trace -d 5 -s 4 -P icmp-paris 192.0.2.1"),
    ("trace", dict(dst=D, confidence=95), "trace -c 95 192.0.2.1"),
    (
        "tracelb",
        dict(
            dst=D,
            method="udp-dport",
            confidence=99,
            dport=5,
            sport=6,
            firsthop=2,
            gaplimit=2,
            attempts=3,
            ptr=True,
            rtr="192.0.2.8",
            tos=1,
            wait_timeout=2,
            wait_probe=0.25,
            userid=8,
        ),
        "tracelb -c 99 -d 5 -f 2 -g 2 -P udp-dport -q 3 -O ptr -r 192.0.2.8 -s 6 -t 1 -U 8 -w 2s -W 0.25s 192.0.2.1",
    ),
    ("dns", dict(qname="example.com"), "host example.com"),
    (
        "dns",
        dict(
            qname="example.com",
            server="192.0.2.53",
            qclass="IN",
            qtype="AAAA",
            attempts=2,
            rd=False,
            wait_timeout=1,
            tcp=True,
            nsid=True,
            ecs="192.0.2.0/24",
            userid=1,
            mqtypes=["A", "AAAA"],
        ),
        "host -s 192.0.2.53 -c IN -t AAAA -R 2 -W 1s -U 1 -r -T -O nsid -O subnet=192.0.2.0/24 -O mqtypes=A,AAAA example.com",
    ),
    (
        "http",
        dict(
            dst=D, url="http://example.com/it's", headers={"A": "b", "C": "d e"}, insecure=True, limit_time=5, userid=2
        ),
        "http -O insecure -m 5s -H 'A: b' -H 'C: d e' -U 2 -u 'http://example.com/it\\'s' 192.0.2.1",
    ),
    (
        "http",
        dict(dst=D, url="http://example.com/", ech_grease=True),
        "http -O grease -u 'http://example.com/' 192.0.2.1",
    ),
    (
        "http",
        dict(dst=D, url="http://example.com/", ech_config_list="AAAA"),
        "http -O ecl=AAAA -u 'http://example.com/' 192.0.2.1",
    ),
    (
        "udpprobe",
        dict(dst=D, dport=53, payload=b"\0\1", attempts=2, src="192.0.2.9", stop_count=1, userid=3),
        "udpprobe -d 53 -p 0001 -c 2 -o 1 -S 192.0.2.9 -U 3 192.0.2.1",
    ),
    (
        "ally",
        dict(
            dst1=D,
            dst2="192.0.2.2",
            fudge=0,
            method="udp",
            sport=1,
            dport=2,
            attempts=5,
            wait_probe=0.1,
            wait_timeout=2,
            userid=1,
        ),
        "dealias -m ally -p '-P udp -F 1 -d 2' -q 5 -O inseq -U 1 -W 0.1s -w 2s 192.0.2.1 192.0.2.2",
    ),
    (
        "ally",
        dict(dst1=D, dst2="192.0.2.2", fudge=200, icmp_sum=7),
        "dealias -m ally -p '-P icmp-echo -c 7' -f 200 192.0.2.1 192.0.2.2",
    ),
    ("mercator", dict(dst=D, userid=1), "dealias -m mercator -U 1 192.0.2.1"),
    (
        "prefixscan",
        dict(near=D, far="192.0.2.2", prefixlen=30, fudge=10),
        "dealias -m prefixscan -p '-P udp' -f 10 192.0.2.1 192.0.2.2/30",
    ),
    (
        "prefixscan",
        dict(
            near=D,
            far="192.0.2.2",
            prefixlen=30,
            method="tcp-ack",
            dport=80,
            attempts=2,
            wait_probe=1,
            wait_timeout=3,
            userid=4,
        ),
        "dealias -m prefixscan -p '-P tcp-ack -d 80' -q 2 -U 4 -W 1s -w 3s 192.0.2.1 192.0.2.2/30",
    ),
    (
        "radargun",
        dict(
            addrs=[D, "192.0.2.2"],
            rounds=3,
            probedefs=[ScamperDealiasProbedef("icmp-echo", ttl=64, size=30, icmp_sum=5)],
            wait_probe=0.01,
            wait_round=0.5,
            wait_timeout=1,
            userid=3,
        ),
        "dealias -m radargun -q 3 -U 3 -W 0.01s -r 0.5s -w 1s -p '-P icmp-echo -c 5 -s 30 -t 64' 192.0.2.1 192.0.2.2",
    ),
    (
        "radargun",
        dict(probedefs=[ScamperDealiasProbedef("udp", dst=D, sport=4, dport=5)]),
        "dealias -m radargun -p '-P udp -d 5 -F 4 -i 192.0.2.1'",
    ),
    (
        "midarest",
        dict(
            rounds=2,
            wait_probe=0.05,
            wait_round=0.3,
            wait_timeout=2,
            probedefs=[ScamperDealiasProbedef("icmp-echo")],
            addrs=[D],
            userid=3,
        ),
        "dealias -m midarest -q 2 -U 3 -W 50 -w 2 -r 300 -p '-P icmp-echo' 192.0.2.1",
    ),
    (
        "midardisc",
        dict(
            probedefs=[
                ScamperDealiasProbedef("icmp-echo", dst=D),
                ScamperDealiasProbedef("tcp-ack", dst=ScamperAddr("192.0.2.2"), dport=80),
            ],
            schedule=[ScamperDealiasMidardiscRound(datetime.timedelta(seconds=1, microseconds=5), 0, 1)],
            startat=AT,
            wait_timeout=2,
            userid=5,
        ),
        "dealias -m midardisc -U 5 -w 2 -@ 1800000000.0 -p '-P icmp-echo -i 192.0.2.1' -p '-P tcp-ack -d 80 -i 192.0.2.2' -S 1.000005:0:1",
    ),
    (
        "owamp",
        dict(
            dst=D,
            direction="tx",
            attempts=3,
            dscp=1,
            schedule="0.1e",
            size=100,
            startat=AT,
            ttl=3,
            wait_timeout=2,
            userid=4,
        ),
        "owamp -@ 1800000000.0 -w 2s -i 0.1e -c 3 -s 100 -m 3 -D 1 -U 4 -d tx 192.0.2.1",
    ),
    (
        "sniff",
        dict(src=D, icmp_id=5, limit_pkt_count=3, limit_time=4, userid=2),
        "sniff -S 192.0.2.1 -c 3 -G 4s -U 2 icmp[icmpid] == 5",
    ),
    ("tbit", dict(dst=D, method="pmtud", url="http://x/", userid=2), "tbit -U 2 -u 'http://x/' -t pmtud 192.0.2.1"),
]

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("ping", dict(dst=None)),
    ("ping", dict(dst=D, dport=5)),
    ("ping", dict(dst=D, dport=5, method="icmp-echo")),
    ("ping", dict(dst=D, tcp_ack=5)),
    ("ping", dict(dst=D, tcp_ack=5, method="tcp-syn")),
    ("ping", dict(dst=D, icmp_sum=5, method="udp")),
    ("ping", dict(dst=D, ip_ts="sometimes")),
    ("trace", dict(dst=D, sport=5)),
    ("trace", dict(dst=D, icmp_sum=5, method="udp")),
    ("tracelb", dict(dst=D, sport=5, method="icmp-echo")),
    ("dns", dict(qname="example.com", attempts=0)),
    ("dns", dict(qname="example.com", mqtypes=[])),
    ("http", dict(dst=D, url=None)),
    ("http", dict(dst=D, url="http://x/", ech_grease=True, ech_config_list="AAAA")),
    ("http", dict(dst=D, url="http://x/", headers={"a": "\u00e4"})),
    ("udpprobe", dict(dst=D, dport=0, payload=b"x")),
    ("ally", dict(dst1=D, dst2=D, fudge=70000)),
    ("ally", dict(dst1=D, dst2=D, icmp_sum=1, method="udp")),
    ("radargun", dict(probedefs=[ScamperDealiasProbedef("udp")])),
    ("radargun", dict(probedefs=[ScamperDealiasProbedef("udp", dst=D)], addrs=[D])),
    ("radargun", dict(addrs=[D])),
    ("midarest", dict(addrs=[D], probedefs=[ScamperDealiasProbedef("udp")], wait_probe=0.0001)),
    ("midardisc", dict(schedule=[], probedefs=[ScamperDealiasProbedef("udp", dst=D)])),
    ("owamp", dict(dst=D, direction="both")),
    ("sniff", dict(src=D, icmp_id=70000)),
    ("tbit", dict(dst=D)),
]


@pytest.mark.parametrize(("kind", "given", "text"), TEXTS)
def test_a_command_is_this_text(kind: str, given: dict[str, Any], text: str, tmp_path: pathlib.Path) -> None:
    asked: list[str] = []
    with Server(tmp_path / "sock", answering(asked)) as server:
        control = ScamperCtrl[None](unix=server.path)
        getattr(control, f"do_{kind}")(**given)
        control.done()
        while not control.is_done():
            control.poll()
    assert asked == [text]


def test_what_makes_no_command_is_not_sent(tmp_path: pathlib.Path) -> None:
    asked: list[str] = []
    with Server(tmp_path / "sock", answering(asked)) as server:
        control = ScamperCtrl[None](unix=server.path)
        for kind, given in REFUSED:
            with pytest.raises(ValueError):
                getattr(control, f"do_{kind}")(**given)
        for split in ["192.0.2.1\nping 192.0.2.2", "192.0.2.1\x00", "\u00e4"]:
            with pytest.raises(RuntimeError, match="printable"):
                control.do_ping(split)
        control.done()
        assert control.poll() is None
    assert asked == []


def test_addresses_are_texts_as_well() -> None:
    assert str(ScamperAddr(D)) == D
