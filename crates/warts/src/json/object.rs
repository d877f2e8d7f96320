//! An object in the making.

use serde_json::{Map, Value, json};

use crate::reader::Tables;
use crate::values::{Address, Extensions, InFull, ListId, Text, Time};

/// Fields, in order.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// An object of a type.
    pub(super) fn new(kind: &str) -> Self {
        let mut object = Self::plain();
        object.set("type", kind);
        object
    }

    pub(super) fn plain() -> Self {
        Self(Map::new())
    }

    pub(super) fn done(self) -> Value {
        Value::Object(self.0)
    }

    /// A field that is always there.
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A field that may be absent.
    pub(super) fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// A field that is left out when it is zero.
    pub(super) fn nonzero<N: Into<Value> + PartialEq + Default>(&mut self, name: &str, value: Option<N>) {
        self.put(name, value.filter(|value| *value != N::default()));
    }

    pub(super) fn address(&mut self, name: &str, address: Option<&Address>) {
        self.put(name, address.map(ToString::to_string));
    }

    pub(super) fn in_full(&mut self, name: &str, address: Option<&InFull>) {
        self.address(name, address.map(|address| &address.0));
    }

    pub(super) fn text(&mut self, name: &str, text: Option<&Text>) {
        self.put(name, text.map(ToString::to_string));
    }

    /// An instant that is always there.
    pub(super) fn time(&mut self, name: &str, time: Option<Time>) {
        self.set(name, of_time(time.unwrap_or_default()));
    }

    pub(super) fn word(&mut self, name: &str, value: u32, word: Option<&'static str>) {
        self.set(name, word.map_or_else(|| value.to_string(), str::to_owned));
    }

    /// Flags, when any is set.
    pub(super) fn flags(&mut self, name: &str, bits: u32, words: &[&str]) {
        let set: Vec<_> = crate::names::of_bits(bits, words).collect();
        if !set.is_empty() {
            self.set(name, set);
        }
    }

    /// The vantage point, as the list says.
    pub(super) fn monitor(&mut self, list: Option<ListId>, tables: &Tables) {
        let list = list.and_then(|id| tables.list(id));
        self.text("monitor", list.and_then(|list| list.about.monitor.as_ref()));
    }

    /// ICMP extension objects, when there are any.
    pub(super) fn extensions(&mut self, objects: Option<&Extensions>) {
        let Some(objects) = objects else { return };
        let of = |object: &crate::values::Extension| {
            let mut value = Self::plain();
            value.set("ie_cn", object.class);
            value.set("ie_ct", object.kind);
            value.set("ie_dl", object.data.0.len());
            if let Some(labels) = object.mpls() {
                let label = |label: &crate::values::MplsLabel| {
                    json!({
                        "mpls_ttl": label.ttl,
                        "mpls_s": u8::from(label.bottom),
                        "mpls_exp": label.class,
                        "mpls_label": label.label,
                    })
                };
                value.set("mpls_labels", labels.iter().map(label).collect::<Vec<_>>());
            }
            value.done()
        };
        self.set("icmpext", objects.0.iter().map(of).collect::<Vec<_>>());
    }
}

pub(super) fn of_time(time: Time) -> Value {
    json!({ "sec": time.sec, "usec": time.usec })
}

/// A duration in microseconds, as seconds and microseconds.
pub(super) fn of_micros(micros: u32) -> Value {
    json!({ "sec": micros / 1_000_000, "usec": micros % 1_000_000 })
}

/// From one instant to another, in microseconds; zero when the second is earlier.
pub(super) fn between(from: Time, to: Time) -> u64 {
    let micros = |time: Time| u64::from(time.sec) * 1_000_000 + u64::from(time.usec);
    micros(to).saturating_sub(micros(from))
}
