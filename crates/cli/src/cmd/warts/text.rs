//! `mmn warts text FILE…`: for people to read.

use std::fmt::{self, Write as _};

use clap::Args as ClapArgs;
use mmn_warts::records::ping::Ping;
use mmn_warts::records::trace::{Hop, Trace};
use mmn_warts::values::{Address, Extension, Time};
use mmn_warts::{Record, Tables, json, names};
use serde_json::Value;

use super::files::{Files, Visit};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::table::one_line;

/// `mmn warts text`
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
}

pub(super) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    args.files.visit(session, &mut Blocks)
}

struct Blocks;

impl Visit for Blocks {
    fn record(&mut self, session: &mut Session, record: Record, tables: &Tables) -> Result<(), Failure> {
        let mut lines = vec![head(&record)];
        match &record {
            Record::Ping(ping) => replies(ping, &mut lines),
            Record::Trace(trace) => hops(trace, &mut lines),
            other => {
                let value = json::value(other, tables).unwrap_or_else(|| json::fields(other));
                if let Value::Object(fields) = value {
                    let known = ["type", "version", "src", "dst", "start"];
                    let rest = fields.iter().filter(|(name, _)| !known.contains(&name.as_str()));
                    rest.for_each(|(name, value)| field(name, value, 1, &mut lines));
                }
            }
        }
        for line in lines {
            session.printer.line(&line)?;
        }
        Ok(())
    }
}

/// An instant as `2026-11-23 01:29:27.959523`.
pub(super) fn instant(time: Time) -> String {
    let timestamp = mmn_schema::time::Timestamp::from_unix_ns(i64::from(time.sec) * 1_000_000_000);
    let text = timestamp.to_string();
    let seconds = text.get(..19).unwrap_or_default().replace('T', " ");
    format!("{seconds}.{:06}", time.usec)
}

/// What every measurement has, in one line.
fn head(record: &Record) -> String {
    let mut line = record.kind().name().to_owned();
    let Some(about) = record.about() else { return line };
    let name = |address: Option<&Address>| address.map_or_else(|| "?".to_owned(), ToString::to_string);
    add(&mut line, format_args!(" {} to {}", name(about.src), name(about.dst)));
    if let Some(start) = about.start {
        add(&mut line, format_args!(", {}", instant(start)));
    }
    line
}

fn replies(ping: &Ping, lines: &mut Vec<String>) {
    let method = word(ping.probe_method.unwrap_or(0), names::ping_method);
    let stop = word(ping.stop_reason.unwrap_or(0), names::ping_stop);
    let sent = ping.ping_sent.unwrap_or(0);
    lines.push(format!("  {method}, {sent} sent, {} replies, {stop}", ping.replies.len()));
    for reply in &ping.replies {
        let from = reply.addr.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
        let mut line = format!("  {:>5}  {from}", reply.probe_id.unwrap_or(0));
        if let Some(rtt) = reply.rtt {
            add(&mut line, format_args!("  {} ms", ms(rtt.0)));
        }
        if let Some(ttl) = reply.reply_ttl {
            add(&mut line, format_args!("  ttl {ttl}"));
        }
        if let Some(icmp) = reply.icmp.filter(|icmp| !matches!(icmp.kind, 0 | 129)) {
            add(&mut line, format_args!("  icmp {}/{}", icmp.kind, icmp.code));
        }
        if let Some(flags) = reply.tcp_flags {
            add(&mut line, format_args!("  tcp flags {flags:#04x}"));
        }
        lines.push(line);
    }
    error(ping.errmsg.as_ref(), lines);
}

fn hops(trace: &Trace, lines: &mut Vec<String>) {
    let method = word(trace.probe_type.unwrap_or(0), names::trace_type);
    let stop = word(trace.stop_reason.unwrap_or(0), names::trace_stop).to_lowercase();
    lines.push(format!("  {method}, {} probes, {stop}", trace.probec.unwrap_or(0)));
    let farthest = trace.hops.iter().filter_map(|hop| hop.probe_ttl).max().unwrap_or(0);
    for ttl in trace.firsthop.unwrap_or(1).max(1)..=farthest {
        let before = lines.len();
        let of_ttl = trace.hops.iter().filter(|hop| hop.probe_ttl == Some(ttl));
        lines.extend(of_ttl.map(|of| format!("  {ttl:>3}  {}", hop(of))));
        if lines.len() == before {
            lines.push(format!("  {ttl:>3}  *"));
        }
    }
    for of in trace.lastditch.iter().flat_map(|lastditch| &lastditch.hops) {
        lines.push(format!("  last ditch, ttl {}: {}", of.probe_ttl.unwrap_or(0), hop(of)));
    }
    if let Some(pmtud) = &trace.pmtud {
        lines.push(format!(
            "  path mtu {}, of the interface {}",
            pmtud.pmtu.unwrap_or(0),
            pmtud.ifmtu.unwrap_or(0)
        ));
    }
    error(trace.errmsg.as_ref(), lines);
}

fn hop(hop: &Hop) -> String {
    let mut line = hop.addr.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    if let Some(name) = &hop.name {
        add(&mut line, format_args!(" ({})", one_line(&name.to_str())));
    }
    if let Some(rtt) = hop.rtt {
        add(&mut line, format_args!("  {} ms", ms(rtt.0)));
    }
    if let Some(icmp) =
        hop.icmp.filter(|icmp| !matches!((icmp.kind, icmp.code), (11 | 0 | 129, 0) | (3, 0..=1)))
    {
        add(&mut line, format_args!("  icmp {}/{}", icmp.kind, icmp.code));
    }
    for label in hop.icmpext.iter().flat_map(|objects| &objects.0).filter_map(Extension::mpls).flatten() {
        add(&mut line, format_args!("  mpls {} ttl {}", label.label, label.ttl));
    }
    line
}

/// A field of any other record, and what is in it below.
fn field(name: &str, value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields)
            if let (2, Some(sec), Some(usec)) =
                (fields.len(), number(value, "sec"), number(value, "usec")) =>
        {
            let text =
                if sec > 100_000_000 { instant(Time { sec, usec }) } else { format!("{sec}.{usec:06} s") };
            lines.push(format!("{indent}{name}: {text}"));
        }
        Value::Object(fields) => {
            lines.push(format!("{indent}{name}:"));
            fields.iter().for_each(|(name, value)| field(name, value, depth + 1, lines));
        }
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            lines.push(format!("{indent}{name}: {}", items.join(", ")));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                field(&format!("{name} {at}"), item, depth, lines);
            }
        }
        other => lines.push(format!("{indent}{name}: {}", plain(other))),
    }
}

fn number(value: &Value, name: &str) -> Option<u32> {
    value.get(name)?.as_u64()?.try_into().ok()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), one_line)
}

fn error(message: Option<&mmn_warts::values::Text>, lines: &mut Vec<String>) {
    if let Some(message) = message {
        lines.push(format!("  error: {}", one_line(&message.to_str())));
    }
}

/// Adds to a line.
fn add(line: &mut String, more: fmt::Arguments<'_>) {
    // Memory does not fail to be written to.
    let _ = line.write_fmt(more);
}

fn word(value: u8, name: fn(u8) -> Option<&'static str>) -> String {
    name(value).map_or_else(|| value.to_string(), str::to_owned)
}

fn ms(micros: u32) -> String {
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}
