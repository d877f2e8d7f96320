"""The vantage points of a mux, or those of a country: `vps.py MUX [COUNTRY]`."""

import sys

from scamper import ScamperCtrl

country = sys.argv[2].upper() if len(sys.argv) > 2 else None
ctrl = ScamperCtrl(mux=sys.argv[1])
for vp in sorted(ctrl.vps(), key=lambda vp: vp.name):
    if country is None or vp.cc == country:
        print(vp.name, vp.cc, vp.place, vp.asn4, vp.ipv4, vp.loc, ",".join(sorted(vp.tags)), sep="\t")
