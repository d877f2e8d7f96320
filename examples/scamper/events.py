"""Pings a list of addresses, as fast as each vantage point takes them on: `events.py MUX ADDRESS…`."""

import sys

from scamper import ScamperCtrl


def feed(ctrl, inst, left):
    """The vantage point has room for another."""
    if left[inst]:
        ctrl.do_ping(left[inst].pop(), attempts=1, inst=inst)
    else:
        inst.done()


def ended(ctrl, inst, left):
    """The vantage point is done, or gone."""
    print(inst.name, "ended")


left = {}
ctrl = ScamperCtrl(mux=sys.argv[1], morecb=feed, eofcb=ended, param=left)
for inst in ctrl.add_vps(ctrl.vps()):
    left[inst] = list(sys.argv[2:])
while not ctrl.is_done():
    ping = ctrl.poll(timeout=10)
    if ping is not None:
        print(ping.inst.name, ping.dst, ping.nreplies, sep="\t")
