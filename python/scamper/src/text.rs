//! Results for people to read, line by line as scamper's text has them.

use std::fmt::Write as _;

use mmn_warts::records::ping::{Ping, Reply};
use mmn_warts::records::trace::{Hop, Trace};
use mmn_warts::records::tracelb::{ProbeSet, Tracelb};
use mmn_warts::values::{Micros, TimestampReply};
use mmn_warts::{Address, names};

use crate::item::Icmp;

const RST: u8 = 0x04;
const SYN_ACK: u8 = 0x12;
const ECE: u8 = 0x40;

/// Milliseconds with three digits.
pub(crate) fn ms(micros: Option<Micros>) -> String {
    let micros = micros.unwrap_or_default().0;
    format!("{}.{:03}", micros / 1000, micros % 1000)
}

fn name(address: Option<&Address>) -> String {
    address.map_or_else(|| "*".to_owned(), ToString::to_string)
}

/// A ping: a line for it, each reply, and what they come to.
pub(crate) fn ping(ping: &Ping) -> String {
    let mut text = String::from("ping");
    if let Some(src) = &ping.src {
        add(&mut text, format_args!(" from {src}"));
    }
    let dst = name(ping.dst.as_ref());
    add(&mut text, format_args!(" to {dst}: {} byte packets", ping.probe_size.unwrap_or(0)));
    for reply in &ping.replies {
        add(&mut text, format_args!("\n{}", with_options(reply)));
    }
    let sums = crate::ping::statistics(ping);
    let sent = u32::from(ping.ping_sent.unwrap_or(0));
    add(
        &mut text,
        format_args!(
            "\n--- {dst} ping statistics ---\n{sent} packets transmitted, {} packets received",
            sums.replies
        ),
    );
    for (count, what) in [(sums.duplicates, "duplicates"), (sums.errors, "errors"), (sums.pending, "pending")]
    {
        if count > 0 {
            add(&mut text, format_args!(", +{count} {what}"));
        }
    }
    let ended = sent.saturating_sub(sums.pending);
    if let Some(loss) = (ended.saturating_sub(sums.replies) * 100).checked_div(ended) {
        add(&mut text, format_args!(", {loss}% packet loss"));
    }
    if let Some([least, most, mean, deviation]) = sums.rtt {
        let [least, mean, most, deviation] = [least, mean, most, deviation].map(|rtt| ms(Some(rtt)));
        add(
            &mut text,
            format_args!("\nround-trip min/avg/max/stddev = {least}/{mean}/{most}/{deviation} ms"),
        );
    }
    text
}

/// One reply, in one line.
pub(crate) fn ping_reply(reply: &Reply) -> String {
    format!("{} time={} ms", beginning(reply, ""), ms(reply.rtt))
}

fn beginning(reply: &Reply, what: &str) -> String {
    let from = name(reply.addr.as_ref());
    let (size, seq) = (reply.reply_size.unwrap_or(0), reply.probe_id.unwrap_or(0));
    format!("{size} bytes from {from}, seq={seq} {what}ttl={}", reply.reply_ttl.unwrap_or(0))
}

fn with_options(reply: &Reply) -> String {
    let tcp = (crate::ping::proto(reply) == 6).then(|| match reply.tcp_flags.unwrap_or(0) {
        flags if flags & RST != 0 => "tcp=closed ".to_owned(),
        flags if flags & SYN_ACK == SYN_ACK && flags & ECE != 0 => "tcp=open,ecn ".to_owned(),
        flags if flags & SYN_ACK == SYN_ACK => "tcp=open ".to_owned(),
        flags => format!("tcp={flags:#04x} "),
    });
    let mut text = format!("{} time={} ms", beginning(reply, &tcp.unwrap_or_default()), ms(reply.rtt));
    if let (Some(TimestampReply { originate, receive, transmit }), Some(_)) =
        (reply.tsreply, crate::ping::icmp(reply))
    {
        let [originate, receive, transmit] = [originate, receive, transmit].map(of_day);
        add(&mut text, format_args!(" tso={originate} tsr={receive} tst={transmit}"));
    }
    for (at, address) in reply.v4rr.iter().flat_map(|route| &route.0).enumerate() {
        add(&mut text, format_args!("\n {} {address}", if at == 0 { "RR:" } else { "   " }));
    }
    for (at, stamp) in reply.v4ts.iter().flat_map(|option| &option.stamps).enumerate() {
        add(&mut text, format_args!("\n {} ", if at == 0 { "TS:" } else { "   " }));
        if let Some(address) = reply.v4ts.as_ref().and_then(|option| option.addresses.get(at)) {
            add(&mut text, format_args!("{:<15} ", address.to_string()));
        }
        add(&mut text, format_args!("{stamp}"));
    }
    text
}

/// Milliseconds since midnight as a time.
fn of_day(ms: u32) -> String {
    let seconds = ms / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, ms % 1000)
}

/// A trace: a line for it and each hop.
pub(crate) fn trace(trace: &Trace) -> String {
    let mut text = String::from("traceroute");
    if let Some(src) = &trace.src {
        add(&mut text, format_args!(" from {src}"));
    }
    add(&mut text, format_args!(" to {}", name(trace.dst.as_ref())));
    if let Some(router) = &trace.rtr {
        add(&mut text, format_args!(" via {}", router.0));
    }
    let mut mtu = trace.pmtud.as_ref().and_then(|pmtud| pmtud.ifmtu).unwrap_or(0);
    for ttl in trace.firsthop.unwrap_or(1).into()..=trace.hop_count.unwrap_or(0) {
        let of_ttl = || trace.hops.iter().filter(|hop| hop.probe_ttl.map(u16::from) == Some(ttl));
        add(&mut text, format_args!("\n{ttl:2} "));
        let mut before = None;
        for hop in of_ttl() {
            if before == Some(&hop.addr) {
                text.push(' ');
            } else {
                add(&mut text, format_args!(" {} ", name(hop.addr.as_ref())));
            }
            before = Some(&hop.addr);
            add(&mut text, format_args!(" {} ms{}", ms(hop.rtt), remark(hop)));
        }
        if before.is_none() {
            let all = trace.flags.or(trace.flags8.map(u32::from)).unwrap_or(0) & 1 != 0;
            let stars = if all { trace.attempts.unwrap_or(1).max(1) } else { 1 };
            text.push_str(&" *".repeat(stars.into()));
        } else if let Some(pmtud) = &trace.pmtud {
            add(&mut text, format_args!(" [mtu: {mtu}]"));
            // Who said that a packet is too big is before the smaller link.
            let too_big = pmtud.hops.iter().find(|said| {
                of_ttl().any(|hop| hop.addr == said.addr) && crate::trace::icmp(said) == Some(Icmp::TooBig)
            });
            mtu = too_big.and_then(|said| said.nhmtu).unwrap_or(mtu);
        }
    }
    text
}

/// One hop, in one line.
pub(crate) fn hop(hop: &Hop) -> String {
    let address = name(hop.addr.as_ref());
    match &hop.name {
        Some(name) => format!("{} ({address}) {} ms", name.to_str(), ms(hop.rtt)),
        None => format!("{address} {} ms", ms(hop.rtt)),
    }
}

/// What is to be said of a reply that is neither what is expected of a hop nor of a target.
fn remark(hop: &Hop) -> String {
    if crate::trace::is_tcp(hop) {
        return match hop.tcp_flags.unwrap_or(0) {
            flags if flags & RST != 0 => " [closed]".to_owned(),
            flags if flags & SYN_ACK == SYN_ACK && flags & ECE != 0 => " [open, ecn]".to_owned(),
            flags if flags & SYN_ACK == SYN_ACK => " [open]".to_owned(),
            0 => " [unknown, no flags]".to_owned(),
            flags => {
                let words = [
                    (0x02, "SYN"),
                    (0x10, "ACK"),
                    (0x08, "PSH"),
                    (0x01, "FIN"),
                    (0x20, "URG"),
                    (0x80, "CWR"),
                    (ECE, "ECE"),
                ];
                let set = words.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word);
                format!(" [unknown, {}]", set.collect::<Vec<_>>().join(" "))
            }
        };
    }
    let Some(icmp) = crate::trace::icmp(hop) else { return String::new() };
    let (kind, code) = hop.icmp.map_or((0, 0), |icmp| (icmp.kind, icmp.code));
    match (crate::trace::is_v6(hop), icmp, code) {
        (_, Icmp::TimeExceeded | Icmp::EchoReply | Icmp::PortUnreachable, _) => String::new(),
        (_, Icmp::TooBig, _) => " !F".to_owned(),
        (_, Icmp::Unreachable, 0) => " !N".to_owned(),
        (false, Icmp::Unreachable, 1) => " !H".to_owned(),
        (false, Icmp::Unreachable, 2) | (true, Icmp::Unreachable, 1) => " !P".to_owned(),
        (false, Icmp::Unreachable, 5) | (true, Icmp::Unreachable, 2) => " !S".to_owned(),
        (false, Icmp::Unreachable, 13) => " !X".to_owned(),
        (true, Icmp::Unreachable, 3) => " !A".to_owned(),
        (_, Icmp::Unreachable, code) => format!(" !<{code}>"),
        _ => format!(" !<{kind},{code}>"),
    }
}

/// A trace of all paths: a line for it and each link.
pub(crate) fn tracelb(trace: &Tracelb) -> String {
    let mut text = String::from("tracelb");
    if let Some(src) = &trace.src {
        add(&mut text, format_args!(" from {src}"));
    }
    if let Some(dst) = &trace.dst {
        add(&mut text, format_args!(" to {dst}"));
    }
    if trace.src.is_some() || trace.dst.is_some() {
        text.push(',');
    }
    add(
        &mut text,
        format_args!(
            " {} nodes, {} links, {} probes, {}%",
            trace.nodes.len(),
            trace.links.len(),
            trace.probec.unwrap_or(0),
            trace.confidence.unwrap_or(0)
        ),
    );
    for (at, node) in (0u16..).zip(&trace.nodes) {
        let from_here: Vec<_> = trace.links.iter().filter(|link| link.from == Some(at)).collect();
        for link in &from_here {
            add(&mut text, format_args!("\n{}", name(node.addr.as_ref())));
            let far = link.to.and_then(|to| trace.nodes.get(usize::from(to)));
            // What is silent between is said where there is one way only.
            let between = if from_here.len() > 1 { &[][..] } else { link.sets.as_slice() };
            let end = if far.is_some() { between.len().saturating_sub(1) } else { between.len() };
            for set in between.iter().take(end) {
                add(&mut text, format_args!(" -> {}", summary(set)));
            }
            match far {
                Some(far) => add(&mut text, format_args!(" -> {}", name(far.addr.as_ref()))),
                None if between.is_empty() => text.push_str(" -> *"),
                None => {}
            }
        }
    }
    text
}

/// Who answered the probes of a set.
fn summary(set: &ProbeSet) -> String {
    let mut from: Vec<String> = Vec::new();
    let mut silent = false;
    for probe in &set.probes {
        silent |= probe.replies.is_empty();
        for address in probe.replies.iter().filter_map(|reply| reply.from.as_ref()) {
            let address = address.to_string();
            if !from.contains(&address) {
                from.push(address);
            }
        }
    }
    if from.is_empty() {
        return "*".to_owned();
    }
    if silent {
        from.push("*".to_owned());
    }
    format!("({})", from.join(", "))
}

/// The result of a test of a TCP server, in words.
pub(crate) fn tbit_result(result: u16) -> String {
    names::tbit_result(result).map_or_else(|| result.to_string(), str::to_owned)
}

/// Adds to a text.
fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Memory does not fail to be written to.
    let _ = text.write_fmt(more);
}
