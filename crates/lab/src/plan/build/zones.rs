//! Zones of the DNS and those who serve them.

use mmn_probe::time::Nanos;

use super::Build;
use crate::ids::HostId;
use crate::plan::{DnsServer, Record, RecordData, Serial, Zone, file};

impl Build<'_> {
    pub(super) fn zone(&mut self, number: usize, at: usize, zone: &file::Zone) {
        let item = format!("[[zone]] {number} \"{}\"", zone.name);
        let origin = zone.name.trim_end_matches('.').to_ascii_lowercase();
        let mut serials = vec![Serial { since: Nanos::ZERO, serial: zone.serial.unwrap_or(1) }];
        for update in &zone.updates {
            let since =
                self.duration(Some(at), &format!("{item}: at_s"), Some(update.at_s * 1e3), Nanos::ZERO);
            if serials.last().is_some_and(|last| last.since >= since) {
                self.problems.add(Some(at), format!("{item}: updates come one after the other"));
            }
            serials.push(Serial { since, serial: update.serial });
        }
        let ttl_s = zone.ttl.unwrap_or(300);
        let mut records = Vec::new();
        for line in &zone.records {
            let read = record(line, &origin, ttl_s).ok_or_else(|| {
                format!("the record \"{line}\": expected NAME [TTL] TYPE DATA with A, AAAA, NS, CNAME, PTR, MX or TXT")
            });
            records.extend(self.found(at, &item, read));
        }
        if !is_name(&origin) && !origin.is_empty() {
            self.problems.add(Some(at), format!("{item}: no name of a zone"));
        }
        let id = self.plan.zones.push(Zone { name: origin.as_str().into(), serials, ttl_s, records });
        // The root has no letters that make a name.
        let added = if origin.is_empty() { Ok(()) } else { self.zone_names.add(&origin, id) };
        self.found(at, &item, added);
    }

    pub(super) fn dns(&mut self, number: usize, at: usize, dns: &file::Dns) {
        let item = format!("[[dns]] {number} at \"{}\"", dns.host);
        let Some(host) = self.host_of(at, &item, &dns.host) else { return };
        let mut zones = Vec::new();
        for name in &dns.zones {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let root = self.plan.zones.pairs().find(|(_, zone)| name.is_empty() && zone.name.is_empty());
            let found = match root {
                Some((id, _)) => Ok(id),
                None => self.zone_names.find(&name),
            };
            zones.extend(self.found(at, &item, found));
        }
        if zones.is_empty() && !dns.recursive {
            self.problems.add(Some(at), format!("{item}: it has zones, or recursive = true"));
        }
        if self.plan.dns.iter().any(|other| other.host == host) {
            self.problems.add(Some(at), format!("{item}: this host has a [[dns]] already"));
        }
        let identity = dns.identity.as_deref().unwrap_or(&dns.host);
        if identity.len() > 255 {
            self.problems.add(Some(at), format!("{item}: identity has at most 255 octets"));
        }
        let lag_ms = dns.lag_s.map(|s| s * 1e3);
        let lag = self.duration(Some(at), &format!("{item}: lag_s"), lag_ms, Nanos::ZERO);
        let miss = self.duration(Some(at), &format!("{item}: miss_ms"), dns.miss_ms, Nanos::from_millis(20));
        let server =
            DnsServer { host, identity: identity.into(), zones, lag, recursive: dns.recursive, miss };
        self.plan.dns.push(server);
        self.serve(host, &[53], &[53]);
    }

    /// Opens ports of a host for a service.
    pub(super) fn serve(&mut self, host: HostId, udp: &[u16], tcp: &[u16]) {
        let node = self.plan.hosts[host].node;
        let ports = &mut self.plan.nodes[node].manners.ports;
        for (list, more) in [(&mut ports.service_udp, udp), (&mut ports.service_tcp, tcp)] {
            list.extend_from_slice(more);
            list.sort_unstable();
            list.dedup();
        }
    }
}

/// A line like that of a master file (RFC 1035, section 5.1): name, perhaps a TTL, type, data.
fn record(line: &str, origin: &str, ttl_s: u32) -> Option<Record> {
    let mut words = line.split_whitespace();
    let name = absolute(words.next()?, origin)?;
    let mut word = words.next()?;
    let mut ttl = ttl_s;
    if let Ok(own) = word.parse() {
        ttl = own;
        word = words.next()?;
    }
    if word.eq_ignore_ascii_case("TXT") {
        let text = line.split_once(word)?.1.trim();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let fits = text.len() <= 255;
        return fits.then(|| Record { name, ttl_s: ttl, data: RecordData::Txt(text.into()) });
    }
    let first = words.next()?;
    let data = match word.to_ascii_uppercase().as_str() {
        "A" => RecordData::A(first.parse().ok()?),
        "AAAA" => RecordData::Aaaa(first.parse().ok()?),
        "NS" => RecordData::Ns(absolute(first, origin)?),
        "CNAME" => RecordData::Cname(absolute(first, origin)?),
        "PTR" => RecordData::Ptr(absolute(first, origin)?),
        "MX" => RecordData::Mx(first.parse().ok()?, absolute(words.next()?, origin)?),
        _ => return None,
    };
    words.next().is_none().then_some(Record { name, ttl_s: ttl, data })
}

/// A whole name in lower case without a dot at its end, of one that may be relative.
fn absolute(name: &str, origin: &str) -> Option<Box<str>> {
    let name = name.to_ascii_lowercase();
    let whole = match name.strip_suffix('.') {
        Some(whole) => whole.to_owned(),
        None if name == "@" => origin.to_owned(),
        None if origin.is_empty() => name,
        None => format!("{name}.{origin}"),
    };
    (whole.is_empty() || is_name(&whole)).then(|| whole.into())
}

/// Labels of 1 to 63 octets, 253 in all (RFC 1035, section 2.3.4).
fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}
