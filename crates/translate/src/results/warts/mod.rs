//! Results as records of warts, scamper's file format.
//!
//! Round trips are in microseconds, to the nearest; instants lose what is below a microsecond. What the format has no
//! field for is left out: late replies (they count as lost), who stamped, how exact it is.
//!
//! Begin with [`records`]; [`list`] and [`cycle`] are what they belong to.

mod dns;
mod http;
mod ping;
mod trace;
mod tracelb;
mod udp;

use std::net::IpAddr;

use mmn_modules::{Conditions, Lane, StampSource};
use mmn_schema::api::{Measurement, ResultRecord};
use mmn_schema::time::{Span, Timestamp};
use mmn_warts::records::list::{AboutCycle, AboutList};
use mmn_warts::values::{Address, Extension, Extensions, Micros, Text, Time};
use mmn_warts::{Record, values};

use super::{Asked, Untranslated, bare, failed};

const FORM: &str = "warts";
/// The kinds that the format has a place for.
const SERVES: &str = "ping, trace, multipath, dns, http and udp";

/// Whether the format has a place for results of what was asked for.
pub fn serves(asked: &Asked) -> Result<(), Untranslated> {
    match asked {
        Asked::Tcp(_) | Asked::Other(_) => {
            Err(Untranslated::Kind { form: FORM, kind: asked.kind().to_owned(), serves: SERVES })
        }
        _ => Ok(()),
    }
}

/// A result as records: one, but of `http` one for each request. List and cycle are left out: they are numbers of a
/// file ([`Record::membership`] sets them).
pub fn records(asked: &Asked, record: &ResultRecord) -> Result<Vec<Record>, Untranslated> {
    match asked {
        Asked::Ping(params) => ping::record(params, record).map(|ping| vec![ping.into()]),
        Asked::Trace(params) => trace::record(params, record).map(|trace| vec![trace.into()]),
        Asked::Multipath(params) => tracelb::record(params, record).map(|trace| vec![trace.into()]),
        Asked::Udp(params) => udp::record(params, record).map(|probe| vec![probe.into()]),
        Asked::Dns(params) => dns::record(params, record).map(|host| vec![host.into()]),
        Asked::Http(params) => Ok(http::records(params, record)?.into_iter().map(Record::from).collect()),
        Asked::Tcp(_) | Asked::Other(_) => serves(asked).map(|()| Vec::new()),
    }
}

/// The list of a vantage point's results of a measurement: its name, and what else it says. The monitor is the vantage
/// point's name; of a simulated one the description says so, too.
pub fn list(measurement: &Measurement, record: &ResultRecord) -> (Text, AboutList) {
    let mut descr = format!("mmn {} of measurement {}", measurement.kind, measurement.id);
    if record.simulated {
        descr.insert_str(0, "simulated: ");
    }
    if let Some(label) = &measurement.label {
        descr.push_str(": ");
        descr.push_str(label);
    }
    let monitor = record.vp_name.clone().or_else(|| record.vp.as_ref().map(ToString::to_string));
    let about = AboutList {
        descr: Some(text(&descr)),
        monitor: monitor.as_deref().map(text),
        ..AboutList::default()
    };
    (text(measurement.id.to_string().as_str()), about)
}

/// The cycle of such a list: when it began in seconds since 1970, and by what host.
pub fn cycle(measurement: &Measurement, record: &ResultRecord) -> (u32, AboutCycle) {
    let hostname = record.vp_name.as_deref().map(text);
    (second(measurement.accepted_at), AboutCycle { hostname, ..AboutCycle::default() })
}

/// The number that the list and its cycle have for their user: the measurement's, as far as it fits.
pub fn user_id(measurement: &Measurement) -> u32 {
    u32::try_from(measurement.number).unwrap_or(0)
}

/// The second of an instant as the format counts them; zero where it can't.
pub fn second(instant: Timestamp) -> u32 {
    u32::try_from(bare::seconds(instant)).unwrap_or(0)
}

/// A text of the format: a zero octet would end it.
fn text(text: &str) -> Text {
    Text(text.bytes().filter(|octet| *octet != 0).collect())
}

fn time(instant: Timestamp) -> Option<Time> {
    let sec = u32::try_from(bare::seconds(instant)).ok()?;
    Some(Time { sec, usec: u32::try_from(bare::fraction_ns(instant) / 1_000).ok()? })
}

fn rtt(ns: u64) -> Option<Micros> {
    u32::try_from(bare::micros(ns)).ok().map(Micros)
}

/// Whole seconds, and the microseconds beyond them where there are any.
fn wait(ns: u64) -> (Option<u8>, Option<u32>) {
    let micros = bare::micros(ns);
    let beyond = u32::try_from(micros % 1_000_000).ok().filter(|beyond| *beyond > 0);
    (u8::try_from(micros / 1_000_000).ok(), beyond)
}

/// A time as the format has it in a field of whole units, to the next above: zero would mean none.
fn units(span: Span, unit_ns: u64) -> Option<u8> {
    u8::try_from(span.as_ns().div_ceil(unit_ns)).ok()
}

const SECOND_NS: u64 = 1_000_000_000;
const CENTISECOND_NS: u64 = 10_000_000;

fn address(address: mmn_modules::Address) -> Address {
    address.0.into()
}

/// The octet of DSCP and ECN.
fn tos(tos: Option<u8>, dscp: Option<u8>) -> u8 {
    tos.or_else(|| dscp.map(|dscp| dscp << 2)).unwrap_or(0)
}

/// The length of an IP header without options: results give lengths without it.
fn ip_header(address: IpAddr) -> u32 {
    if address.is_ipv4() { 20 } else { 40 }
}

fn ip_length(without: u32, address: IpAddr) -> Option<u16> {
    u16::try_from(without.saturating_add(ip_header(address))).ok()
}

/// The type of an echo reply.
fn echo_reply(address: IpAddr) -> values::IcmpType {
    values::IcmpType { kind: if address.is_ipv4() { 0 } else { 129 }, code: 0 }
}

fn extensions(list: &[mmn_modules::trace::Extension]) -> Option<Extensions> {
    let object = |extension: &mmn_modules::trace::Extension| Extension {
        class: extension.class,
        kind: extension.c_type,
        data: values::Data(bare::extension(extension)),
    };
    (!list.is_empty()).then(|| Extensions(list.iter().map(object).collect()))
}

/// By what packets were stamped, as a lane has it.
#[derive(Debug, Clone, Copy, Default)]
struct Stamped {
    /// The packet as it left, by the device.
    sent_by_link: bool,
    /// The packet as it came, by the device.
    received_by_link: bool,
    /// The packet as it came, by the socket.
    received_by_socket: bool,
}

impl Stamped {
    fn of(conditions: &Conditions) -> Self {
        let kernel = |source| source == StampSource::Kernel;
        let link = conditions.lane == Lane::Bulk;
        Self {
            sent_by_link: link && kernel(conditions.stamps.sent),
            received_by_link: link && kernel(conditions.stamps.received),
            received_by_socket: !link && kernel(conditions.stamps.received),
        }
    }
}

/// The address of a target that is one, of a measurement that failed.
fn target(record: &ResultRecord) -> Option<IpAddr> {
    match &record.input {
        mmn_schema::dispatch::Input::Target(target) => target.parse().ok(),
        _ => None,
    }
}

/// What a measurement that failed leaves: the address of its target, and why. A target that has none has no place.
fn errmsg(record: &ResultRecord) -> Result<(IpAddr, Text), Untranslated> {
    let reason = failed(record)?;
    let nowhere = || Untranslated::Nothing(format!("failed: {reason}"));
    Ok((target(record).ok_or_else(nowhere)?, text(&reason.to_string())))
}

/// Says so where a list is longer than a count of the format holds.
fn at_most<T>(list: &[T], most: usize, what: &'static str) -> Result<(), Untranslated> {
    if list.len() > most { Err(Untranslated::TooMany { form: FORM, what, most }) } else { Ok(()) }
}
