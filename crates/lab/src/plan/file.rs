//! The types of the file. Fields that it does not know are refused; `docs/guides/lab.md` says what each means.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) seed: u64,
    /// How much longer cables are than the distance between cities.
    pub(super) stretch: Option<f64>,
    pub(super) converge_ms: Option<f64>,
    #[serde(default)]
    pub(super) city: BTreeMap<String, Spanned<City>>,
    #[serde(default)]
    pub(super) router: Vec<Spanned<Router>>,
    #[serde(default)]
    pub(super) link: Vec<Spanned<Link>>,
    #[serde(default)]
    pub(super) vp: Vec<Spanned<Vp>>,
    #[serde(default)]
    pub(super) host: Vec<Spanned<Host>>,
    #[serde(default)]
    pub(super) zone: Vec<Spanned<Zone>>,
    #[serde(default)]
    pub(super) dns: Vec<Spanned<Dns>>,
    #[serde(default)]
    pub(super) web: Vec<Spanned<Web>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct City {
    pub(super) lat: f64,
    pub(super) lon: f64,
    pub(super) country: Option<String>,
    pub(super) continent: Option<String>,
}

/// What befalls packets in one direction or in both.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Path {
    pub(super) delay_ms: Option<f64>,
    pub(super) jitter_ms: Option<f64>,
    pub(super) loss: Option<f64>,
    pub(super) dup: Option<f64>,
    pub(super) reorder: Option<f64>,
    pub(super) reorder_ms: Option<f64>,
    pub(super) mbps: Option<f64>,
    pub(super) queue_ms: Option<f64>,
    pub(super) queue_packets: Option<u32>,
    pub(super) mtu: Option<u32>,
}

impl Path {
    /// These values, and those of `other` where there is none.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            delay_ms: self.delay_ms.or(other.delay_ms),
            jitter_ms: self.jitter_ms.or(other.jitter_ms),
            loss: self.loss.or(other.loss),
            dup: self.dup.or(other.dup),
            reorder: self.reorder.or(other.reorder),
            reorder_ms: self.reorder_ms.or(other.reorder_ms),
            mbps: self.mbps.or(other.mbps),
            queue_ms: self.queue_ms.or(other.queue_ms),
            queue_packets: self.queue_packets.or(other.queue_packets),
            mtu: self.mtu.or(other.mtu),
        }
    }
}

/// A struct with the fields of [`Path`] among its own: `flatten` would take unknown fields without a word.
macro_rules! with_path {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$meta])* pub(super) $field: $type,)*
            delay_ms: Option<f64>,
            jitter_ms: Option<f64>,
            loss: Option<f64>,
            dup: Option<f64>,
            reorder: Option<f64>,
            reorder_ms: Option<f64>,
            mbps: Option<f64>,
            queue_ms: Option<f64>,
            queue_packets: Option<u32>,
            mtu: Option<u32>,
        }

        impl $name {
            pub(super) fn path(&self) -> Path {
                Path {
                    delay_ms: self.delay_ms,
                    jitter_ms: self.jitter_ms,
                    loss: self.loss,
                    dup: self.dup,
                    reorder: self.reorder,
                    reorder_ms: self.reorder_ms,
                    mbps: self.mbps,
                    queue_ms: self.queue_ms,
                    queue_packets: self.queue_packets,
                    mtu: self.mtu,
                }
            }
        }
    };
}

with_path! { Link {
    a: String,
    b: String,
    #[serde(default)]
    a_addr: List<IpAddr>,
    #[serde(default)]
    b_addr: List<IpAddr>,
    metric: Option<u32>,
    stretch: Option<f64>,
    #[serde(default)]
    down: Vec<Down>,
    #[serde(default)]
    ab: Path,
    #[serde(default)]
    ba: Path,
}}

with_path! { Vp {
    name: String,
    addr: List<IpAddr>,
    at: String,
    city: Option<String>,
    asn: Option<u32>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    up: Path,
    #[serde(default)]
    down: Path,
}}

with_path! { Host {
    name: String,
    addr: List<IpAddr>,
    at: String,
    #[serde(default)]
    prefix: List<PrefixText>,
    #[serde(default)]
    anycast: bool,
    echo: Option<bool>,
    #[serde(default)]
    timestamp: bool,
    #[serde(default)]
    clock_ahead_ms: i32,
    #[serde(default)]
    tcp: Vec<u16>,
    #[serde(default)]
    udp: Vec<u16>,
    #[serde(default)]
    udp_silent: Vec<u16>,
    #[serde(default)]
    filtered: Filtered,
    #[serde(default)]
    rejected: Vec<u16>,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    ipid: IpId,
    #[serde(default)]
    ipid_pps: u32,
    icmp_pps: Option<f64>,
    icmp_burst: Option<u32>,
    icmp_delay_ms: Option<f64>,
    quote: Option<u16>,
    ttl: Option<u8>,
    #[serde(default)]
    up: Path,
    #[serde(default)]
    down: Path,
}}

/// From when until when, in seconds since the world began.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Down {
    pub(super) from_s: f64,
    pub(super) to_s: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Router {
    pub(super) name: String,
    #[serde(default)]
    pub(super) addr: List<IpAddr>,
    pub(super) city: Option<String>,
    pub(super) asn: Option<u32>,
    #[serde(default)]
    pub(super) silent: bool,
    #[serde(default)]
    pub(super) hidden: bool,
    #[serde(default)]
    pub(super) lb: Lb,
    #[serde(default)]
    pub(super) ipid: IpId,
    #[serde(default)]
    pub(super) ipid_pps: u32,
    pub(super) icmp_pps: Option<f64>,
    pub(super) icmp_burst: Option<u32>,
    pub(super) icmp_delay_ms: Option<f64>,
    #[serde(default)]
    pub(super) mpls: Vec<u32>,
    pub(super) quote: Option<u16>,
    #[serde(default = "yes")]
    pub(super) too_big: bool,
    pub(super) echo: Option<bool>,
    pub(super) ttl: Option<u8>,
    pub(super) nat: Option<Nat>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nat {
    pub(super) outside: IpAddr,
    pub(super) inside: List<PrefixText>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::enum_variant_names, reason = "the words of the file")]
pub(super) enum Lb {
    #[default]
    PerFlow,
    PerPacket,
    PerDestination,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum IpId {
    #[default]
    Shared,
    Separate,
    Random,
    Zero,
    Constant,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) serial: Option<u32>,
    pub(super) ttl: Option<u32>,
    #[serde(default)]
    pub(super) records: Vec<String>,
    #[serde(default)]
    pub(super) updates: Vec<Update>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    pub(super) at_s: f64,
    pub(super) serial: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dns {
    pub(super) host: String,
    #[serde(default)]
    pub(super) zones: Vec<String>,
    pub(super) identity: Option<String>,
    pub(super) lag_s: Option<f64>,
    #[serde(default)]
    pub(super) recursive: bool,
    pub(super) miss_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Web {
    pub(super) host: String,
    #[serde(default)]
    pub(super) names: Vec<String>,
    #[serde(default = "yes")]
    pub(super) http: bool,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) page: Vec<Page>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Tls {
    Valid,
    Expired,
    WrongName,
    SelfSigned,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    pub(super) path: Option<String>,
    pub(super) status: Option<u16>,
    #[serde(rename = "type")]
    pub(super) content_type: Option<String>,
    pub(super) body: Option<String>,
    pub(super) bytes: Option<u32>,
    pub(super) location: Option<String>,
    pub(super) wait_ms: Option<f64>,
    pub(super) mbps: Option<f64>,
    pub(super) broken: Option<Broken>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Broken {
    Reset,
    Cut,
    Garbage,
    Hang,
}

const fn yes() -> bool {
    true
}

/// One thing, or an array of such.
#[derive(Clone, Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What is written as a string.
pub(super) trait Text: Sized {
    const WHAT: &'static str;
    fn read(text: &str) -> Option<Self>;
}

impl Text for IpAddr {
    const WHAT: &'static str = "an IP address";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PrefixText(pub(super) super::Prefix);

impl Text for PrefixText {
    const WHAT: &'static str = "a prefix like 198.18.16.0/24 without bits behind its length";
    fn read(text: &str) -> Option<Self> {
        super::Prefix::parse(text).map(Self)
    }
}

impl<'de, T: Text> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(std::marker::PhantomData<T>);
        fn read<T: Text, E: Error>(text: &str) -> Result<T, E> {
            T::read(text).ok_or_else(|| E::custom(format_args!("\"{text}\" is not {}", T::WHAT)))
        }
        impl<'de, T: Text> Visitor<'de> for Items<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or an array of them", T::WHAT)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<List<T>, E> {
                Ok(List(vec![read(text)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = items.next_element::<String>()? {
                    all.push(read(&text)?);
                }
                Ok(List(all))
            }
        }
        deserializer.deserialize_any(Items(std::marker::PhantomData))
    }
}

/// `true` for all ports, or an array of ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Filtered {
    pub(super) all: bool,
    pub(super) ports: Vec<u16>,
}

impl<'de> Deserialize<'de> for Filtered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Which;
        impl<'de> Visitor<'de> for Which {
            type Value = Filtered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true for all ports, or an array of ports")
            }

            fn visit_bool<E: Error>(self, all: bool) -> Result<Filtered, E> {
                Ok(Filtered { all, ports: Vec::new() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Filtered, A::Error> {
                let mut ports = Vec::new();
                while let Some(port) = items.next_element()? {
                    ports.push(port);
                }
                Ok(Filtered { all: false, ports })
            }
        }
        deserializer.deserialize_any(Which)
    }
}
