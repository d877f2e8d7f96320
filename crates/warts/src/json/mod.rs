//! Records as JSON, with the names that scamper's own output has.
//!
//! scamper's has no sting, sniff or http; those have the names of their fields here. Two more differences: `ftime` is UTC
//! (scamper's is the local time of whoever converts), and the name `icmp_nhmtu` of a trace's hop is without the colon that
//! scamper's has within the quotes.

mod dealias;
mod host;
mod object;
mod ping;
mod probes;
mod tbit;
mod trace;
mod tracelb;

use serde_json::{Map, Value, json};

use crate::reader::Tables;
use crate::record::Record;
use crate::values::ListId;
use object::Object;

/// The JSON of a record: an object whose first field is `type`. Lists, definitions of cycles and addresses have none of
/// their own.
pub fn value(record: &Record, tables: &Tables) -> Option<Value> {
    Some(match record {
        Record::List(_) | Record::CycleDef(_) | Record::Address(_) => return None,
        Record::CycleStart(start) => cycle(
            "start",
            start.id.0,
            start.list,
            Some((start.user_id, start.about.hostname.as_ref())),
            start.start,
            tables,
        ),
        Record::CycleStop(stop) => {
            let known = tables.cycle(stop.id);
            let list = known.map(|cycle| cycle.list).unwrap_or_default();
            let about = known.map(|cycle| (cycle.user_id, cycle.about.hostname.as_ref()));
            cycle("stop", stop.id.0, list, about, stop.stop, tables)
        }
        Record::Ping(ping) => ping::value(ping, tables),
        Record::Trace(trace) => trace::value(trace, tables),
        Record::Tracelb(trace) => tracelb::value(trace, tables),
        Record::Dealias(dealias) => dealias::value(dealias, tables),
        Record::Host(host) => host::value(host, tables),
        Record::Neighbourdisc(found) => probes::neighbourdisc(found, tables),
        Record::Udpprobe(probe) => probes::udpprobe(probe, tables),
        Record::Owamp(owamp) => probes::owamp(owamp, tables),
        Record::Tbit(tbit) => tbit::value(tbit, tables),
        Record::Sting(_) | Record::Sniff(_) | Record::Http(_) | Record::Unknown(_) => fields(record),
    })
}

/// The JSON of a record by the names of its fields, whatever its type: all of it, in the units of the file.
pub fn fields(record: &Record) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), record.kind().name().into());
    if let Ok(Value::Object(fields)) = serde_json::to_value(record) {
        object.extend(fields);
    }
    Value::Object(object)
}

fn cycle(
    what: &str,
    id: u32,
    list: ListId,
    about: Option<(u32, Option<&crate::values::Text>)>,
    time: u32,
    tables: &Tables,
) -> Value {
    let mut object = Object::new(&format!("cycle-{what}"));
    object.put("list_name", tables.list(list).map(|list| list.name.to_string()));
    object.set("id", about.map_or(id, |(user_id, _)| user_id));
    object.put("hostname", about.and_then(|(_, hostname)| hostname).map(ToString::to_string));
    object.set(&format!("{what}_time"), time);
    object.done()
}

/// Milliseconds with three digits, as scamper has them.
fn ms(micros: u64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 285 years")]
    let ms = micros as f64 / 1000.0;
    json!(ms)
}

/// An instant without the date, in UTC: as scamper's `ftime`.
fn ftime(sec: u32) -> String {
    let (days, rest) = (i64::from(sec / 86_400), sec % 86_400);
    // Days to a date, after Howard Hinnant: years begin in March, eras have 400 of them.
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(super::ftime(0), "1970-01-01 00:00:00");
        assert_eq!(super::ftime(951_827_696), "2000-02-29 12:34:56");
        assert_eq!(super::ftime(1_795_397_367), "2026-11-23 01:29:27");
        assert_eq!(super::ftime(u32::MAX), "2106-02-07 06:28:15");
    }
}
