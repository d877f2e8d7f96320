"""Numbers that have names."""

import enum


class ScamperHostType(enum.IntEnum):
    """Types of DNS records."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    MX = 15
    TXT = 16
    AAAA = 28
    OPT = 41
    DS = 43
    SSHFP = 44
    RRSIG = 46
    NSEC = 47
    DNSKEY = 48
    SVCB = 64
    HTTPS = 65


class ScamperHostStop(enum.IntEnum):
    """Why a question to a DNS server ended."""

    NoReason = 0
    Completed = 1
    Timeout = 2
    Halted = 3
    Error = 4


class ScamperHttpStop(enum.IntEnum):
    """Why a request by HTTP ended."""

    NoReason = 0
    Halted = 1
    NoConnection = 2
    Completed = 3
    Error = 4
    Timeout = 5
    Insecure = 6


class ScamperHttpEchStatus(enum.IntEnum):
    """What became of the encrypted client hello."""

    NoStatus = 0
    Unknown = 1
    Failed = 2
    Success = 3
    Grease = 4
    GreaseEch = 5
    Backend = 6
    BadCall = 7
    NotTried = 8
    BadName = 9
    NotConfigured = 10
    FailedEch = 11
    FailedEchBadName = 12


class ScamperOwampResult(enum.IntEnum):
    """How a measurement of one-way delay ended."""

    NoReason = 0
    Completed = 1
    Halted = 2
    Error = 3
    NoConn = 4
    NotAccepted = 5
    NoMode = 6
    Timeout = 7


class ScamperOwampSchedType(enum.IntEnum):
    """How a slot of the schedule is meant."""

    Fixed = 0
    Exponential = 1


class ScamperPingStop(enum.IntEnum):
    """Why a ping ended."""

    NoReason = 0
    Completed = 1
    Error = 2
    Halted = 3
    InProgress = 4


class ScamperSniffStop(enum.IntEnum):
    """Why a capture ended."""

    NoReason = 0
    Error = 1
    LimitTime = 2
    LimitPktC = 3
    Halted = 4


class ScamperTraceStop(enum.IntEnum):
    """Why a trace ended."""

    NoReason = 0
    Completed = 1
    Unreach = 2
    Icmp = 3
    Loop = 4
    GapLimit = 5
    Error = 6
    HopLimit = 7
    GSS = 8
    Halted = 9
    InProgress = 10


class ScamperTracelbMethod(enum.IntEnum):
    """How a trace of all paths probed."""

    UdpDport = 1
    IcmpEcho = 2
    UdpSport = 3
    TcpSport = 4
    TcpAckSport = 5


class ScamperUdpprobeStop(enum.IntEnum):
    """Why a udpprobe ended."""

    NoReason = 0
    Completed = 1
    Halted = 2
    Error = 3
