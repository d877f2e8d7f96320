"""Which vantage points are nearest to an address: `shortest.py MUX ADDRESS`."""

import datetime
import sys

from scamper import ScamperCtrl

ctrl = ScamperCtrl(mux=sys.argv[1])
ctrl.do_ping(sys.argv[2], attempts=1, inst=ctrl.add_vps(ctrl.vps()))
answered = [ping for ping in ctrl.responses(timeout=datetime.timedelta(seconds=10)) if ping.min_rtt is not None]
for ping in sorted(answered, key=lambda ping: ping.min_rtt)[:5]:
    print(ping.inst.name, ping.inst.cc, f"{ping.min_rtt.total_seconds() * 1000:.1f} ms", sep="\t")
