"""Where addresses are, by the least round trip, in constant memory: `geolocate.py COUNT PREFIX…`.

Each address is first asked from one vantage point of each continent, then from all others of the continent that was nearest:
what is asked next depends on what came. Light in fibre goes 200 km in a millisecond, so an address is no farther from a
vantage point than half the round trip allows.
"""

import ipaddress
import itertools
import sys
from collections import defaultdict, deque
from dataclasses import dataclass, field

import mmn

KM_PER_NS = 200 / 1e6
AT_A_TIME = 20_000  # addresses


@dataclass
class Address:
    left: int
    best: tuple[int, mmn.VantagePoint] | None = None
    asked: set[mmn.VantagePoint] = field(default_factory=set)


nets = [ipaddress.ip_network(text) for text in sys.argv[2:]]
addresses = itertools.islice((str(net[at % net.num_addresses]) for at in itertools.count(1) for net in nets), int(sys.argv[1]))

with mmn.connect() as network:
    vps = network.vps("kind:ping")
    continents: defaultdict[str | None, list[mmn.VantagePoint]] = defaultdict(list)
    for vp in vps:
        continents[vp.continent].append(vp)
    wanted: dict[mmn.VantagePoint, deque[str]] = {vp: deque() for vp in vps}
    known: dict[str, Address] = {}

    def ask(address: str, of: list[mmn.VantagePoint]) -> None:
        known[address].left += len(of)
        known[address].asked.update(of)
        for vp in of:
            wanted[vp].append(address)

    def more(vp: mmn.VantagePoint) -> str | None:
        """The vantage point has room for another."""
        while not wanted[vp] and len(known) < AT_A_TIME and (address := next(addresses, None)):
            known[address] = Address(left=0)
            ask(address, [of[0] for of in continents.values()])
        return wanted[vp].popleft() if wanted[vp] else None

    for r in network.drive("ping", vps=vps, more=more, window=2048, count=1, timeout="1s"):
        here = known[r.target]
        here.left -= 1
        if r.rtt and (here.best is None or r.rtt.min_ns < here.best[0]):
            here.best = (r.rtt.min_ns, r.vp)
        if here.left == 0 and here.best:
            ask(r.target, [vp for vp in continents[here.best[1].continent] if vp not in here.asked])
        if here.left == 0:
            del known[r.target]
            told = (here.best[1], f"{here.best[0] / 1e6:.2f} ms", f"{here.best[0] / 2 * KM_PER_NS:.0f} km") if here.best else "-"
            print(r.target, *told, sep="\t")
