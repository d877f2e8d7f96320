"""Time-series latency probing of a link: `tslp.py VP DESTINATION FAR-ADDRESS ROUNDS`.

Each round sends a probe that ends at the near end of the link and one that ends at the far end, on the same way to the
destination. Where the far end becomes slow and the near end does not, the queue between them is full.
(Luckie et al., Challenges in inferring Internet interdomain congestion, IMC 2014.)
"""

import sys
import time

import mmn

name, destination, far, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

with mmn.connect() as net:
    vp = net.vp(name)

    # How far away the link's ends are.
    path = {hop.reply.from_: hop.ttl for hop in vp.trace(destination).hops if hop.reply}
    if far not in path or path[far] < 2:
        sys.exit(f"the way from {vp} to {destination} does not lead by {far}: {', '.join(path)}")
    ends = (path[far] - 1, path[far])

    for _ in range(rounds):
        began = time.time()
        trace = vp.trace(destination, first_hop=ends[0], max_ttl=ends[1], attempts=1, gap_limit=0, timeout="500ms")
        rtt = {hop.ttl: hop.reply.rtt_ns for hop in trace.hops if hop.reply}
        near_ns, far_ns = rtt.get(ends[0]), rtt.get(ends[1])
        told = ["-" if ns is None else f"{ns / 1e6:.2f}" for ns in (near_ns, far_ns)]
        print(f"{began:.3f}", *told, sep="\t", flush=True)
        time.sleep(0.05)
