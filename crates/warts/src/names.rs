//! Words for the numbers of the format, as scamper has them.

macro_rules! names {
    ($( $(#[$meta:meta])* $name:ident ($type:ty) from $first:literal: $($word:literal),* $(,)?; )*) => { $(
        $(#[$meta])*
        pub fn $name(value: $type) -> Option<&'static str> {
            const WORDS: &[&str] = &[$($word),*];
            let at = usize::from(value).checked_sub($first)?;
            WORDS.get(at).copied().filter(|word| !word.is_empty())
        }
    )* };
}

names! {
    /// How a ping probed.
    ping_method(u8) from 0: "icmp-echo", "tcp-ack", "tcp-ack-sport", "udp", "udp-dport", "icmp-time", "tcp-syn", "tcp-synack",
        "tcp-rst", "tcp-syn-sport", "udp-sport";
    /// Why a ping ended.
    ping_stop(u8) from 0: "none", "done", "error", "halted", "inprogress";
    /// How a trace probed.
    trace_type(u8) from 1: "icmp-echo", "udp", "tcp", "icmp-echo-paris", "udp-paris", "tcp-ack";
    /// Why a trace ended.
    trace_stop(u8) from 0: "NONE", "COMPLETED", "UNREACH", "ICMP", "LOOP", "GAPLIMIT", "ERROR", "HOPLIMIT", "GSS", "HALTED",
        "INPROGRESS";
    /// What was concluded about the path's MTU.
    pmtud_note(u8) from 1: "ptb", "ptb-bad", "silence";
    /// How a tracelb probed.
    tracelb_type(u8) from 1: "udp-dport", "icmp-echo", "udp-sport", "tcp-sport", "tcp-ack-sport";
    /// How aliases were resolved.
    dealias_method(u8) from 1: "mercator", "ally", "radargun", "prefixscan", "bump", "midarest", "midardisc";
    /// What was found about aliases.
    dealias_result(u8) from 0: "none", "aliases", "not-aliases", "halted", "ipid-echo", "error";
    /// How the resolution of aliases probes.
    dealias_probe(u8) from 1: "icmp-echo", "tcp-ack", "udp", "tcp-ack-sport", "udp-dport", "tcp-syn-sport";
    /// How a neighbour was asked for.
    neighbourdisc_method(u8) from 1: "arp", "nd-nsol";
    /// Why a question to a DNS server ended.
    host_stop(u8) from 0: "NONE", "DONE", "TIMEOUT", "HALTED", "ERROR";
    /// A DNS response code.
    rcode(u8) from 0: "NoError", "FormErr", "ServFail", "NXDomain", "NotImp", "Refused", "YXDomain", "YXRRSet", "NXRRSet",
        "NotAuth", "NotZone", "DSOTYPENI", "", "", "", "", "BADVERS", "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG",
        "BADTRUNC", "BADCOOKIE";
    /// Why an HTTP request ended.
    http_stop(u8) from 0: "none", "halted", "noconn", "done", "error", "timeout", "insecure";
    /// What was sent or received by HTTP.
    http_buffer(u8) from 0: "data", "hdr", "tls";
    /// Why a udpprobe ended.
    udpprobe_stop(u8) from 0: "none", "done", "halted", "error";
    /// The direction of one-way delay.
    owamp_dir(u8) from 0: "tx", "rx";
    /// How a measurement of one-way delay ended.
    owamp_result(u8) from 0: "none", "done", "halted", "error", "noconn", "notaccepted", "nomode", "timeout";
    /// How a slot of OWAMP's schedule is meant.
    owamp_slot(u8) from 0: "fixed", "exponential";
    /// Why a capture ended.
    sniff_stop(u8) from 0: "none", "error", "limit-time", "limit-pktc", "halted";
    /// What was tested of a TCP server.
    tbit_type(u8) from 1: "pmtud", "ecn", "null", "sack-rcvr", "icw", "abc", "blind-data", "blind-rst", "blind-syn", "blind-fin";
    /// What was found about a TCP server.
    tbit_result(u16) from 0: "none", "tcp-noconn", "tcp-rst", "tcp-error", "sys-error", "aborted", "tcp-noconn-rst", "halted",
        "tcp-badopt", "tcp-fin", "tcp-zerowin", "", "", "", "", "", "", "", "", "", "pmtud-noack", "pmtud-nodata",
        "pmtud-toosmall", "pmtud-nodf", "pmtud-fail", "pmtud-success", "pmtud-cleardf", "", "", "", "ecn-success",
        "ecn-incapable", "ecn-badsynack", "ecn-noece", "ecn-noack", "ecn-nodata", "", "", "", "", "null-success",
        "null-nodata", "", "", "", "", "", "", "", "", "sack-incapable", "sack-rcvr-success", "sack-rcvr-shifted",
        "sack-rcvr-timeout", "sack-rcvr-nosack", "", "", "", "", "", "icw-success", "icw-tooshort", "", "", "", "", "", "",
        "", "", "abc-success", "abc-tooshort", "abc-badicw", "", "", "", "", "", "", "", "blind-accepted",
        "blind-challenge", "blind-ignored", "blind-rst", "blind-synnew";
}

/// The flags of a ping, the lowest bit first.
pub const PING_FLAGS: &[&str] = &[
    "v4rr",
    "spoof",
    "payload",
    "tsonly",
    "tsandaddr",
    "icmpsum",
    "dl",
    "tbt",
    "nosrc",
    "raw",
    "sockrx",
    "dltx",
];

/// The flags of a reply to a ping, the lowest bit first: what is known, and by what packets were stamped.
pub const PING_REPLY_FLAGS: &[&str] =
    &["reply-ttl", "reply-ipid", "probe-ipid", "dltxts", "dlrxts", "reply-tos", "pending"];

/// The flags of a trace, the lowest bit first.
pub const TRACE_FLAGS: &[&str] = &[
    "all-attempts",
    "pmtud",
    "dl",
    "ignorettldst",
    "doubletree",
    "icmp-csum-dport",
    "const-payload",
    "rxerr",
    "ptr",
    "raw",
    "back",
];

/// The flags of a reply to a trace, the lowest bit first.
pub const TRACE_REPLY_FLAGS: &[&str] =
    &["sockrxts", "dltxts", "dlrxts", "", "reply-ttl", "tcp", "udp", "pending"];

/// The flags of a tracelb, the lowest bit first.
pub const TRACELB_FLAGS: &[&str] = &["ptr"];

/// The flags of a node of a tracelb, the lowest bit first.
pub const TRACELB_NODE_FLAGS: &[&str] = &["q-ttl"];

/// The flags of a reply to a tracelb, the lowest bit first.
pub const TRACELB_REPLY_FLAGS: &[&str] = &["reply-ttl", "tcp"];

/// The flags of a question to a DNS server, the lowest bit first.
pub const HOST_FLAGS: &[&str] = &["norecurse", "tcp", "nsid"];

/// The flags of a DNS response, the lowest bit first.
pub const HOST_QUERY_FLAGS: &[&str] = &["CD", "AD", "Z", "RA", "RD", "TC", "AA", "0x80"];

/// The flags of an HTTP request, the lowest bit first.
pub const HTTP_FLAGS: &[&str] = &["insecure", "grease"];

/// The flags of a measurement of one-way delay, the lowest bit first.
pub const OWAMP_FLAGS: &[&str] = &["zero"];

/// The mnemonic of a DNS type, where scamper has one.
pub fn rr_type(value: u16) -> Option<&'static str> {
    Some(match value {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        _ => return None,
    })
}

/// The mnemonic of a DNS class.
pub fn rr_class(value: u16) -> Option<&'static str> {
    match value {
        1 => Some("IN"),
        3 => Some("CH"),
        _ => None,
    }
}

/// The words of the bits that are set, of those that have one.
pub fn of_bits<'a>(bits: u32, words: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let set = move |at: u32| bits.checked_shr(at).is_some_and(|bits| bits & 1 == 1);
    words.iter().zip(0u32..).filter(move |(word, at)| set(*at) && !word.is_empty()).map(|(word, _)| *word)
}
