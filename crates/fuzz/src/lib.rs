//! The fuzz targets: one function for each decoder that reads what a stranger wrote.
//!
//! `fuzz/` runs them under libFuzzer; the test of this crate replays the corpus in `fuzz/corpus/<target>/` on the stable
//! toolchain. A target asserts more than the absence of a panic where something more holds: what was read is written
//! and read again to the same value.

mod identity;
mod lab;
mod measure;
mod packets;
mod scamper;
mod site;
mod warts;
mod wire;

use mmn_modules::{dns::fuzzing as dns, http::fuzzing as http};

/// A target: its name, which is that of its corpus, and the function that takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("anchor_config", site::anchor_config),
    ("announcement", wire::announcement),
    ("api_answer", wire::api_answer),
    ("api_fields", mmn_anchor::fuzzing::fields),
    ("api_file", site::api_file),
    ("api_query", mmn_anchor::fuzzing::query),
    ("api_request", wire::api_request),
    ("api_token", mmn_anchor::fuzzing::token),
    ("body", wire::body),
    ("bulk_heard", packets::bulk_heard),
    ("bulk_ring", mmn_node::fuzzing::bulk_ring),
    ("certificate", http::certificate),
    ("control", wire::control),
    ("control_messages", mmn_node::fuzzing::control_messages),
    ("creds", identity::creds),
    ("dns_message", packets::dns_message),
    ("dns_name", dns::name),
    ("dns_record_data", dns::record_data),
    ("dns_words", dns::words),
    ("ech_list", http::ech_list),
    ("enrol", wire::enrol),
    ("extensions", packets::extensions),
    ("from_node", mmn_node::fuzzing::from_node),
    ("heard", packets::heard),
    ("heartbeat", wire::heartbeat),
    ("http_head", http::head),
    ("http_resolve", http::resolve),
    ("http_target", http::target),
    ("icmp", packets::icmp),
    ("identity_files", identity::files),
    ("ip", packets::ip),
    ("jwt", identity::jwt),
    ("kept", mmn_anchor::fuzzing::kept),
    ("lab_packets", lab::packets),
    ("lab_plan", lab::plan),
    ("lab_request", lab::request),
    ("literal", mmn_node::fuzzing::literal),
    ("manifest", mmn_node::fuzzing::manifest),
    ("metrics", site::metrics),
    ("node_order", wire::node_order),
    ("own_claims", mmn_node::fuzzing::own_claims),
    ("params", measure::params),
    ("parcels", mmn_node::fuzzing::parcels),
    ("place", site::place),
    ("policy", site::policy),
    ("question", mmn_anchor::fuzzing::question),
    ("remote_desk", mmn_remote::fuzzing::desk),
    ("remote_record", mmn_remote::fuzzing::record),
    ("request_body", mmn_anchor::fuzzing::request_body),
    ("resolv_conf", mmn_node::fuzzing::resolv_conf),
    ("result_batch", wire::result_batch),
    ("rtnetlink", mmn_node::fuzzing::rtnetlink),
    ("scamper_command", scamper::command),
    ("scamper_control", scamper::control),
    ("scamper_mux", scamper::mux),
    ("scamper_remote", scamper::remote),
    ("selection", wire::selection),
    ("stream", wire::stream),
    ("stub_reply", mmn_node::fuzzing::stub_reply),
    ("subject", wire::subject),
    ("synced", wire::synced),
    ("tcp_options", packets::tcp_options),
    ("times", wire::times),
    ("to_instance", wire::to_instance),
    ("warts_file", warts::file),
    ("warts_record", warts::record),
];
