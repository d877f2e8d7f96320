//! Tbit: packets are taken apart as far as TCP's options, and sequence numbers count from the initial ones.

use serde_json::{Value, json};

use super::object::{Object, between};
use crate::names;
use crate::reader::Tables;
use crate::records::tbit::{Http, Packet, Part, Tbit};
use crate::values::hex;

const SENT: u8 = 1;
const RECEIVED: u8 = 2;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const TCP_FLAGS: &[&str] = &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];
const OPTIONS: &[&str] = &["tcpts", "sack"];
const PMTUD_OPTIONS: &[&str] = &["blackhole"];
const NULL_OPTIONS: &[&str] = &["tcpts", "ipts-syn", "iprr-syn", "ipqs-syn", "sack", "fo", "fo-exp"];
const NULL_RESULTS: &[&str] = &["tcpts-ok", "sack-ok", "fo-ok"];
/// The result of an initial window that was found.
const WINDOW_FOUND: u16 = 60;

pub(super) fn value(tbit: &Tbit, tables: &Tables) -> Value {
    let mut initial = Initial::default();
    let pkts: Vec<_> = tbit.pkts.iter().map(|packet| packet_value(tbit, packet, &mut initial)).collect();
    let mut object = Object::new("tbit");
    let test = tbit.test.unwrap_or(0);
    object.word("tbit_type", test.into(), names::tbit_type(test));
    object.set("userid", tbit.userid.unwrap_or(0));
    object.address("src", tbit.src.as_ref());
    object.address("dst", tbit.dst.as_ref());
    object.set("sport", tbit.sport.unwrap_or(0));
    object.set("dport", tbit.dport.unwrap_or(0));
    object.time("start", tbit.start);
    object.set("client_mss", tbit.client_mss.unwrap_or(0));
    object.set("server_mss", tbit.server_mss.unwrap_or(0));
    object.set("ttl", tbit.ttl.unwrap_or(255));
    let result = tbit.result.unwrap_or(0);
    object.word("result", result.into(), names::tbit_result(result));
    object.put("options", tbit.options.filter(|bits| *bits != 0).map(|bits| words(bits, 16, OPTIONS)));
    object.text("errmsg", tbit.errmsg.as_ref());
    object.nonzero("wscale", tbit.wscale);
    let cookie = tbit.fo_cookie.as_ref().filter(|cookie| !cookie.0.is_empty());
    object.put("fo_cookie", cookie.map(|cookie| hex(&cookie.0)));
    object.put("client_isn", initial.client);
    object.put("server_isn", initial.server);
    for part in &tbit.parts {
        part_fields(&mut object, tbit, part);
    }
    object.monitor(tbit.list, tables);
    object.set("pkts", pkts);
    object.done()
}

fn part_fields(object: &mut Object, tbit: &Tbit, part: &Part) {
    match part {
        Part::Pmtud(pmtud) => {
            object.set("mtu", pmtud.mtu.unwrap_or(0));
            object.set("ptb_retx", pmtud.ptb_retx.unwrap_or(0));
            object.address("ptbsrc", pmtud.ptbsrc.as_ref());
            object.set("pmtud_options", words(pmtud.options.unwrap_or(0).into(), 8, PMTUD_OPTIONS));
        }
        Part::Null(null) => {
            object.set("null_options", words(null.options.unwrap_or(0).into(), 16, NULL_OPTIONS));
            object.set("null_results", words(null.results.unwrap_or(0).into(), 16, NULL_RESULTS));
        }
        Part::Icw(icw) => object.put("icw_bytes", window(tbit, icw.start_seq.unwrap_or(0))),
        Part::Blind(blind) => {
            object.set("blind_off", blind.off.unwrap_or(0));
            object.set("blind_retx", blind.retx.unwrap_or(0));
        }
        Part::Http(Http { host, file, scheme, .. }) => {
            object.set("app", "http");
            let scheme = if *scheme == Some(1) { "https" } else { "http" };
            let file = file.as_ref().map(ToString::to_string).unwrap_or_default();
            object.put("http_url", host.as_ref().map(|host| format!("{scheme}://{host}{file}")));
        }
        Part::Bgp(bgp) => {
            object.set("app", "bgp");
            object.set("bgp_asn", bgp.asn.unwrap_or(0));
        }
        Part::Other { .. } => {}
    }
}

/// Flags, those without a word as their numbers.
fn words(bits: u32, count: u32, words: &[&str]) -> Vec<Value> {
    let set = (0..count).filter(|at| bits >> at & 1 == 1);
    set.map(|at| match usize::try_from(at).ok().and_then(|at| words.get(at)) {
        Some(word) => json!(word),
        None => json!(1_u32 << at),
    })
    .collect()
}

/// The initial sequence numbers, once they were seen.
#[derive(Default)]
struct Initial {
    client: Option<u32>,
    server: Option<u32>,
}

impl Initial {
    fn see(&mut self, tcp: &Tcp<'_>) {
        match tcp.flags & (SYN | ACK) {
            SYN => _ = self.client.get_or_insert(tcp.seq),
            both if both == SYN | ACK => _ = self.server.get_or_insert(tcp.seq),
            _ => {}
        }
    }
}

fn packet_value(tbit: &Tbit, packet: &Packet, initial: &mut Initial) -> Value {
    let mut object = Object::plain();
    let octets = packet.data.as_ref().map_or(&[][..], |data| &data.0);
    let dir = packet.dir.unwrap_or(0);
    match dir {
        SENT => object.set("dir", "tx"),
        RECEIVED => object.set("dir", "rx"),
        other => object.set("dir", other),
    }
    let after = between(tbit.start.unwrap_or_default(), packet.time.unwrap_or_default());
    object.set("tv_sec", after / 1_000_000);
    object.set("tv_usec", after % 1_000_000);
    object.set("len", octets.len());
    let Some(ip) = Ip::of(octets) else { return object.done() };
    object.set("ip_hlen", ip.header);
    object.set("ip_ecn", ip.ecn);
    object.set("ip_ttl", ip.ttl);
    if let Some(Fragment { id, offset, more }) = ip.fragment {
        object.set("frag_id", id);
        object.set("frag_off", offset);
        object.set("frag_mf", u8::from(more));
    }
    object.put("frag_df", ip.unfragmented.map(u8::from));
    if let Some(tcp) = ip.tcp(octets) {
        initial.see(&tcp);
        let (own, others) = match dir {
            SENT => (initial.client, initial.server),
            _ => (initial.server, initial.client),
        };
        let (own, others) = (own.unwrap_or(0), others.unwrap_or(0));
        object.set("tcp_hlen", tcp.header);
        object.set("tcp_flags", words(tcp.flags.into(), 8, TCP_FLAGS));
        // What was received of the other side is what its acknowledgements are about.
        object.set("tcp_options", options(tcp.options, others));
        let reset = dir == RECEIVED && tcp.seq == 0 && tcp.flags & RST != 0;
        object.set("tcp_seq", if reset { 0 } else { tcp.seq.wrapping_sub(own) });
        if tcp.flags & ACK != 0 {
            object.set("tcp_ack", tcp.ack.wrapping_sub(others));
        }
        object.set("tcp_datalen", tcp.data);
        object.set("tcp_win", tcp.window);
    }
    object.done()
}

/// How much the server sent before it sent its first octet again (RFC 6928 has what it may).
fn window(tbit: &Tbit, from: u32) -> Option<u32> {
    let segments = tbit.pkts.iter().skip(1).filter(|packet| packet.dir == Some(RECEIVED));
    let mut segments = segments.map(|packet| {
        let octets = packet.data.as_ref().map_or(&[][..], |data| &data.0);
        Ip::of(octets)?.tcp(octets)
    });
    if tbit.result != Some(WINDOW_FOUND) {
        return None;
    }
    let first = segments.next()??;
    if first.flags & (SYN | ACK) != SYN | ACK {
        return None;
    }
    let start = first.seq.wrapping_add(from);
    let (mut begun, mut farthest) = (false, 0);
    for segment in segments {
        let tcp = segment?;
        let offset = tcp.seq.wrapping_sub(start);
        // What is half the numbers away lies before.
        if (tcp.data == 0 && tcp.flags & FIN == 0) || offset > u32::MAX / 2 {
            continue;
        }
        if offset == 0 && std::mem::replace(&mut begun, true) {
            return Some(farthest);
        }
        farthest = farthest.max(offset.saturating_add(u32::from(tcp.data)));
    }
    None
}

/// A header of IP, with what follows an IPv6 header up to the transport.
struct Ip {
    header: usize,
    length: usize,
    protocol: u8,
    ecn: u8,
    ttl: u8,
    fragment: Option<Fragment>,
    /// The flag of IPv4 that it must not be fragmented.
    unfragmented: Option<bool>,
}

struct Fragment {
    id: u32,
    offset: u16,
    more: bool,
}

impl Ip {
    fn of(octets: &[u8]) -> Option<Self> {
        match octets.first()? >> 4 {
            4 => {
                let field = u16_at(octets, 6)?;
                let id = u16_at(octets, 4)?.into();
                let fragment = Fragment { id, offset: (field & 0x1fff) << 3, more: field & 0x2000 != 0 };
                Some(Self {
                    header: usize::from(octets.first()? & 0xf) * 4,
                    length: u16_at(octets, 2)?.into(),
                    protocol: *octets.get(9)?,
                    ecn: octets.get(1)? & 3,
                    ttl: *octets.get(8)?,
                    fragment: Some(fragment),
                    unfragmented: Some(field & 0x4000 != 0),
                })
            }
            6 => {
                let mut ip = Self {
                    header: 40,
                    length: usize::from(u16_at(octets, 4)?) + 40,
                    protocol: *octets.get(6)?,
                    ecn: octets.get(1)? >> 4 & 3,
                    ttl: *octets.get(7)?,
                    fragment: None,
                    unfragmented: None,
                };
                ip.extensions(octets)?;
                Some(ip)
            }
            _ => None,
        }
    }

    /// Passes hop-by-hop options (0), destination options (60), routing (43) and fragment headers (44).
    fn extensions(&mut self, octets: &[u8]) -> Option<()> {
        while let 0 | 43 | 44 | 60 = self.protocol {
            let at = self.header;
            if self.protocol == 44 {
                let field = u16_at(octets, at + 2)?;
                let id = u32_at(octets, at + 4)?;
                self.fragment = Some(Fragment { id, offset: field & 0xfff8, more: field & 1 != 0 });
                self.header += 8;
            } else {
                self.header += usize::from(*octets.get(at + 1)?) * 8 + 8;
            }
            self.protocol = *octets.get(at)?;
        }
        Some(())
    }

    /// The segment, where it is one of TCP and not the later part of one.
    fn tcp<'a>(&self, octets: &'a [u8]) -> Option<Tcp<'a>> {
        let later = self.fragment.as_ref().is_some_and(|fragment| fragment.offset != 0);
        let segment = octets.get(self.header..).filter(|_| self.protocol == 6 && !later)?;
        let header = usize::from(segment.get(12)? >> 4) * 4;
        Some(Tcp {
            seq: u32_at(segment, 4)?,
            ack: u32_at(segment, 8)?,
            header,
            flags: *segment.get(13)?,
            window: u16_at(segment, 14)?,
            options: segment.get(20..header.min(segment.len())).unwrap_or_default(),
            data: u16::try_from(self.length.saturating_sub(self.header + header)).unwrap_or(u16::MAX),
        })
    }
}

struct Tcp<'a> {
    seq: u32,
    ack: u32,
    header: usize,
    flags: u8,
    window: u16,
    options: &'a [u8],
    /// How many octets it carries.
    data: u16,
}

/// The options of a segment (RFC 9293, section 3.2; RFC 7323, RFC 2018, RFC 7413) up to one that is none; what this does not
/// know is left out. SACK blocks count from `initial`.
fn options(mut octets: &[u8], initial: u32) -> Vec<Value> {
    let mut options = Vec::new();
    while let Some(&kind) = octets.first() {
        match kind {
            0 => {
                options.push(json!({ "kind": "eol" }));
                break;
            }
            1 => {
                options.push(json!({ "kind": "nop" }));
                octets = octets.get(1..).unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let length = octets.get(1).copied().map_or(0, usize::from);
        let Some((option, rest)) = octets.split_at_checked(length).filter(|_| length >= 2) else { break };
        octets = rest;
        options.extend(option_value(kind, option.get(2..).unwrap_or_default(), initial));
    }
    options
}

fn option_value(kind: u8, content: &[u8], initial: u32) -> Option<Value> {
    let with_cookie = |kind: &str, cookie: &[u8]| match cookie {
        [] => json!({ "kind": kind }),
        cookie => json!({ "kind": kind, "cookie": hex(cookie) }),
    };
    match (kind, content) {
        (3, [shift]) => Some(json!({ "kind": "wscale", "shift": shift })),
        (4, []) => Some(json!({ "kind": "sack-ok" })),
        (5, blocks) if matches!(blocks.len(), 8 | 16 | 24 | 32) => {
            let edge = |block: &[u8], at| u32_at(block, at).map(|edge| edge.wrapping_sub(initial));
            let block = |block: &[u8]| json!({ "left": edge(block, 0), "right": edge(block, 4) });
            Some(json!({ "kind": "sack", "blocks": blocks.chunks(8).map(block).collect::<Vec<_>>() }))
        }
        (8, content) if content.len() == 8 => {
            Some(json!({ "kind": "ts", "val": u32_at(content, 0), "ecr": u32_at(content, 4) }))
        }
        (34, cookie) => Some(with_cookie("fo", cookie)),
        (254, [0xf9, 0x89, cookie @ ..]) => Some(with_cookie("fo-exp", cookie)),
        _ => None,
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;
    use crate::records::tbit::{Icw, Pmtud};
    use crate::values::{Data, Time};

    const START: Time = Time { sec: 1_700_000_000, usec: 900_000 };

    /// A segment in IPv4, with a sequence number, an acknowledgement, flags, options and so many octets.
    fn segment(dir: u8, numbers: (u32, u32), flags: u8, options: &[u8], data: u16) -> Packet {
        let header = 20 + u16::try_from(options.len()).unwrap();
        let mut octets = vec![0x45, 1];
        octets.extend((20 + header + data).to_be_bytes());
        octets.extend([0, 7, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 80]);
        octets.extend(numbers.0.to_be_bytes());
        octets.extend(numbers.1.to_be_bytes());
        octets.extend([u8::try_from(header / 4).unwrap() << 4, flags, 0x10, 0, 0, 0, 0, 0]);
        octets.extend(options);
        octets.extend(vec![0; usize::from(data)]);
        let time = Some(Time { sec: START.sec + 1, usec: 0 });
        Packet { dir: Some(dir), time, data: Some(Data(octets)), ..Packet::default() }
    }

    fn said(tbit: &Tbit) -> Value {
        value(tbit, Reader::new(&[][..]).tables())
    }

    #[test]
    fn packets_are_taken_apart() {
        let offered = [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0];
        let pkts = vec![
            segment(SENT, (100, 0), SYN, &offered, 0),
            segment(RECEIVED, (7_000, 101), SYN | ACK, &[254, 6, 0xf9, 0x89, 0xab, 0xcd, 0, 0], 0),
            segment(
                SENT,
                (101, 7_001),
                ACK | 8,
                &[1, 1, 5, 10, 0, 0, 0x1b, 0x58 + 8, 0, 0, 0x1b, 0x58 + 16],
                3,
            ),
            segment(RECEIVED, (0, 104), RST | ACK, &[], 0),
            Packet { dir: Some(9), data: Some(Data(vec![0x45])), ..Packet::default() },
        ];
        let pmtud = Pmtud { mtu: Some(1_280), options: Some(3), ..Pmtud::default() };
        let tbit = Tbit {
            start: Some(START),
            test: Some(1),
            result: Some(25),
            options: Some(1),
            pkts,
            parts: vec![Part::Pmtud(pmtud)],
            ..Tbit::default()
        };
        let json = said(&tbit);
        assert_eq!(json["tbit_type"], "pmtud");
        assert_eq!(json["result"], "pmtud-success");
        assert_eq!(json["options"], json!(["tcpts"]));
        assert_eq!(json["pmtud_options"], json!(["blackhole", 2]));
        assert_eq!((&json["client_isn"], &json["server_isn"]), (&json!(100), &json!(7_000)));
        assert_eq!(
            json["pkts"][0],
            json!({
                "dir": "tx", "tv_sec": 0, "tv_usec": 100_000, "len": 60, "ip_hlen": 20, "ip_ecn": 1, "ip_ttl": 64,
                "frag_id": 7, "frag_off": 0, "frag_mf": 0, "frag_df": 1, "tcp_hlen": 40, "tcp_flags": ["syn"],
                "tcp_options": [
                    { "kind": "nop" }, { "kind": "wscale", "shift": 7 }, { "kind": "sack-ok" },
                    { "kind": "ts", "val": 9, "ecr": 0 },
                ],
                "tcp_seq": 0, "tcp_datalen": 0, "tcp_win": 4_096,
            })
        );
        assert_eq!(
            json["pkts"][1]["tcp_options"],
            json!([{ "kind": "fo-exp", "cookie": "abcd" }, { "kind": "eol" }])
        );
        assert_eq!(json["pkts"][2]["tcp_options"][2]["blocks"], json!([{ "left": 8, "right": 16 }]));
        assert_eq!(json["pkts"][2]["tcp_ack"], 1);
        assert_eq!(json["pkts"][2]["tcp_datalen"], 3);
        assert_eq!((&json["pkts"][3]["tcp_seq"], &json["pkts"][3]["tcp_ack"]), (&json!(0), &json!(4)));
        assert_eq!(json["pkts"][4], json!({ "dir": 9, "tv_sec": 0, "tv_usec": 0, "len": 1 }));
    }

    #[test]
    fn a_window_ends_where_its_first_octet_comes_again() {
        let came = |seq, data| segment(RECEIVED, (seq, 1), ACK, &[], data);
        let mut tbit = Tbit {
            test: Some(5),
            result: Some(WINDOW_FOUND),
            pkts: vec![
                segment(SENT, (0, 0), SYN, &[], 0),
                segment(RECEIVED, (u32::MAX, 1), SYN | ACK, &[], 0),
                came(0, 10),
                came(20, 10),
                came(0, 10),
                came(30, 10),
            ],
            parts: vec![Part::Icw(Icw { start_seq: Some(1), ..Icw::default() })],
            ..Tbit::default()
        };
        assert_eq!(said(&tbit)["icw_bytes"], 30);
        tbit.pkts.truncate(4);
        assert_eq!(said(&tbit)["icw_bytes"], Value::Null);
    }
}
