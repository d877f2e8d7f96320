//! `trace`: a line for the path, and a page with a line for each hop.

use std::fmt::Write as _;

use mmn_modules::trace::{Body, Hop, MtuNote, MtuNoteKind, Probe, Reply, Status, StopReason};
use mmn_schema::api::ResultRecord;

use super::{Page, View, address};
use crate::style::Tone;
use crate::table::{Cell, Column, Row};
use crate::units;

/// Up to so many probes of a hop have their times shown one by one.
const SINGLE_TIMES: usize = 3;

#[derive(Debug)]
pub(super) struct Trace;

impl View for Trace {
    fn columns(&self) -> Vec<Column> {
        vec![
            Column::left("END"),
            Column::right("HOPS"),
            Column::right("SILENT"),
            Column::right("RTT"),
            Column::right("PROBES").optional(),
            Column::right("MTU").optional(),
            Column::left("LAST").shrinks_to(8).optional(),
        ]
    }

    fn cells(&self, record: &ResultRecord) -> Vec<Cell> {
        let Ok(body) = record.body.decode::<Body>() else {
            return vec![Cell::new("-"); 6];
        };
        let number = |name: &str, unit: &str| {
            let number = record.summary.get(name);
            Cell::new(number.map_or_else(|| "-".into(), |number| units::show(*number, unit)))
        };
        let last = body.hops.iter().rev().find_map(first_reply).map(sender);
        vec![
            end(&body),
            number("hops", "1"),
            number("silent", "1"),
            number("rtt_ns", "ns"),
            body.sent.to_string().into(),
            number("mtu_bytes", "1"),
            last.unwrap_or_else(|| "-".into()).into(),
        ]
    }

    fn is_paged(&self) -> bool {
        true
    }

    fn page(&self, record: &ResultRecord) -> Option<Page> {
        let body = record.body.decode::<Body>().ok()?;
        let single = body.hops.iter().all(|hop| hop.probes.len() <= SINGLE_TIMES);
        let mut columns = vec![Column::right("HOP"), Column::left("ADDRESS").shrinks_to(15)];
        if single {
            columns.push(Column::left("RTT"));
        } else {
            columns.extend(["SENT", "LOSS", "MIN", "MEAN", "MAX"].map(Column::right));
        }
        columns.push(Column::left("NOTE").shrinks_to(8).optional());
        let rows = body.hops.iter().flat_map(|hop| hop_rows(hop, single)).collect();
        Some(Page { heading: heading(&body), columns, rows })
    }
}

fn end(body: &Body) -> Cell {
    let text = match (&body.stop.reason, &body.stop.error) {
        (StopReason::Completed, _) => "reached".to_owned(),
        (StopReason::GapLimit, _) => "silent".to_owned(),
        (StopReason::HopLimit, _) => "hop limit".to_owned(),
        (StopReason::Loop, _) => "loop".to_owned(),
        (StopReason::GlobalStopSet, _) => "stop set".to_owned(),
        (StopReason::Halted, _) => "halted".to_owned(),
        (_, Some(error)) => error.replace('_', " "),
        (_, None) => "error".to_owned(),
    };
    let tone = if body.stop.reason == StopReason::Completed { Tone::Good } else { Tone::Warn };
    Cell::new(text).tone(tone)
}

fn heading(body: &Body) -> String {
    let address = body.address.to_string();
    let target = if body.target == address { address } else { format!("{} ({address})", body.target) };
    let hops = body.hops.last().map_or(0, |hop| u64::from(hop.ttl));
    let end = match body.stop.reason {
        StopReason::Completed => format!("reached in {}", units::count(hops, "hop")),
        StopReason::GapLimit if hops == 0 => "nothing answered".to_owned(),
        StopReason::GapLimit => format!("silent after {}", units::count(hops, "hop")),
        StopReason::HopLimit => "not reached".to_owned(),
        StopReason::Loop => format!("a loop at hop {hops}"),
        StopReason::GlobalStopSet => format!("a router of the stop set at hop {hops}"),
        StopReason::Halted => "called off".to_owned(),
        _ => end(body).text,
    };
    let mut heading = format!("{target}: {end}, {}", units::count(body.sent.into(), "probe"));
    if body.last_ditch.iter().any(|probe| probe.reply.is_some()) {
        heading.push_str(", and the destination answers behind the gap");
    }
    if let Some(mtu) = &body.mtu {
        let size = mtu.mtu.map_or_else(|| "unknown".into(), |mtu| mtu.to_string());
        let _ = write!(heading, ", MTU {size}");
        for note in &mtu.notes {
            let _ = write!(heading, " ({})", mtu_note(note));
        }
    }
    heading
}

fn mtu_note(note: &MtuNote) -> String {
    match (note.kind, &note.from, note.behind_ttl) {
        (MtuNoteKind::TooBig, Some(from), _) => match note.mtu {
            Some(mtu) => format!("{from} takes {mtu}"),
            None => format!("too big for {from}: {}", note.bytes),
        },
        (MtuNoteKind::Silence, _, Some(ttl)) => {
            format!("{} lost without a word behind hop {ttl}", note.bytes)
        }
        (MtuNoteKind::Host, ..) => format!("{} too big for the first link", note.bytes),
        _ => format!("{} lost without a word", note.bytes),
    }
}

fn sender(reply: &Reply) -> String {
    address(reply.from, reply.from_name.as_deref())
}

fn first_reply(hop: &Hop) -> Option<&Reply> {
    hop.probes.iter().find_map(|probe| probe.reply.as_ref())
}

/// A row for each address that answered; one where none did.
fn hop_rows(hop: &Hop, single: bool) -> Vec<Row> {
    let mut senders: Vec<&Reply> = Vec::new();
    for reply in hop.probes.iter().filter_map(|probe| probe.reply.as_ref()) {
        if !senders.iter().any(|known| known.from == reply.from) {
            senders.push(reply);
        }
    }
    let ttl = Cell::new(hop.ttl.to_string());
    if senders.is_empty() {
        return vec![hop_row(
            ttl,
            Cell::new("*").tone(Tone::Faint),
            &hop.probes.iter().collect::<Vec<_>>(),
            single,
        )];
    }
    let mut rows = Vec::new();
    for (index, first) in senders.into_iter().enumerate() {
        // Those that nobody answered stand with the first one who did.
        let of_this = |probe: &&Probe| match &probe.reply {
            Some(reply) => reply.from == first.from,
            None => index == 0,
        };
        let probes: Vec<&Probe> = hop.probes.iter().filter(of_this).collect();
        let ttl = if index == 0 { ttl.clone() } else { Cell::new("") };
        rows.push(hop_row(ttl, sender(first).into(), &probes, single));
    }
    rows
}

fn hop_row(ttl: Cell, address: Cell, probes: &[&Probe], single: bool) -> Row {
    let mut cells = vec![ttl, address];
    let rtts: Vec<u64> = probes.iter().filter_map(|probe| probe.reply.as_ref()?.rtt_ns).collect();
    if single {
        let times: Vec<String> = probes.iter().map(|probe| time(probe)).collect();
        cells.push(times.join("  ").into());
    } else {
        let sent = probes.iter().filter(|probe| !matches!(probe.status, Status::NotSent)).count();
        let known = probes
            .iter()
            .filter(|probe| !matches!(probe.status, Status::NotSent | Status::Overrun | Status::Cancelled))
            .count();
        #[expect(clippy::cast_precision_loss, reason = "counts of probes")]
        let loss = (known > 0).then(|| known.saturating_sub(rtts.len()) as f64 / known as f64);
        let mean =
            u64::try_from(rtts.len()).ok().and_then(|count| rtts.iter().sum::<u64>().checked_div(count));
        let time = |ns: Option<u64>| Cell::new(ns.map_or_else(|| "-".into(), units::nanos_u64));
        cells.push(sent.to_string().into());
        cells.push(loss.map_or_else(|| "-".into(), units::percent).into());
        cells.extend([time(rtts.iter().min().copied()), time(mean), time(rtts.iter().max().copied())]);
    }
    cells.push(Cell::new(note(probes)).tone(Tone::Warn));
    Row::from(cells)
}

fn time(probe: &Probe) -> String {
    match (&probe.reply, probe.status) {
        (Some(Reply { rtt_ns: Some(rtt), .. }), _) => units::nanos_u64(*rtt),
        (Some(_), _) => "?".into(),
        (None, Status::Overrun) => "overrun".into(),
        (None, Status::NotSent) => "not sent".into(),
        (None, _) => "*".into(),
    }
}

/// What is odd about the replies, and the labels that they came with.
fn note(probes: &[&Probe]) -> String {
    let mut notes: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !notes.contains(&text) {
            notes.push(text);
        }
    };
    for probe in probes {
        let Some(reply) = &probe.reply else { continue };
        if !matches!(reply.name.as_str(), "ttl_exceeded" | "echo_reply" | "tcp" | "udp" | "port_unreachable")
        {
            add(reply.name.replace('_', " "));
        }
        for label in reply.extensions.iter().flat_map(|extension| &extension.mpls) {
            add(format!("MPLS {} TTL {}", label.label, label.ttl));
        }
        if let Some(quote) = &reply.quote {
            let rewritten = |name: &&String| {
                matches!(
                    name.as_str(),
                    "source" | "destination" | "source_port" | "destination_port" | "checksum"
                )
            };
            let names: Vec<&str> = quote.altered.iter().filter(rewritten).map(String::as_str).collect();
            if !names.is_empty() {
                add(format!("NAT: {}", names.join(", ").replace('_', " ")));
            }
        }
        if probe.status == Status::Late {
            add("late".into());
        }
    }
    notes.join(", ")
}
