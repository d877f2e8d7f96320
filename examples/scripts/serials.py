"""Whether all servers of a zone have the same copy of it, seen from many vantage points: `serials.py ZONE [RESOLVER]`.

It ends with status 1 when one is behind. An anycast server counts by its sites, which tell their names (NSID, RFC 5001).
"""

import sys
from collections import Counter

import mmn

zone, resolver = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None

with mmn.connect() as net:
    first = net.vps("kind:dns")[0]
    servers: dict[str, str] = {}
    for server in first.dns(zone, type="NS", server=resolver).answer:
        for record in first.dns(server.rdata, type="A", server=resolver).answer:
            servers[record.rdata] = server.rdata

    # Server, site and serial, and from how many vantage points they were seen so.
    seen: Counter[tuple[str, str, int]] = Counter()
    asked = {address: net.dns(zone, type="SOA", server=address, rd=False, nsid=True, vps="kind:dns") for address in servers}
    for address, measurement in asked.items():
        for r in measurement:
            for soa in r.answer:
                seen[servers[address], r.nsid or address, int(soa.rdata.split()[2])] += 1

newest = max((serial for _, _, serial in seen), default=0)
for (name, site, serial), count in sorted(seen.items()):
    print(name, site, serial, f"from {count}", "" if serial == newest else "behind", sep="\t")
sys.exit(any(serial != newest for _, _, serial in seen))
