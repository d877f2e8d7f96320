"""One ping from one vantage point: `ping.py MUX VP ADDRESS`."""

import sys

from scamper import ScamperCtrl

mux, name, address = sys.argv[1:]
ctrl = ScamperCtrl(mux=mux)
ctrl.add_vps([vp for vp in ctrl.vps() if vp.name == name])
ping = ctrl.do_ping(address, attempts=3, wait_probe=0.1, stop_count=3, sync=True)
for reply in ping:
    print(reply.attempt, reply.src, f"{reply.rtt.total_seconds() * 1000:.1f} ms", sep="\t")
print(f"{ping.nreplies} of {ping.probe_count}, at least {ping.min_rtt.total_seconds() * 1000:.1f} ms")
