//! Numbers and their names: types, classes, response codes, options and extended errors, as IANA's registry
//! *Domain Name System (DNS) Parameters* has them.

/// Types, in the order of their numbers.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (3, "MD"),
    (4, "MF"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (260, "AMTRELAY"),
    (32769, "DLV"),
];

const CLASSES: &[(u16, &str)] = &[(1, "IN"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")];

const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

const OPCODES: &[(u16, &str)] =
    &[(0, "QUERY"), (1, "IQUERY"), (2, "STATUS"), (4, "NOTIFY"), (5, "UPDATE"), (6, "DSO")];

const OPTIONS: &[(u16, &str)] = &[
    (1, "LLQ"),
    (2, "UL"),
    (3, "NSID"),
    (5, "DAU"),
    (6, "DHU"),
    (7, "N3U"),
    (8, "CLIENT-SUBNET"),
    (9, "EXPIRE"),
    (10, "COOKIE"),
    (11, "TCP-KEEPALIVE"),
    (12, "PADDING"),
    (13, "CHAIN"),
    (14, "KEY-TAG"),
    (15, "EXTENDED-ERROR"),
    (18, "REPORT-CHANNEL"),
    (19, "ZONEVERSION"),
];

const EXTENDED_ERRORS: &[(u16, &str)] = &[
    (0, "Other Error"),
    (1, "Unsupported DNSKEY Algorithm"),
    (2, "Unsupported DS Digest Type"),
    (3, "Stale Answer"),
    (4, "Forged Answer"),
    (5, "DNSSEC Indeterminate"),
    (6, "DNSSEC Bogus"),
    (7, "Signature Expired"),
    (8, "Signature Not Yet Valid"),
    (9, "DNSKEY Missing"),
    (10, "RRSIGs Missing"),
    (11, "No Zone Key Bit Set"),
    (12, "NSEC Missing"),
    (13, "Cached Error"),
    (14, "Not Ready"),
    (15, "Blocked"),
    (16, "Censored"),
    (17, "Filtered"),
    (18, "Prohibited"),
    (19, "Stale NXDOMAIN Answer"),
    (20, "Not Authoritative"),
    (21, "Not Supported"),
    (22, "No Reachable Authority"),
    (23, "Network Error"),
    (24, "Invalid Data"),
    (25, "Signature Expired before Valid"),
    (26, "Too Early"),
    (27, "Unsupported NSEC3 Iterations Value"),
    (28, "Unable to conform to policy"),
    (29, "Synthesized"),
    (30, "Invalid Query Type"),
];

/// The number of a type: its mnemonic in any case, or `TYPE65` (RFC 3597, section 5).
pub fn type_number(text: &str) -> Option<u16> {
    number(TYPES, "TYPE", text)
}

/// The number of a class, likewise.
pub fn class_number(text: &str) -> Option<u16> {
    number(CLASSES, "CLASS", text)
}

/// The name of a type.
pub(super) fn type_name(number: u16) -> String {
    name(TYPES, number).map_or_else(|| format!("TYPE{number}"), str::to_owned)
}

/// The name of a class.
pub(super) fn class_name(number: u16) -> String {
    name(CLASSES, number).map_or_else(|| format!("CLASS{number}"), str::to_owned)
}

/// The name of a response code, extended ones included.
pub(super) fn rcode_name(number: u16) -> String {
    name(RCODES, number).map_or_else(|| format!("RCODE{number}"), str::to_owned)
}

/// The name of a kind of query.
pub(super) fn opcode_name(number: u16) -> String {
    name(OPCODES, number).map_or_else(|| format!("OPCODE{number}"), str::to_owned)
}

/// The name of an EDNS option.
pub(super) fn option_name(number: u16) -> Option<String> {
    name(OPTIONS, number).map(str::to_owned)
}

/// The purpose of an extended error.
pub(super) fn extended_error_name(number: u16) -> Option<String> {
    name(EXTENDED_ERRORS, number).map(str::to_owned)
}

fn number(table: &[(u16, &str)], prefix: &str, text: &str) -> Option<u16> {
    if let Some((number, _)) = table.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
        return Some(*number);
    }
    let (head, digits) = text.split_at_checked(prefix.len())?;
    let plain = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    (head.eq_ignore_ascii_case(prefix) && plain).then(|| digits.parse().ok()).flatten()
}

fn name<'a>(table: &[(u16, &'a str)], number: u16) -> Option<&'a str> {
    table.iter().find(|(at, _)| *at == number).map(|(_, name)| *name)
}
