"""The round trip from everywhere to each authoritative server of a zone: `authoritative.py ZONE [RESOLVER]`."""

import sys

import mmn

zone, resolver = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None

with mmn.connect() as net:
    # One vantage point finds the servers …
    first = net.vps("kind:dns")[0]
    addresses: dict[str, str] = {}
    for server in first.dns(zone, type="NS", server=resolver).answer:
        for record in first.dns(server.rdata, type="A", server=resolver).answer:
            addresses[record.rdata] = server.rdata

    # … and all measure all of them at once, each with the question that it is there for.
    under_way = {
        address: net.dns(zone, type="SOA", server=address, rd=False, vps="kind:dns", timeout="1s") for address in addresses
    }
    for address, measurement in under_way.items():
        answered = [(r.rtt_ns, r.vp_name) for r in measurement if r.rtt_ns is not None]
        for rtt_ns, vp in sorted(answered):
            print(addresses[address], address, vp, f"{rtt_ns / 1e6:.1f} ms", sep="\t")
