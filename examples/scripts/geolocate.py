"""Where addresses are, by the least round trip, in constant memory: `geolocate.py COUNT PREFIX…`.

Light in fibre goes 200 km in a millisecond, so each reply says how far away an address is at most, and which vantage points can't
be nearer; others are asked until none is left. The next address of a /24 is first asked from where the last one was nearest.
"""

import ipaddress
import sys
from collections import defaultdict, deque
from itertools import count, islice

import mmn

KM_PER_NS, ANYWHERE = 200 / 2 / 1e6, float("inf")
AT_A_TIME, PLACES, NEXT = 3_000, 10_000, 4
nets = [ipaddress.ip_network(text) for text in sys.argv[2:]]
addresses = map(str, islice((net[at % net.num_addresses] for at in count(1) for net in nets), int(sys.argv[1])))

with mmn.connect() as network:
    vps = [vp for vp in network.vps("kind:ping") if vp.latitude is not None]
    apart = {(a, b): a.distance_km(b.latitude or 0, b.longitude or 0) or 0.0 for a in vps for b in vps}
    spread = list({vp.continent: vp for vp in vps}.values())
    wanted: defaultdict[mmn.VantagePoint, deque[str]] = defaultdict(deque)
    asked: dict[str, dict[mmn.VantagePoint, float]] = {}  # addresses under way: how far away they are at most
    left: dict[str, int] = {}  # replies to come
    places: dict[str, list[mmn.VantagePoint]] = {}  # where a /24 is

    def ask(address: str, of: list[mmn.VantagePoint]) -> None:
        left[address] = len(of)
        asked.setdefault(address, {}).update(dict.fromkeys(of, ANYWHERE))
        for vp in of:
            wanted[vp].append(address)

    def more(vp: mmn.VantagePoint) -> str | None:
        while not wanted[vp] and len(asked) < AT_A_TIME and (address := next(addresses, None)):
            ask(address, places.get(address.rpartition(".")[0], spread))
        return wanted[vp].popleft() if wanted[vp] else None

    def others(known: dict[mmn.VantagePoint, float], least: float, nearest: mmn.VantagePoint) -> list[mmn.VantagePoint]:
        if least == ANYWHERE:
            return [vp for vp in spread if vp not in known]
        may = [vp for vp in vps if vp not in known and all(apart[vp, of] < km + least for of, km in known.items())]
        return sorted(may, key=lambda vp: apart[vp, nearest])[:NEXT]

    for r in network.drive("ping", vps=vps, more=more, window=1_000, count=1, timeout="1s"):
        if r.rtt and r.vp:
            asked[r.target][r.vp] = r.rtt.min_ns * KM_PER_NS
        left[r.target] -= 1
        if left[r.target]:
            continue
        least, nearest = min((km, vp) for vp, km in asked[r.target].items())
        if some := others(asked[r.target], least, nearest):
            ask(r.target, some)
            continue
        del asked[r.target], left[r.target]
        places[r.target.rpartition(".")[0]] = [nearest] if least < ANYWHERE else spread
        if len(places) > PLACES:
            del places[next(iter(places))]
        print(r.target, nearest if least < ANYWHERE else "-", f"{least / KM_PER_NS / 1e6:.2f} ms", f"{least:.0f} km", sep="\t")
