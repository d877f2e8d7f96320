"""How far the name servers of a zone are from each vantage point: `authoritative.py MUX RESOLVER ZONE`."""

import sys

from scamper import ScamperCtrl

mux, resolver, zone = sys.argv[1:]
ctrl = ScamperCtrl(mux=mux)
insts = ctrl.add_vps(ctrl.vps())

# The first vantage point finds the servers, and all measure.
servers = ctrl.do_dns(zone, server=resolver, qtype="NS", inst=insts[0], sync=True).ans_nses()
for server in servers:
    for address in ctrl.do_dns(server, server=resolver, qtype="A", inst=insts[0], sync=True).ans_addrs():
        ctrl.do_ping(address, attempts=1, inst=insts)
        for ping in sorted(ctrl.responses(timeout=10), key=lambda ping: ping.inst.name):
            rtt = "-" if ping.min_rtt is None else f"{ping.min_rtt.total_seconds() * 1000:.1f} ms"
            print(server, address, ping.inst.name, rtt, sep="\t")
