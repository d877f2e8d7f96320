//! Records of warts: what results become, and what a client is told of a measurement that came to nothing.

use mmn_scamper::Command;
use mmn_schema::api::ResultRecord;
use mmn_translate::results::{Asked, warts};
use mmn_warts::records::host::Host;
use mmn_warts::records::http::Http;
use mmn_warts::records::list::{AboutCycle, AboutList, Cycle, CycleStop, List};
use mmn_warts::records::ping::Ping;
use mmn_warts::records::trace::Trace;
use mmn_warts::records::tracelb::Tracelb;
use mmn_warts::records::udpprobe::Udpprobe;
use mmn_warts::values::{CycleId, InFull, ListId, Text};
use mmn_warts::{Record, names};

/// The numbers of the one list and the one cycle of a connection.
const LIST: ListId = ListId(1);
const CYCLE: CycleId = CycleId(1);

/// Why a measurement came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was called off.
    Halted,
    /// It could not be done, or was not.
    Error,
}

/// The list of a connection, and the beginning of its cycle.
pub(crate) fn beginning(
    list_id: u32,
    cycle_id: u32,
    name: &str,
    monitor: &str,
    simulated: bool,
    now_s: u32,
) -> [Record; 2] {
    let descr = simulated.then(|| text("simulated"));
    let about = AboutList { descr, monitor: Some(text(monitor)), ..AboutList::default() };
    let list = List { id: LIST, user_id: list_id, name: text(name), about, ..List::default() };
    let about = AboutCycle { hostname: Some(text(monitor)), ..AboutCycle::default() };
    let cycle = Cycle { id: CYCLE, list: LIST, user_id: cycle_id, start: now_s, about, ..Cycle::default() };
    [Record::List(list), Record::CycleStart(cycle)]
}

/// The end of a connection's cycle.
pub(crate) fn end(now_s: u32) -> Record {
    Record::CycleStop(CycleStop { id: CYCLE, stop: now_s, ..CycleStop::default() })
}

/// A result as the record that a client awaits; where there is none, one that says why.
pub(crate) fn of(command: &Command, asked: &Asked, result: &ResultRecord) -> Record {
    let translated = warts::records(asked, result).ok().and_then(|records| records.into_iter().next());
    let record = translated.unwrap_or_else(|| {
        let said = result.reason.as_ref().map(|reason| format!("{}: {reason}", result.outcome));
        let why =
            if result.outcome == mmn_schema::outcome::Outcome::Cancelled { Why::Halted } else { Why::Error };
        bare(command, why, &said.unwrap_or_else(|| result.outcome.to_string()))
    });
    finished(command, record)
}

/// The record of a measurement that came to nothing.
pub(crate) fn nothing(command: &Command, why: Why, said: &str) -> Record {
    finished(command, bare(command, why, said))
}

/// A record with what its command says of it: the user's number, the list and the cycle.
fn finished(command: &Command, mut record: Record) -> Record {
    if let Some((list, cycle)) = record.membership() {
        (*list, *cycle) = (Some(LIST), Some(CYCLE));
    }
    if let Some(id) = command.user_id() {
        match &mut record {
            Record::Ping(one) => one.userid = Some(id),
            Record::Trace(one) => one.userid = Some(id),
            Record::Tracelb(one) => one.userid = Some(id),
            Record::Host(one) => one.userid = Some(id),
            Record::Http(one) => one.userid = Some(id),
            Record::Udpprobe(one) => one.userid = Some(id),
            _ => {}
        }
    }
    record
}

fn bare(command: &Command, why: Why, said: &str) -> Record {
    let stop = |reasons: fn(u8) -> Option<&'static str>| {
        let word = if why == Why::Halted { "halted" } else { "error" };
        (0..=u8::MAX).find(|number| reasons(*number).is_some_and(|name| name.eq_ignore_ascii_case(word)))
    };
    let errmsg = Some(text(said));
    match command {
        Command::Ping(one) => Ping {
            dst: Some(one.target.into()),
            stop_reason: stop(names::ping_stop),
            errmsg,
            ..Ping::default()
        }
        .into(),
        Command::Trace(one) => Trace {
            dst: Some(one.target.into()),
            stop_reason: stop(names::trace_stop),
            errmsg,
            ..Trace::default()
        }
        .into(),
        Command::Tracelb(one) => {
            Tracelb { dst: Some(one.target.into()), errmsg, ..Tracelb::default() }.into()
        }
        Command::Host(one) => Host {
            dst: one.server.map(Into::into),
            qname: Some(text(&one.target)),
            stop: stop(names::host_stop),
            errmsg,
            ..Host::default()
        }
        .into(),
        Command::Http(one) => Http {
            dst: Some(InFull(one.target.into())),
            stop: stop(names::http_stop),
            errmsg,
            ..Http::default()
        }
        .into(),
        Command::UdpProbe(one) => Udpprobe {
            dst: Some(InFull(one.target.into())),
            dport: one.dport,
            stop: stop(names::udpprobe_stop),
            errmsg,
            ..Udpprobe::default()
        }
        .into(),
        // No other command is taken on.
        _ => end(0),
    }
}

fn text(text: &str) -> Text {
    Text(text.bytes().filter(|octet| *octet != 0).collect())
}
