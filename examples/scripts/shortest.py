"""Which vantage points are nearest to a target, by the least of a few round trips: `shortest.py TARGET [HOW-MANY]`."""

import sys

import mmn

target, most = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5

with mmn.connect() as net:
    results = net.ping(target, vps="all", count=3, interval="50ms").results()

answered = [(r.rtt.min_ns, r.vp) for r in results if r.rtt is not None and r.vp is not None]
for rtt_ns, vp in sorted(answered)[:most]:
    print(vp.name, vp.country, f"{rtt_ns / 1e6:.1f} ms", sep="\t")
for r in results:
    if not r.answered:
        print(f"{r.vp_name}: {r.reason or 'no reply'}", file=sys.stderr)
