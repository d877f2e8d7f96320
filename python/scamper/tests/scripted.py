"""Servers that say what a script says, byte by byte, and a small one that answers whatever it is asked."""

from __future__ import annotations

import binascii
import pathlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable

FIXTURES = pathlib.Path(__file__).resolve().parents[3] / "crates" / "warts" / "tests" / "data"

# How long a peer is waited for before a test has failed, in seconds.
PATIENCE = 20


def records(name: str) -> list[bytes]:
    """The records of a file, each with its header."""
    octets = (FIXTURES / name).read_bytes()
    found = []
    while octets:
        length = 8 + struct.unpack(">I", octets[4:8])[0]
        found.append(octets[:length])
        octets = octets[length:]
    return found


def of_type(name: str, number: int) -> list[bytes]:
    return [record for record in records(name) if struct.unpack(">H", record[2:4])[0] == number]


def uu(octets: bytes) -> bytes:
    lines = [binascii.b2a_uu(octets[at : at + 45], backtick=True) for at in range(0, len(octets), 45)]
    return b"".join(lines) + b"`\n"


def data(octets: bytes, number: int | None = None) -> bytes:
    text = uu(octets)
    name = b"" if number is None else b" id-%d" % number
    return b"DATA %d%s\n%s" % (len(text), name, text)


LIST = records("ping.warts")[0]
CYCLE = of_type("ping.warts", 2)[0]
PINGS = of_type("ping.warts", 7)
GREETING = b"MORE\n" + data(LIST) + data(CYCLE)


def frame(channel: int, octets: bytes) -> bytes:
    return struct.pack(">II", channel, len(octets)) + octets


def vp(instance: int, *attributes: tuple[int, str]) -> bytes:
    said = b"".join(struct.pack(">H", number) + text.encode() + b"\0" for number, text in attributes)
    return frame(0, struct.pack(">HI", 0, instance) + said)


GO = frame(0, struct.pack(">H", 2))


def departs(instance: int) -> bytes:
    return frame(0, struct.pack(">HI", 1, instance))


def opened(instance: int, channel: int) -> bytes:
    return frame(0, struct.pack(">HII", 3, instance, channel))


class Peer:
    """The other end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def expect(self, octets: bytes) -> None:
        came = b""
        while len(came) < len(octets):
            more = self.connection.recv(len(octets) - len(came))
            assert more, f"the connection ended after {came!r}, and {octets!r} was expected"
            came += more
        assert came == octets

    def say(self, octets: bytes, at_a_time: int | None = None) -> None:
        for at in range(0, len(octets), at_a_time or len(octets)):
            self.connection.sendall(octets[at : at + (at_a_time or len(octets))])

    def ends(self) -> None:
        assert self.connection.recv(1) == b""

    def lines(self) -> Iterable[str]:
        kept = b""
        while more := self.connection.recv(65536):
            kept += more
            *lines, kept = kept.split(b"\n")
            yield from (line.decode() for line in lines)


class Server:
    """Listens on a socket, and gives each connection in turn to its function."""

    def __init__(self, path: pathlib.Path, *served: Callable[[Peer], None], tcp: bool = False) -> None:
        self.path = str(path)
        self.served = served
        self.failed: list[BaseException] = []
        if tcp:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.path)
            self.listener.listen()
        self.listener.settimeout(PATIENCE)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        try:
            for serve in self.served:
                connection, _ = self.listener.accept()
                with connection:
                    connection.settimeout(PATIENCE)
                    serve(Peer(connection))
        except BaseException as error:  # it is the test's to fail with
            self.failed.append(error)

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.thread.join(PATIENCE)
        self.listener.close()
        if self.failed and kind is None:
            raise self.failed[0]
        assert kind is not None or not self.thread.is_alive()


def answering(asked: list[str], answers: list[bytes] | None = None, greet: bool = False) -> Callable[[Peer], None]:
    """Takes on whatever is asked, and answers each line with the same records in turn."""

    def serve(peer: Peer) -> None:
        number = 0
        if greet:
            peer.say(GREETING)
        for line in peer.lines():
            if line == "attach":
                peer.say(b"OK\n" + GREETING)
            elif line == "done":
                peer.say(b"OK\n")
                return
            elif line.startswith("halt "):
                peer.say(b"OK halted %s\n" % line[5:].encode())
            else:
                asked.append(line)
                number += 1
                results = answers or PINGS
                peer.say(b"OK id-%d\n" % number + data(results[number % len(results)], number) + b"MORE\n")

    return serve
