"""mmn: Internet measurement as a programming environment.

    import mmn

    with mmn.connect() as net:                       # the `mmn up` of this machine, or connect("https://…", token=…)
        for vp in net.vps("country:DE"):             # vantage points are objects
            print(vp, vp.ping("192.0.2.1").rtt_min_ns)   # one call, one result
        for r in net.ping(["192.0.2.1", "192.0.2.2"], vps="all"):   # many, as they arrive
            print(r.vp, r.target, r.rtt_min_ns)

Begin with `connect`, then `Network` and `VantagePoint`. `mmn.aio` is the same for asyncio. Times are integers in nanoseconds
(`_ns`); what was not measured is `None`.
"""

from ._errors import (
    ApiError,
    ConnectionLost,
    Error,
    ForkError,
    MeasurementCancelled,
    MeasurementError,
    MeasurementFailed,
    MeasurementLost,
    MeasurementRefused,
    NotRunning,
    UsageError,
    WaitTimeout,
)
from ._measurement import Feed, Ledger, Measurement
from ._network import Network, connect
from ._results import Reason, Result, Results, collect
from ._vps import VantagePoint

__all__ = [
    "ApiError",
    "ConnectionLost",
    "Error",
    "Feed",
    "ForkError",
    "Ledger",
    "Measurement",
    "MeasurementCancelled",
    "MeasurementError",
    "MeasurementFailed",
    "MeasurementLost",
    "MeasurementRefused",
    "Network",
    "NotRunning",
    "Reason",
    "Result",
    "Results",
    "UsageError",
    "VantagePoint",
    "WaitTimeout",
    "collect",
    "connect",
]
