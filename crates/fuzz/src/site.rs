//! The files that people and programs leave at a site.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mmn_client::{ApiFile, Client, Metrics, Trust};
use mmn_node::Place;
use mmn_node::policy::{BitRate, Policy, Prefix, PrefixError};
use serde::Serialize;

/// `policy.toml`, and the same text as a prefix and as a rate.
pub(crate) fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(prefix) | Err(PrefixError::HostBits(_, prefix)) = text.parse::<Prefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
    }
    if let Ok(rate) = text.parse::<BitRate>() {
        assert_eq!(rate.to_string().parse(), Ok(rate));
    }
    let Ok(policy) = Policy::from_toml(text) else { return };
    if let Some(written) = written(&policy) {
        assert_eq!(Policy::from_toml(&written).as_ref(), Ok(&policy));
    }
    let _ = policy.summary();
    for address in
        ["192.0.2.1", "127.0.0.1", "10.1.2.3"].iter().filter_map(|text| text.parse::<Ipv4Addr>().ok())
    {
        let mapped = IpAddr::V6(address.to_ipv6_mapped());
        assert_eq!(policy.judge(address.into()).is_ok(), policy.judge(mapped).is_ok(), "{address}");
    }
    let _ = policy.judge(Ipv6Addr::LOCALHOST.into());
    let _ = policy.judge(Ipv6Addr::from_bits(0x0064_ff9b << 96 | 0x0808_0808).into());
}

/// `node.toml`.
pub(crate) fn place(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(place) = Place::from_toml(text) else { return };
    if let Some(written) = written(&place) {
        assert_eq!(Place::from_toml(&written).as_ref(), Ok(&place), "{written}");
    }
}

/// The configuration of an anchor.
pub(crate) fn anchor_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = toml::from_str::<mmn_anchor::Config>(text) else { return };
    if let Some(written) = written(&config) {
        assert_eq!(toml::from_str::<mmn_anchor::Config>(&written).as_ref(), Ok(&config), "{written}");
    }
}

/// What an anchor counts, as text.
pub(crate) fn metrics(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let name =
        text.split(['{', ' ', '\n']).find(|name| name.starts_with("mmn_")).unwrap_or("mmn_up").to_owned();
    let metrics = Metrics::of(text);
    let count = metrics.samples(&name).inspect(|sample| assert!(sample.value.is_finite())).count();
    assert_eq!(metrics.sum(&name).is_some(), count > 0);
    assert!(metrics.by(&name, "outcome").len() <= count);
}

/// `api.json`, and the same text as the URL of an API.
pub(crate) fn api_file(bytes: &[u8]) {
    let _ = serde_json::from_slice::<ApiFile>(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // For https it would read the certificates of the system.
    let trust = Trust::File("/dev/null".into());
    if let Ok(client) = Client::new(text, None, &trust) {
        let again = Client::new(client.url(), None, &trust);
        assert!(again.is_ok_and(|again| again.url() == client.url()), "{:?}", client.url());
    }
}

/// The value as TOML, which has no integers beyond 63 bits.
fn written<T: Serialize + std::fmt::Debug>(value: &T) -> Option<String> {
    match toml::to_string(value) {
        Ok(text) => Some(text),
        Err(error) if error.to_string().contains("u64") => None,
        Err(error) => panic!("{value:?} can't be written: {error}"),
    }
}
