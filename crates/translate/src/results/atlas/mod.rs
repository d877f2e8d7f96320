//! Results as RIPE Atlas has them: JSON of the structure that its firmware 5000 and later writes.
//!
//! Round trips are in milliseconds with a fraction; `-1` where the structure wants a number and there is none. What the
//! structure has no word for stands under `mmn`: the task, the vantage point, and whether it is simulated.
//!
//! Begin with [`result`].

mod dns;
mod http;
mod ping;
mod traceroute;

use std::net::IpAddr;

use mmn_modules::{Address, Clock};
use mmn_schema::api::{Measurement, ResultRecord};
use mmn_schema::dispatch::Input;
use mmn_schema::id::VpId;
use mmn_schema::outcome::{Reason, code};
use mmn_schema::vp::VantagePoint;
use serde_json::{Map, Value, json};

use super::{Asked, Untranslated, bare};

const FORM: &str = "atlas";
/// The kinds that the structure has a place for.
const SERVES: &str = "ping, trace, dns and http";
/// The version of the structure.
const FIRMWARE: u32 = 5_000;

/// Whether the structure has a place for results of what was asked for.
pub fn serves(asked: &Asked) -> Result<(), Untranslated> {
    match asked {
        Asked::Ping(_) | Asked::Trace(_) | Asked::Dns(_) | Asked::Http(_) => Ok(()),
        _ => Err(Untranslated::Kind { form: FORM, kind: asked.kind().to_owned(), serves: SERVES }),
    }
}

/// A result. `point` is what is known of its vantage point, whose address it gives.
pub fn result(
    asked: &Asked,
    measurement: &Measurement,
    point: Option<&VantagePoint>,
    record: &ResultRecord,
) -> Result<Value, Untranslated> {
    let about = About { measurement, point, record };
    match asked {
        Asked::Ping(params) => ping::result(params, &about),
        Asked::Trace(params) => traceroute::result(params, &about),
        Asked::Dns(params) => dns::result(params, &about),
        Asked::Http(params) => http::result(params, &about),
        Asked::Multipath(_) | Asked::Udp(_) | Asked::Tcp(_) | Asked::Other(_) => {
            serves(asked).map(|()| Value::Null)
        }
    }
}

/// The number of a vantage point: the first 50 bits of its id, which every program holds exactly.
pub fn probe_id(vp: &VpId) -> u64 {
    let bits = vp.as_str().bytes().take(10).map(|byte| match byte {
        b'a'..=b'z' => byte - b'a',
        digit => digit.wrapping_sub(b'2') + 26,
    });
    bits.fold(0, |number, bits| number << 5 | u64::from(bits & 31))
}

/// What stands around every result.
struct About<'a> {
    measurement: &'a Measurement,
    point: Option<&'a VantagePoint>,
    record: &'a ResultRecord,
}

impl About<'_> {
    /// What all results end with.
    fn tail(&self, mut object: Object, word: &str, name: &str, source: Option<Address>) -> Value {
        let began = self.record.started_at.unwrap_or(self.measurement.accepted_at);
        object.set("msm_id", self.measurement.number);
        object.put("prb_id", self.record.vp.as_ref().map(probe_id));
        object.set("timestamp", bare::seconds(began));
        object.set("msm_name", name);
        object.put("from", self.from(source).map(|address| address.to_string()));
        object.set("type", word);
        let record = self.record;
        let mut own = Object::default();
        own.set("task", record.task.to_string());
        own.put("vp", record.vp.as_ref().map(ToString::to_string));
        own.put("vp_name", record.vp_name.clone());
        if record.simulated {
            own.set("simulated", true);
        }
        object.set("mmn", Value::Object(own.0));
        Value::Object(object.0)
    }

    /// The vantage point's address as the network knows it, of the family of what was measured.
    fn from(&self, source: Option<Address>) -> Option<IpAddr> {
        let addresses = self.point.map(|point| point.addresses.as_slice()).unwrap_or_default();
        let alike = |address: &&IpAddr| source.is_none_or(|source| source.0.is_ipv4() == address.is_ipv4());
        addresses.iter().find(alike).copied().or(source.map(|source| source.0))
    }

    /// The target as it was asked for.
    fn target(&self) -> Option<&str> {
        match &self.record.input {
            Input::Target(target) => Some(target),
            _ => None,
        }
    }
}

/// What all results begin with.
fn head(clock: Option<Clock>) -> Object {
    let mut object = Object::default();
    object.set("fw", FIRMWARE);
    // How long ago the clock was found in step: now, or nobody knows.
    object.set("lts", if clock.is_some_and(|clock| clock.synchronised) { 0 } else { -1 });
    object
}

/// What is said of a measurement that failed: names that don't resolve have a word of their own.
fn failure(object: &mut Object, reason: &Reason) -> String {
    let text = reason.to_string();
    if reason.code == code::UNRESOLVABLE {
        object.set("dnserr", text.clone());
    }
    text
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// The entries of an object, in order.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn put(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }
}

fn timed_out() -> Value {
    json!({ "x": "*" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vantage_point_has_a_number_that_json_holds() {
        let largest: VpId = "7777777777777777".parse().unwrap();
        assert_eq!(probe_id(&largest), (1 << 50) - 1);
        let one: VpId = "aaaaaaaaab777777".parse().unwrap();
        assert_eq!(probe_id(&one), 1);
    }
}
