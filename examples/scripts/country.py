"""The vantage points of a country: `country.py NL`."""

import sys

import mmn

with mmn.connect() as net:
    for vp in net.vps():
        if vp.country == sys.argv[1].upper():
            print(vp.name, vp.city, f"AS{vp.asn}", vp.addresses[0], ",".join(sorted(vp.tags)), vp.health, sep="\t")
