"""How far this vantage point's clock is from that of an NTP server (RFC 5905), and how long the question took."""

import socket
import struct
import time
from dataclasses import dataclass
from typing import Annotated

import mmn.module
from mmn.module import Cost, Failed, Field, Task

UNIX_EPOCH = 2_208_988_800  # in seconds since 1900


@dataclass
class Offset:
    """What an NTP server said."""

    server: Annotated[str, "the address that was asked"]
    offset_ns: Annotated[int, Field("how far the server's clock is ahead of this one", unit="ns")]
    rtt_ns: Annotated[int, Field("the round trip, without the server's own time", min=0, unit="ns")]
    stratum: Annotated[int, Field("how many servers away the reference clock is; 0 where it is not said", min=0, max=255)]
    leap: Annotated[int, Field("1 or 2: the last minute of the day has a second more or less; 3: not synchronised", min=0)]


@mmn.module.kind("ntp", input="target", cost=Cost(packets=1, bytes=76, seconds=2.0))
def ntp(
    task: Task,
    port: Annotated[int, Field("the server's UDP port", min=1, max=65535)] = 123,
    wait: Annotated[float, Field("how long to wait for the answer, in seconds", min=0.01, max=60)] = 2.0,
) -> Offset:
    """asks an NTP server for the time, and compares"""
    address = task.resolve(task.target)[0]
    task.pace(address, packets=1, bytes=76)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(min(wait, task.remaining))
        asking.connect((str(address), port))
        nonce = time.time_ns().to_bytes(8, "big")  # What the server gives back as the origin.
        sent, sent_at = time.monotonic_ns(), time.time_ns()
        asking.send(b"\x23" + bytes(39) + nonce)
        answer = asking.recv(512)
        rtt_ns = time.monotonic_ns() - sent
    if len(answer) < 48 or answer[24:32] != nonce or answer[0] & 7 != 4:
        raise Failed("protocol", "the answer is none to this question")
    task.answered = True
    received, transmitted = stamp_ns(answer[32:40]), stamp_ns(answer[40:48])
    came_at = sent_at + rtt_ns
    return Offset(
        server=str(address),
        offset_ns=((received - sent_at) + (transmitted - came_at)) // 2,
        rtt_ns=max(0, rtt_ns - (transmitted - received)),
        stratum=answer[1],
        leap=answer[0] >> 6,
    )


def stamp_ns(octets: bytes) -> int:
    """An NTP timestamp in nanoseconds since 1970."""
    seconds, fraction = struct.unpack("!II", octets)
    return int((seconds - UNIX_EPOCH) * 1_000_000_000 + (fraction * 1_000_000_000 >> 32))


if __name__ == "__main__":
    mmn.module.run()
