//! `ping`.

use std::net::IpAddr;

use futures::FutureExt;
use mmn_kit::{Failure, LocalBoxFuture, Measured, code};
use mmn_modules::LaneWish;
use mmn_modules::ping::{Body, IpStamp, IpTimestamps, Method, Params, Ping, PseudoMtu, Schedule, of_samples};
use mmn_probe::packet::{Departure, Identity, Ttl};
use mmn_probe::ping::{Answer, Arrival, End, Fate, IcmpReport, Repeat, Reply, Sample};
use mmn_probe::time::{Instant, Nanos, Stamp, StampSource, Utc};
use mmn_probe::wire::icmp::IcmpErrorKind;
use mmn_scamper::Command;
use mmn_scamper::command::{IpTimestamp, Ping as Asked, PingMethod, PingOption};
use mmn_warts::Record;
use mmn_warts::records::ping::{Ping as Found, Reply as Response};

use super::{Form, Given, Scamper, cannot, none_of, other_record, span, values};

impl Form for Ping {
    fn run<'a>(
        scamper: Scamper<'a>,
        params: &'a Params,
        given: &'a Given,
        input: &'a str,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let target = scamper.target(input, params.family).await?;
            let command = command(params, given, target)?;
            let asked = |key| Command::Ping(Box::new(Asked { user_id: Some(key), ..command }));
            match scamper.ask(asked).await? {
                Record::Ping(found) => measured(params, input, target, &found),
                _ => Err(other_record()),
            }
        }
        .boxed_local()
    }
}

/// The command.
fn command(params: &Params, given: &Given, target: IpAddr) -> Result<Asked, Failure> {
    none_of(&[
        (params.schedule != Schedule::Periodic, "schedule", "sends on a periodic schedule alone"),
        (params.random_start, "random_start", "begins at once"),
        (params.df, "df", "leaves that to the system"),
        (params.lane != LaneWish::Any, "lane", "chooses its sockets by itself"),
        (params.tcp_seq.is_some() && params.tcp_ack.is_some(), "tcp_ack", "takes one of tcp_seq and tcp_ack"),
    ])?;
    let method = method(params.method);
    let count = u16::try_from(params.count).map_err(|_| cannot("count", "sends 65535 at most"))?;
    let syn = matches!(params.method, Method::TcpSyn | Method::TcpSynSport);
    if params.tcp_ack.is_some() && syn {
        return Err(cannot("tcp_ack", "sets the sequence number of a SYN alone"));
    }
    let stop = params.stop_after.map(u16::try_from).transpose();
    let stop = stop.map_err(|_| cannot("stop_after", "counts to 65535"))?;
    let mut asked = Asked {
        method: (params.method != Method::Icmp).then_some(method),
        count: Some(count),
        wait_probe: Some(span("interval", params.interval, (1, 20_000), 0)?),
        // Every reply ends it, unless it is to wait for further ones: scamper waits its timeout out otherwise.
        stop_count: stop.or_else(|| (!params.wait_duplicates).then_some(count)),
        wait_timeout: Some(span("timeout", params.timeout, (1, 255_000), 0)?),
        payload: octets("payload", params.payload.as_deref())?,
        pattern: octets("pattern", params.pattern.as_deref())?,
        ttl: params.ttl,
        tos: params.tos.or_else(|| params.dscp.map(|dscp| dscp << 2)),
        dport: port(params),
        sport: params.source_port.or(params.icmp_id),
        icmp_sum: params.icmp_checksum,
        tcp_ack: params.tcp_ack.or(params.tcp_seq),
        reply_pmtu: params.pseudo_mtu,
        router: params.router.map(|router| router.0),
        source: params.source.map(|source| source.0),
        record_route: params.record_route,
        timestamp: params.ip_timestamp.as_deref().map(timestamp).transpose()?,
        ..Asked::new(target)
    };
    asked.options.extend(params.mss.map(PingOption::Mss));
    let sized = matches!(params.method, Method::Icmp | Method::Udp | Method::UdpDport | Method::UdpSport);
    if !sized && given.has("size") && params.size > 0 {
        return Err(cannot("size", "gives such probes a payload by `payload` alone"));
    }
    if sized && asked.payload.is_none() {
        let headers = if target.is_ipv4() { 28 } else { 48 };
        let size = params.size.checked_add(headers);
        asked.size = Some(size.ok_or_else(|| cannot("size", "sends 65535 octets at most"))?);
    }
    Ok(asked)
}

/// The destination port, which scamper has one of for all protocols where none is given.
fn port(params: &Params) -> Option<u16> {
    match params.method {
        Method::Icmp | Method::IcmpTimestamp => None,
        Method::Udp | Method::UdpDport | Method::UdpSport => Some(params.port.unwrap_or(33_435)),
        _ => Some(params.port.unwrap_or(80)),
    }
}

fn octets(parameter: &str, digits: Option<&str>) -> Result<Option<Vec<u8>>, Failure> {
    let read = |digits: &str| data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
    digits.map(read).transpose().map_err(|_| cannot(parameter, "takes octets in hexadecimal"))
}

fn timestamp(option: &str) -> Result<IpTimestamp, Failure> {
    let unknown = || cannot("ip_timestamp", "takes tsonly, tsandaddr or tsprespec=A,B,C,D");
    match option.split_once('=') {
        None if option == "tsonly" => Ok(IpTimestamp::Only),
        None if option == "tsandaddr" => Ok(IpTimestamp::WithAddresses),
        Some(("tsprespec", list)) => {
            let routers: Result<Vec<_>, _> = list.split(',').map(|one| one.trim().parse()).collect();
            routers.map(IpTimestamp::Of).map_err(|_| unknown())
        }
        _ => Err(unknown()),
    }
}

const fn method(method: Method) -> PingMethod {
    match method {
        Method::Icmp => PingMethod::IcmpEcho,
        Method::IcmpTimestamp => PingMethod::IcmpTime,
        Method::Udp => PingMethod::Udp,
        Method::UdpDport => PingMethod::UdpDport,
        Method::UdpSport => PingMethod::UdpSport,
        Method::TcpSyn => PingMethod::TcpSyn,
        Method::TcpSynSport => PingMethod::TcpSynSport,
        Method::TcpAck => PingMethod::TcpAck,
        Method::TcpAckSport => PingMethod::TcpAckSport,
        Method::TcpSynack => PingMethod::TcpSynAck,
        Method::TcpRst => PingMethod::TcpRst,
    }
}

const ERROR: u8 = 2;
const HALTED: u8 = 3;
/// The most further replies that a result has.
const MOST_REPEATS: usize = 256;
/// Of the record: it was done by packet sockets.
const BY_LINK: u32 = 0x40;
/// Of a reply: its stamps were taken there.
const SENT_BY_LINK: u8 = 0x08;
const RECEIVED_BY_LINK: u8 = 0x10;

pub(super) fn measured(
    params: &Params,
    input: &str,
    target: IpAddr,
    found: &Found,
) -> Result<Measured<Body>, Failure> {
    let sent = found.ping_sent.unwrap_or(0).min(u16::try_from(params.count).unwrap_or(u16::MAX));
    if sent == 0 {
        return Err(match found.stop_reason {
            Some(ERROR) | None => values::failed(found.errmsg.as_ref()),
            _ => Failure::failed(code::SYSTEM, "the daemon sent no request"),
        });
    }
    let link = |flag: u8| {
        let kernel = !found.replies.is_empty()
            && found.replies.iter().all(|reply| reply.flags.unwrap_or(0) & flag != 0);
        if kernel { StampSource::Kernel } else { StampSource::User }
    };
    let stamped = (
        link(SENT_BY_LINK),
        match link(RECEIVED_BY_LINK) {
            // A socket's stamps are the kernel's.
            StampSource::User | StampSource::Kernel => StampSource::Kernel,
            other => other,
        },
    );
    let mut replies = vec![Vec::new(); sent.into()];
    for reply in &found.replies {
        let of = reply.probe_id.and_then(|seq| replies.get_mut(usize::from(seq)));
        of.into_iter().for_each(|of| of.push(reply));
    }
    // As many replies as end it, further ones among them, may leave others unanswered that were not waited for.
    let stop = usize::try_from(params.stop_after.unwrap_or(params.count)).unwrap_or(usize::MAX);
    let cut = found.stop_reason == Some(HALTED) || (found.replies.len() >= stop && !params.wait_duplicates);
    let requests = Requests { params, target, found, replies, cut, stamped };
    let samples: Vec<Sample> = (0..sent).map(|seq| requests.sample(seq)).collect();
    let repeats: Vec<Repeat> = (0..sent).flat_map(|seq| requests.repeats(seq)).take(MOST_REPEATS).collect();
    let conditions = values::conditions(found.flags.unwrap_or(0) & BY_LINK != 0, stamped.0, stamped.1);
    let enough = params
        .stop_after
        .is_some_and(|enough| usize::try_from(enough).is_ok_and(|enough| found.replies.len() >= enough));
    let end = match found.stop_reason {
        Some(HALTED) => End::Cancelled,
        _ if enough => End::Enough,
        _ => End::Completed,
    };
    let mut measured = of_samples(params, input, target, (&samples, &repeats), Some(end), &conditions)?;
    let body = &mut measured.body;
    body.pseudo_mtu = params.pseudo_mtu.map(|mtu| PseudoMtu {
        mtu,
        messages: u32::try_from(found.replies.iter().filter(|reply| reply.reply_size > Some(mtu)).count())
            .unwrap_or(u32::MAX),
        error: None,
    });
    for reply in &mut body.replies {
        let Some(response) = requests.of(reply.seq).first() else { continue };
        let addresses = response.v4rr.iter().flat_map(|route| &route.0);
        reply.record_route = addresses.filter_map(values::ip).map(Into::into).collect();
        reply.ip_timestamps = response.v4ts.as_ref().map(|times| IpTimestamps {
            stamps: times
                .stamps
                .iter()
                .enumerate()
                .map(|(at, ms)| IpStamp {
                    address: times.addresses.get(at).and_then(values::ip).map(Into::into),
                    ms: *ms,
                })
                .collect(),
            overflow: 0,
        });
    }
    Ok(measured)
}

/// The requests of a record.
struct Requests<'a> {
    params: &'a Params,
    target: IpAddr,
    found: &'a Found,
    /// What came for each.
    replies: Vec<Vec<&'a Response>>,
    /// What has no reply was not waited for to its end.
    cut: bool,
    stamped: (StampSource, StampSource),
}

impl<'a> Requests<'a> {
    /// What came for a request.
    fn of(&self, seq: u32) -> &[&'a Response] {
        usize::try_from(seq).ok().and_then(|seq| self.replies.get(seq)).map_or(&[], Vec::as_slice)
    }

    fn sample(&self, seq: u16) -> Sample {
        let number = u32::from(seq);
        let first = self.of(number).first().copied();
        let sent = self.sent(seq, first);
        let departure = Departure {
            source: self.found.src.as_ref().and_then(values::ip),
            identity: Identity {
                selector: first.and_then(|reply| reply.probe_sport).or(self.found.probe_sport).unwrap_or(0),
                tag: 1,
            },
            ip_id: first.and_then(|reply| reply.probe_ipid),
            bytes: self.found.probe_size.unwrap_or(0).into(),
        };
        let fate = match first {
            Some(reply) => self.fate(sent, reply),
            None if self.cut => Fate::Cancelled,
            None => Fate::TimedOut,
        };
        Sample {
            sent: Some(sent),
            departure: Some(departure),
            rtt: first.and_then(|reply| reply.rtt).map(|rtt| Nanos(values::rtt(rtt))),
            duplicates: u32::try_from(self.of(number).len().saturating_sub(1)).unwrap_or(u32::MAX),
            ..Sample::new(number, fate)
        }
    }

    fn repeats(&self, seq: u16) -> impl Iterator<Item = Repeat> {
        let replies = self.of(seq.into());
        let sent = self.sent(seq, replies.first().copied());
        replies.iter().skip(1).filter_map(move |reply| {
            Some(Repeat {
                seq: seq.into(),
                from: reply.addr.as_ref().and_then(values::ip)?,
                received: self.received(sent, reply),
                rtt: reply.rtt.map(|rtt| Nanos(values::rtt(rtt))),
                ttl: reply.reply_ttl.map(Ttl),
            })
        })
    }

    /// When a request left. Of one that nobody answered no record says it, but they leave at intervals.
    fn sent(&self, seq: u16, reply: Option<&Response>) -> Stamp {
        let start = self.found.start.unwrap_or_default();
        let gap = u64::from(seq).saturating_mul(self.params.interval.as_ns());
        let told = reply.and_then(|reply| reply.tx).map(values::ns);
        let utc =
            told.unwrap_or_else(|| values::ns(start).saturating_add(i64::try_from(gap).unwrap_or(i64::MAX)));
        Stamp { at: Instant(u64::try_from(utc).unwrap_or(0)), utc: Utc(utc), source: self.stamped.0 }
    }

    fn received(&self, sent: Stamp, reply: &Response) -> Stamp {
        let rtt = reply.rtt.map_or(0, values::rtt);
        let utc = sent.utc.0.saturating_add(i64::try_from(rtt).unwrap_or(i64::MAX));
        Stamp { at: sent.at + Nanos(rtt), utc: Utc(utc), source: self.stamped.1 }
    }

    fn fate(&self, sent: Stamp, reply: &Response) -> Fate {
        let from = reply.addr.as_ref().and_then(values::ip).unwrap_or(self.target);
        let bytes = reply.reply_size.map_or(0, |bytes| values::without_header(bytes, from));
        let arrival = Arrival {
            ttl: reply.reply_ttl.map(Ttl),
            tos: reply.reply_iptos,
            ip_id: reply.reply_ipid,
            fragment_id: reply.reply_ipid32,
            ..Arrival::new(from, self.received(sent, reply), bytes)
        };
        let answer = match (reply.reply_proto, reply.icmp) {
            (Some(6), _) => Answer::Tcp { flags: reply.tcp_flags.unwrap_or(0), window: None, mss: None },
            (Some(17), _) => Answer::Udp,
            (_, Some(icmp)) => match values::icmp_error(from, icmp, reply.icmp_nhmtu) {
                Some(IcmpErrorKind::PortUnreachable)
                    if self.params.method != Method::Icmp && from == self.target =>
                {
                    Answer::PortUnreachable { icmp_type: icmp.kind, code: icmp.code, verified: false }
                }
                Some(kind) => {
                    let report =
                        IcmpReport { arrival, kind, icmp_type: icmp.kind, code: icmp.code, verified: false };
                    return Fate::Error(report);
                }
                None => self.echo(reply),
            },
            (_, None) => self.echo(reply),
        };
        Fate::Replied(Reply { arrival, answer })
    }

    fn echo(&self, reply: &Response) -> Answer {
        match reply.tsreply.filter(|_| self.params.method == Method::IcmpTimestamp) {
            Some(times) => Answer::Timestamp {
                originate: times.originate,
                receive: times.receive,
                transmit: times.transmit,
            },
            None => Answer::Echo,
        }
    }
}
