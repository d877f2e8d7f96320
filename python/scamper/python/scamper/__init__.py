"""Scamper's module over mmn: warts files, and measurements from vantage points of scamper and of mmn."""

from scamper._enums import (
    ScamperHostStop,
    ScamperHostType,
    ScamperHttpEchStatus,
    ScamperHttpStop,
    ScamperOwampResult,
    ScamperOwampSchedType,
    ScamperPingStop,
    ScamperSniffStop,
    ScamperTracelbMethod,
    ScamperTraceStop,
    ScamperUdpprobeStop,
)
from scamper._native import *
