"""How fast ping records become Python objects, beside copying the same octets.

    python bench.py [RECORDS]

prints one line: records per second as objects, of which each is asked for what a script asks for (destination, least RTT
and its first reply), and as objects alone; and the yardstick, how often a second the file's octets of a record can be copied
by Python.
"""

import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

from scamper import ScamperFile, ScamperPing

FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "crates" / "warts" / "tests" / "data" / "ping.warts"


def made(path: pathlib.Path, records: int) -> None:
    """A file of so many pings, as scamper wrote them."""
    with ScamperFile(str(FIXTURE)) as file:
        pings = [one for one in file if isinstance(one, ScamperPing)]
    with ScamperFile(str(path), "w") as file:
        for at in range(min(records, 7_000)):
            file.write(pings[at % len(pings)])
    # The rest is the same again, without its list and cycle.
    octets = path.read_bytes()
    with path.open("ab") as file:
        for _ in range(records // 7_000 - 1):
            file.write(octets)


def rate(records: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return records / (time.perf_counter() - began)


def read(path: pathlib.Path) -> int:
    return sum(1 for _ in ScamperFile(str(path), filter_types=[ScamperPing]))


def asked(path: pathlib.Path) -> int:
    answered = 0
    for ping in ScamperFile(str(path), filter_types=[ScamperPing]):
        reply = ping.reply(0)
        answered += ping.dst is not None and ping.min_rtt is not None and reply is not None and reply.rtt > reply.rtt / 2
    return answered


def main() -> int:
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 350_000
    records -= records % 7_000
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "pings.warts"
        made(path, records)
        copy = rate(records, lambda: (path.parent / "copy").write_bytes(path.read_bytes()))
        alone, used = rate(records, lambda: read(path)), rate(records, lambda: asked(path))
    verdict = "ok" if alone >= 100_000 else "slow"
    print(
        f"python  {records} ping records: {alone:,.0f}/s as objects (at least 100,000/s), {used:,.0f}/s asked for address, "
        f"least RTT and first reply; copying their octets {copy:,.0f}/s: {verdict}"
    )
    return 0 if verdict == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
