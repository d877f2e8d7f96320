"""The text of commands, as scamper's control socket takes it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Optional, Union

from scamper._native import ScamperAddr, ScamperDealiasMidardiscRound, ScamperDealiasProbedef

Address = Union[ScamperAddr, str]
Span = Union[datetime.timedelta, float]


class Command:
    """A command that grows option by option. What is None is left out."""

    def __init__(self, kind: str, *words: str) -> None:
        self.kind = kind
        self.words = [kind, *words]

    def option(self, flag: str, value: object) -> Command:
        if value is not None:
            self.words.append(f"{flag} {value}")
        return self

    def flag(self, flag: str, given: Optional[bool]) -> Command:
        if given:
            self.words.append(flag)
        return self

    def seconds(self, flag: str, value: Optional[Span]) -> Command:
        return self if value is None else self.option(flag, f"{decimal(span(value))}s")

    def octets(self, flag: str, value: Optional[bytes]) -> Command:
        return self if value is None else self.option(flag, bytes(value).hex())

    def end(self, *words: object) -> str:
        return " ".join([*self.words, *(str(word) for word in words)])


def span(value: Span) -> datetime.timedelta:
    return value if isinstance(value, datetime.timedelta) else datetime.timedelta(seconds=value)


def decimal(value: datetime.timedelta) -> str:
    """Seconds without an exponent, and without what is no digit of theirs."""
    whole, micros = divmod(value // datetime.timedelta(microseconds=1), 1_000_000)
    return f"{whole}.{micros:06d}".rstrip("0").rstrip(".")


def quoted(text: object) -> str:
    escaped = str(text).replace("'", "\\'")
    return f"'{escaped}'"


def ports(method: Optional[str], sport: Optional[int], dport: Optional[int]) -> None:
    """Ports are of UDP and TCP."""
    if sport is None and dport is None:
        return
    if method is None:
        raise ValueError("a source or destination port needs a method")
    if not method.lower().startswith(("tcp", "udp")):
        raise ValueError(f"{method} has no source and destination ports")


def icmp(method: Optional[str], what: str, *values: Optional[int]) -> None:
    """What only ICMP has."""
    if any(value is not None for value in values) and method is not None and not method.lower().startswith("icmp"):
        raise ValueError(f"{method} has no {what}")


def ping(
    dst: Address,
    tcp_ack: Optional[int],
    tcp_seq: Optional[int],
    tcp_mss: Optional[int],
    attempts: Optional[int],
    icmp_id: Optional[int],
    icmp_seq: Optional[int],
    icmp_sum: Optional[int],
    dport: Optional[int],
    sport: Optional[int],
    wait_probe: Optional[Span],
    ttl: Optional[int],
    mtu: Optional[int],
    stop_count: Optional[int],
    method: Optional[str],
    payload: Optional[bytes],
    rtr: Optional[Address],
    ip_rr: Optional[bool],
    ip_ts: Union[str, Sequence[Address], None],
    dltx: Optional[bool],
    size: Optional[int],
    src: Optional[Address],
    wait_timeout: Optional[Span],
    tos: Optional[int],
    userid: Optional[int],
) -> str:
    if dst is None:
        raise ValueError("a ping needs a destination")
    for name, value, methods in [
        ("tcp_ack", tcp_ack, ("tcp-ack",)),
        ("tcp_seq", tcp_seq, ("tcp-syn", "tcp-rst")),
        ("tcp_mss", tcp_mss, ("tcp-syn",)),
    ]:
        if value is not None and (method is None or not method.lower().startswith(methods)):
            raise ValueError(f"{name} needs a method {' or '.join(methods)}")
    if tcp_ack is not None and tcp_seq is not None:
        raise ValueError("tcp_ack and tcp_seq exclude each other")
    icmp(method, "ICMP identifier, sequence number and checksum", icmp_id, icmp_seq, icmp_sum)
    ports(method, sport, dport)
    command = Command("ping").option("-A", tcp_ack).option("-A", tcp_seq)
    command.option("-O", None if tcp_mss is None else f"mss={tcp_mss}")
    command.octets("-B", payload).option("-c", attempts).option("-C", icmp_sum)
    command.option("-d", dport).option("-d", icmp_seq).option("-F", sport).option("-F", icmp_id)
    command.seconds("-i", wait_probe).option("-m", ttl).option("-M", mtu).option("-o", stop_count)
    command.option("-P", method).option("-r", rtr).flag("-R", ip_rr).option("-T", timestamps(ip_ts))
    command.flag("-O dltx", dltx).option("-s", size).option("-S", src).option("-U", userid)
    return command.seconds("-W", wait_timeout).option("-z", tos).end(dst)


def timestamps(option: Union[str, Sequence[Address], None]) -> Optional[str]:
    """The timestamp option of IPv4: whose stamps."""
    if option is None:
        return None
    if isinstance(option, str):
        if option.lower() not in ("tsonly", "tsandaddr"):
            raise ValueError(f"ip_ts is tsonly, tsandaddr or addresses, not {option!r}")
        return option
    if not isinstance(option, Sequence) or not all(isinstance(one, (str, ScamperAddr)) for one in option):
        raise ValueError("ip_ts is tsonly, tsandaddr or addresses")
    return f"tsprespec={','.join(str(one) for one in option)}"


def trace(
    dst: Address,
    confidence: Optional[int],
    dport: Optional[int],
    icmp_id: Optional[int],
    icmp_sum: Optional[int],
    firsthop: Optional[int],
    gaplimit: Optional[int],
    loops: Optional[int],
    hoplimit: Optional[int],
    pmtud: Optional[bool],
    squeries: Optional[int],
    ptr: Optional[bool],
    payload: Optional[bytes],
    method: Optional[str],
    attempts: Optional[int],
    all_attempts: Optional[bool],
    rtr: Optional[Address],
    sport: Optional[int],
    src: Optional[Address],
    tos: Optional[int],
    wait_timeout: Optional[Span],
    wait_probe: Optional[Span],
    userid: Optional[int],
) -> str:
    ports(method, sport, dport)
    if icmp_sum is not None and method is not None and method.lower() != "icmp-paris":
        raise ValueError(f"{method} has no ICMP checksum of one's own: icmp-paris has")
    icmp(method, "ICMP identifier", icmp_id)
    if method is None and (icmp_sum is not None or icmp_id is not None):
        method = "icmp-paris"
    command = Command("trace").option("-s", sport).option("-d", dport).option("-d", icmp_sum).option("-s", icmp_id)
    command.option("-c", confidence).option("-f", firsthop).option("-g", gaplimit).option("-l", loops)
    command.option("-m", hoplimit).flag("-M", pmtud).option("-N", squeries).flag("-O ptr", ptr)
    command.octets("-p", payload).option("-P", method).option("-q", attempts).flag("-Q", all_attempts)
    command.option("-r", rtr).option("-S", src).option("-t", tos).option("-U", userid)
    return command.seconds("-w", wait_timeout).seconds("-W", wait_probe).end(dst)


def tracelb(
    dst: Address,
    confidence: Optional[int],
    dport: Optional[int],
    firsthop: Optional[int],
    gaplimit: Optional[int],
    method: Optional[str],
    attempts: Optional[int],
    ptr: Optional[bool],
    rtr: Optional[Address],
    sport: Optional[int],
    tos: Optional[int],
    wait_timeout: Optional[Span],
    wait_probe: Optional[Span],
    userid: Optional[int],
) -> str:
    ports(method, sport, dport)
    command = Command("tracelb").option("-c", confidence).option("-d", dport).option("-f", firsthop)
    command.option("-g", gaplimit).option("-P", method).option("-q", attempts).flag("-O ptr", ptr)
    command.option("-r", rtr).option("-s", sport).option("-t", tos).option("-U", userid)
    return command.seconds("-w", wait_timeout).seconds("-W", wait_probe).end(dst)


def dns(
    qname: str,
    server: Optional[Address],
    qclass: Optional[str],
    qtype: Optional[str],
    mqtypes: Optional[list[str]],
    attempts: Optional[int],
    rd: Optional[bool],
    wait_timeout: Optional[Span],
    tcp: Optional[bool],
    nsid: Optional[bool],
    ecs: Optional[str],
    userid: Optional[int],
) -> str:
    if attempts is not None and attempts < 1:
        raise ValueError("a question is asked once at least")
    if mqtypes is not None and (not mqtypes or not all(isinstance(one, str) for one in mqtypes)):
        raise ValueError("mqtypes is a list of types' names")
    command = Command("host").option("-s", server).option("-c", qclass).option("-t", qtype).option("-R", attempts)
    command.seconds("-W", wait_timeout).option("-U", userid).flag("-r", rd is not None and not rd)
    command.flag("-T", tcp).flag("-O nsid", nsid).option("-O", None if ecs is None else f"subnet={ecs}")
    return command.option("-O", f"mqtypes={','.join(mqtypes)}" if mqtypes else None).end(qname)


def http(
    dst: Address,
    url: str,
    headers: Optional[dict[str, str]],
    insecure: Optional[bool],
    limit_time: Optional[Span],
    ech_grease: Optional[bool],
    ech_config_list: Optional[str],
    userid: Optional[int],
) -> str:
    if dst is None or url is None:
        raise ValueError("a request needs a destination and a URL")
    if ech_config_list and ech_grease:
        raise ValueError("ech_grease and ech_config_list exclude each other")
    command = Command("http").flag("-O insecure", insecure).seconds("-m", limit_time)
    for name, value in (headers or {}).items():
        if not name.isascii() or not value.isascii():
            raise ValueError(f"the header {name!r} is not ASCII")
        command.option("-H", quoted(f"{name}: {value}"))
    command.flag("-O grease", ech_grease).option("-O", f"ecl={ech_config_list}" if ech_config_list else None)
    return command.option("-U", userid).option("-u", quoted(url)).end(dst)


def udpprobe(
    dst: Address,
    dport: int,
    payload: bytes,
    attempts: Optional[int],
    src: Optional[Address],
    stop_count: Optional[int],
    userid: Optional[int],
) -> str:
    if dst is None or dport is None or payload is None:
        raise ValueError("a udpprobe needs a destination, a port and a payload")
    if not 1 <= dport <= 65535:
        raise ValueError(f"there is no port {dport}")
    command = Command("udpprobe").option("-d", dport).octets("-p", payload).option("-c", attempts)
    return command.option("-o", stop_count).option("-S", src).option("-U", userid).end(dst)


def tbit(dst: Address, method: Optional[str], url: Optional[str], userid: Optional[int]) -> str:
    if dst is None or method is None or url is None:
        raise ValueError("a tbit needs a destination, a method and a URL")
    return Command("tbit").option("-U", userid).option("-u", quoted(url)).option("-t", method).end(dst)


def sniff(
    src: Address, icmp_id: int, limit_pkt_count: Optional[int], limit_time: Optional[Span], userid: Optional[int]
) -> str:
    if not 0 <= icmp_id <= 65535:
        raise ValueError(f"there is no ICMP identifier {icmp_id}")
    if limit_pkt_count is not None and limit_pkt_count < 1:
        raise ValueError("a capture has one packet at least")
    if limit_time is not None and span(limit_time) < datetime.timedelta(seconds=1):
        raise ValueError("a capture takes a second at least")
    command = Command("sniff").option("-S", src).option("-c", limit_pkt_count).seconds("-G", limit_time)
    return command.option("-U", userid).end(f"icmp[icmpid] == {icmp_id}")


def owamp(
    dst: Address,
    direction: str,
    attempts: Optional[int],
    dscp: Optional[int],
    schedule: Optional[str],
    size: Optional[int],
    startat: Optional[datetime.datetime],
    ttl: Optional[int],
    wait_timeout: Optional[Span],
    userid: Optional[int],
) -> str:
    if dst is None or direction not in ("tx", "rx"):
        raise ValueError("an owamp needs a destination and a direction, tx or rx")
    command = Command("owamp").option("-@", None if startat is None else startat.timestamp())
    command.seconds("-w", wait_timeout).option("-i", schedule).option("-c", attempts).option("-s", size)
    return command.option("-m", ttl).option("-D", dscp).option("-U", userid).option("-d", direction).end(dst)


def dealias(method: str) -> Command:
    command = Command(method)
    command.words = ["dealias", f"-m {method}"]
    return command


def pair(
    command: Command,
    fudge: Optional[int],
    icmp_sum: Optional[int],
    dport: Optional[int],
    sport: Optional[int],
    method: Optional[str],
    attempts: Optional[int],
    wait_probe: Optional[Span],
    wait_timeout: Optional[Span],
    userid: Optional[int],
) -> Command:
    """What ally and prefixscan have in common."""
    if icmp_sum is not None and method is None:
        method = "icmp-echo"
    icmp(method, "ICMP checksum", icmp_sum)
    ports(method, sport, dport)
    if fudge is not None and not 0 <= fudge <= 65535:
        raise ValueError("fudge is between 0 and 65535")
    if method is not None:
        probe = Command(f"-P {method.lower()}").option("-F", sport).option("-d", dport).option("-c", icmp_sum)
        command.option("-p", quoted(probe.end()))
    command.option("-q", attempts)
    # Without room for other counters, identifiers are to be in sequence.
    command.flag("-O inseq", fudge == 0).option("-f", fudge or None).option("-U", userid)
    return command.seconds("-W", wait_probe).seconds("-w", wait_timeout)


def definitions(command: Command, probedefs: object, each: Callable[[ScamperDealiasProbedef], None]) -> None:
    if not isinstance(probedefs, Sequence) or not probedefs:
        raise ValueError("probedefs is a list of definitions")
    for one in probedefs:
        if not isinstance(one, ScamperDealiasProbedef):
            raise ValueError("probedefs has something that is no definition")
        each(one)
        command.option("-p", quoted(one))


def milliseconds(name: str, value: Optional[Span]) -> Optional[int]:
    if value is None:
        return None
    whole = span(value) // datetime.timedelta(milliseconds=1)
    if whole < 1:
        raise ValueError(f"{name} is 1 ms at least")
    return whole


def at_least_a_second(value: Optional[Span]) -> Optional[str]:
    if value is None:
        return None
    if span(value) < datetime.timedelta(seconds=1):
        raise ValueError("wait_timeout is 1 s at least")
    text = decimal(span(value))
    return text if text.isdigit() else f"{text}s"


def radargun(
    addrs: Optional[Sequence[Address]],
    rounds: Optional[int],
    probedefs: Optional[Sequence[ScamperDealiasProbedef]],
    wait_probe: Optional[Span],
    wait_round: Optional[Span],
    wait_timeout: Optional[Span],
    userid: Optional[int],
) -> str:
    for name, value in [("wait_probe", wait_probe), ("wait_round", wait_round)]:
        if value is not None and span(value) <= datetime.timedelta(0):
            raise ValueError(f"{name} is more than nothing")
    at_least_a_second(wait_timeout)
    command = dealias("radargun").option("-q", rounds).option("-U", userid).seconds("-W", wait_probe)
    command.seconds("-r", wait_round).seconds("-w", wait_timeout)

    def each(one: ScamperDealiasProbedef) -> None:
        if (addrs is None) == (one.dst is None):
            raise ValueError("addresses are in the definitions or in addrs")

    definitions(command, probedefs, each)
    return command.end(*(addrs or []))


def midarest(
    rounds: Optional[int],
    wait_probe: Optional[Span],
    wait_round: Optional[Span],
    wait_timeout: Optional[Span],
    probedefs: Optional[Sequence[ScamperDealiasProbedef]],
    addrs: Optional[Sequence[Address]],
    userid: Optional[int],
) -> str:
    if not addrs:
        raise ValueError("midarest needs addresses")
    command = dealias("midarest").option("-q", rounds).option("-U", userid)
    command.option("-W", milliseconds("wait_probe", wait_probe)).option("-w", at_least_a_second(wait_timeout))
    command.option("-r", milliseconds("wait_round", wait_round))
    definitions(command, probedefs, lambda one: None)
    return command.end(*addrs)


def midardisc(
    probedefs: Optional[Sequence[ScamperDealiasProbedef]],
    schedule: Optional[Sequence[ScamperDealiasMidardiscRound]],
    startat: Optional[datetime.datetime],
    wait_timeout: Optional[Span],
    userid: Optional[int],
) -> str:
    if not schedule or not all(isinstance(one, ScamperDealiasMidardiscRound) for one in schedule):
        raise ValueError("midardisc needs a schedule, a list of rounds")
    command = dealias("midardisc").option("-U", userid).option("-w", at_least_a_second(wait_timeout))
    command.option("-@", None if startat is None else startat.timestamp())

    def each(one: ScamperDealiasProbedef) -> None:
        if one.dst is None:
            raise ValueError("each definition needs an address")

    definitions(command, probedefs, each)
    for one in schedule:
        command.option("-S", one)
    return command.end()
