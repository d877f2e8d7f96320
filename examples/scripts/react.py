"""Watches a target, and traces from the three nearest vantage points as soon as it loses packets: `react.py VP TARGET`."""

import sys

import mmn

name, target = sys.argv[1:]

with mmn.connect() as net:
    watcher = net.vp(name)
    while True:
        seen = watcher.ping(target, count=10, interval="20ms", timeout="1s")
        if seen.loss > 0.1:
            break

    # Loss: who is near, and which way do they go?
    near = [r for r in net.ping(target, vps="kind:trace", count=5, interval="20ms", timeout="1s") if r.rtt]
    near.sort(key=lambda r: r.rtt.min_ns if r.rtt else 0)
    nearest = [r.vp for r in near[:3] if r.vp is not None]
    print("loss", f"{seen.loss:.0%}", "seen from", watcher, sep="\t")
    for trace in net.trace(target, vps=nearest, attempts=3, timeout="1s"):
        print("trace", trace.vp, *(hop.reply.from_ if hop.reply else "*" for hop in trace.hops), sep="\t")
