//! The fuzz targets: one function for each decoder that reads what a stranger wrote.
//!
//! `fuzz/` runs them under libFuzzer; the test of this crate replays the corpus in `fuzz/corpus/<target>/` on the stable
//! toolchain. A target asserts more than the absence of a panic where something more holds: what was read is written
//! and read again to the same value.

mod packets;
mod wire;

/// A target: its name, which is that of its corpus, and the function that takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("announcement", wire::announcement),
    ("api_request", wire::api_request),
    ("body", wire::body),
    ("control", wire::control),
    ("dns_message", packets::dns_message),
    ("enrol", wire::enrol),
    ("heartbeat", wire::heartbeat),
    ("icmp", packets::icmp),
    ("ip", packets::ip),
    ("node_order", wire::node_order),
    ("result_batch", wire::result_batch),
    ("selection", wire::selection),
    ("stream", wire::stream),
    ("subject", wire::subject),
    ("synced", wire::synced),
    ("times", wire::times),
    ("to_instance", wire::to_instance),
];
