"""Which sites of a public resolver have a name in their cache, and since when: `snoop.py RESOLVER AUTHORITY NAME…`.

In the manner of Trufflehunter (Randall et al., IMC 2020): a question without recursion is answered from the cache alone and
adds nothing to it; what is left of the TTL tells when the cache was filled, and so tells the caches of a site apart.
The authority, a server of the names' own zone, says how long the TTL is when it is whole.
"""

import sys
import time
from collections import defaultdict

import mmn

resolver, authority, *names = sys.argv[1:]

with mmn.connect() as net:
    first = net.vps("kind:dns")[0]
    whole: dict[str, int] = {}
    for name in names:
        answer = first.dns(name, server=authority, rd=False).answer
        if not answer:
            sys.exit(f"{authority} does not know {name}")
        whole[name] = min(record.ttl for record in answer)

    # By name and site: when its caches were filled, to the second.
    filled: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    asked: defaultdict[str, set[str]] = defaultdict(set)
    for r in net.dns(names, server=resolver, rd=False, nsid=True, retries=0, timeout="1s", vps="kind:dns"):
        if r.nsid is None:
            continue
        asked[r.target].add(r.nsid)
        if r.answer:
            left = min(record.ttl for record in r.answer)
            filled[r.target, r.nsid].add(round(time.time()) - (whole[r.target] - left))

for name in names:
    for site in sorted(asked[name]):
        # A second more or less is the same filling: TTLs are whole seconds.
        times = sorted(filled[name, site])
        caches = [at for place, at in enumerate(times) if place == 0 or at - times[place - 1] > 1]
        told = " ".join(f"{time.time() - at:.0f}s" for at in caches)
        print(name, site, f"{len(caches)} cached, filled before {told}" if caches else "not cached", sep="\t")
