"""The sites of an anycast name server, and who is served by which: `anycast.py ADDRESS`.

Servers tell their site to the question `id.server`, class CHAOS, type TXT (RFC 4892).
"""

import sys
from collections import defaultdict

import mmn

address = sys.argv[1]
served: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)

with mmn.connect() as net:
    for r in net.dns("id.server", class_="CH", type="TXT", server=address, vps="kind:dns", timeout="1s"):
        if r.answer and r.rtt_ns is not None:
            served[r.answer[0].rdata.strip('"')].append((r.rtt_ns, str(r.vp_name)))
        else:
            print(f"{r.vp_name}: {r.reason or 'no answer'}", file=sys.stderr)

for site, vps in sorted(served.items()):
    print(site, *(f"{vp} {rtt_ns / 1e6:.1f} ms" for rtt_ns, vp in sorted(vps)), sep="\t")
