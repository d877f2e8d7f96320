//! The result of a ping from what its machine found.

use std::net::IpAddr;

use mmn_kit::{Conditions, Failure, Measured, Timestamp, code, summary};
use mmn_probe::packet::{SendFailure, tcp_flags as flag};
use mmn_probe::ping::{self, Answer, Fate, IcmpReport, Sample, Unasked, options};
use mmn_probe::stats::{self, order::Order, variation};
use mmn_probe::wire::icmp::IcmpErrorKind;

use super::check::{TCP_PORT, UDP_PORT, payload_bytes};
use super::result::{
    Body, End, Error, IcmpTimestamps, IpStamp, IpTimestamps, Ipdv, Pdv, Protocol, PseudoMtu, Registered,
    Reordering, Repeat, Reply, Rtt, Status,
};
use super::{Method, Params, Schedule};
use crate::shared::Stamps;
use crate::trace::Extension;

/// What a ping found, by whatever way it was performed.
pub(super) struct Found<'a> {
    pub(super) params: &'a Params,
    pub(super) input: &'a str,
    pub(super) target: IpAddr,
    /// Each request, in the order of sending.
    pub(super) samples: &'a [Sample],
    pub(super) repeats: &'a [ping::Repeat],
    /// What routers added to errors, by the number of the request.
    pub(super) extensions: &'a [(u32, Box<[u8]>)],
    pub(super) unasked: Unasked,
    pub(super) end: Option<ping::End>,
    pub(super) seed: Option<u64>,
    pub(super) pseudo_mtu: Option<PseudoMtu>,
    pub(super) conditions: &'a Conditions,
}

/// The result, or why there is none.
pub(super) fn measured(found: &Found<'_>) -> Result<Measured<Body>, Failure> {
    let &Found { params, samples, target, .. } = found;
    if samples.iter().all(|sample| sample.sent.is_none()) {
        return Err(nothing_left(samples.iter().map(|sample| &sample.fate)));
    }
    let count = |wanted: fn(&Sample) -> bool| {
        u32::try_from(samples.iter().filter(|sample| wanted(sample)).count()).unwrap_or(u32::MAX)
    };
    let sent = count(|sample| sample.sent.is_some());
    let overrun = count(|sample| sample.fate == Fate::Overrun);
    let cancelled = count(|sample| sample.sent.is_some() && sample.fate == Fate::Cancelled);
    let mut rtts: Vec<u64> = samples.iter().filter_map(in_time).collect();
    // Of the others it is not known whether they were lost.
    let stats = stats::Summary::new(u64::from(sent - overrun - cancelled), &mut rtts);
    let several = rtts.len() > 1;
    let delays = || samples.iter().map(in_time).collect::<Vec<_>>();
    let first = samples.iter().find_map(|sample| sample.departure);
    let selector = first.map(|departure| departure.identity.selector);
    let ports = params.method.is_udp() || params.method.is_tcp();
    let body = Body {
        target: found.input.to_owned(),
        address: target.into(),
        family: target.into(),
        method: params.method,
        source: first.and_then(|departure| departure.source).map(Into::into),
        source_port: selector.filter(|_| ports && !source_varies(params.method)),
        port: ports.then(|| port(params)).filter(|_| params.method != Method::UdpDport),
        icmp_id: selector.filter(|_| !ports),
        request_bytes: first.map(|departure| departure.bytes),
        timeout_ns: Some(params.timeout.as_ns()),
        seed: found.seed,
        router: params.router,
        pseudo_mtu: found.pseudo_mtu.clone(),
        end: found.end.map(Into::into),
        sent,
        received: count(|sample| matches!(sample.fate, Fate::Replied(_))),
        duplicates: samples.iter().fold(0, |sum, sample| sum.saturating_add(sample.duplicates)),
        late: count(|sample| matches!(sample.fate, Fate::Late(_))),
        errors: count(|sample| matches!(sample.fate, Fate::Error(_))),
        overrun,
        cancelled,
        loss: stats.loss_ratio().unwrap_or(0.0),
        rtt: rtt(&stats, &rtts),
        ipdv: several.then(|| variation::Ipdv::of(&delays()).map(ipdv)).flatten(),
        pdv: several.then(|| variation::Pdv::of(&rtts).map(pdv)).flatten(),
        reordering: several.then(|| reordering(params, samples)),
        registered: registered(found, &stats, &rtts),
        stamps: samples.iter().filter_map(stamps).reduce(Stamps::weaker),
        clock_stepped: samples.iter().any(|sample| sample.clock_stepped),
        conditions: Some(found.conditions.into()),
        unasked: u32::try_from(found.unasked.foreign + found.unasked.unknown).unwrap_or(u32::MAX),
        replies: samples.iter().map(|sample| reply(found, sample)).collect(),
    };
    let rtt = body.rtt.as_ref();
    // In their order, so that there is nothing to sort.
    let summary = summary([
        ("duplicates", Some(body.duplicates.into())),
        ("loss", Some(body.loss.into())),
        ("overrun", Some(body.overrun).filter(|overrun| *overrun > 0).map(Into::into)),
        ("received", Some(body.received.into())),
        ("rtt_max_ns", rtt.map(|rtt| rtt.max_ns.into())),
        ("rtt_mean_ns", rtt.map(|rtt| rtt.mean_ns.into())),
        ("rtt_median_ns", rtt.and_then(|rtt| rtt.median_ns).map(Into::into)),
        ("rtt_min_ns", rtt.map(|rtt| rtt.min_ns.into())),
        ("sent", Some(body.sent.into())),
    ]);
    Ok(Measured { answered: Some(body.received > 0), summary, body })
}

/// What a ping found that others performed, by what is known of each request in the order of sending: the result is of the
/// same form as that of one that was performed here.
pub fn of_samples(
    params: &Params,
    input: &str,
    target: IpAddr,
    (samples, repeats): (&[Sample], &[ping::Repeat]),
    end: Option<ping::End>,
    conditions: &Conditions,
) -> Result<Measured<Body>, Failure> {
    measured(&Found {
        params,
        input,
        target,
        samples,
        repeats,
        extensions: &[],
        unasked: Unasked::default(),
        end,
        seed: None,
        pseudo_mtu: None,
        conditions,
    })
}

/// Why nothing left: as the first probe was told.
pub(crate) fn nothing_left<'a>(fates: impl IntoIterator<Item = &'a Fate>) -> Failure {
    let reason = fates.into_iter().find_map(|fate| match fate {
        Fate::NotSent(reason) => Some(*reason),
        _ => None,
    });
    match reason {
        None => Failure::refused(code::LIMITS, "no request could leave before the deadline"),
        Some(reason @ (SendFailure::NoRoute | SendFailure::RouterSilent)) => {
            Failure::failed(code::NO_ROUTE, reason)
        }
        Some(reason @ SendFailure::NoRouter) => Failure::refused(code::POLICY, reason),
        Some(
            reason @ (SendFailure::NotPermitted | SendFailure::Unprivileged | SendFailure::NoPingSocket),
        ) => Failure::failed(code::UNPRIVILEGED, reason),
        Some(reason @ SendFailure::NoSocket) => Failure::failed(code::ADDRESS_FAMILY, reason),
        Some(reason @ SendFailure::Forbidden) => Failure::refused(code::LIMITS, reason),
        Some(reason @ (SendFailure::Source | SendFailure::Senseless)) => {
            Failure::refused(code::PARAMETERS, reason)
        }
        Some(reason) => Failure::failed(code::SYSTEM, reason),
    }
}

/// The round trip of a request that was answered in time.
fn in_time(sample: &Sample) -> Option<u64> {
    match sample.fate {
        Fate::Replied(_) => sample.rtt.map(|rtt| rtt.0),
        _ => None,
    }
}

fn stamps(sample: &Sample) -> Option<Stamps> {
    sample.sent.zip(sample.fate.received()).map(|(sent, received)| Stamps::of(sent, received))
}

/// Numbers of round trips, which are in order; absent where there are none.
pub fn rtt(stats: &stats::Summary, sorted_ns: &[u64]) -> Option<Rtt> {
    let finite = stats.finite?;
    let quantile = |quantile: Option<stats::Quantile>| quantile.and_then(stats::Quantile::finite);
    let percentile = |percent, of_at_least| {
        let enough = stats.sent >= of_at_least;
        quantile(enough.then(|| stats::quantile(stats.sent, sorted_ns, percent, 100)).flatten())
    };
    Some(Rtt {
        min_ns: finite.min_ns,
        q1_ns: quantile(stats.quartile1),
        median_ns: quantile(stats.median),
        q3_ns: quantile(stats.quartile3),
        p95_ns: percentile(95, 20),
        p99_ns: percentile(99, 100),
        mean_ns: finite.mean_ns,
        max_ns: finite.max_ns,
        stddev_ns: finite.stddev_ns,
    })
}

fn reordering(params: &Params, samples: &[Sample]) -> Reordering {
    let replied = samples.iter().filter_map(|sample| match &sample.fate {
        Fate::Replied(reply) | Fate::Late(reply) => Some((sample.seq, reply.arrival.received.at)),
        _ => None,
    });
    let mut arrivals: Vec<_> = replied.collect();
    arrivals.sort_by_key(|(_, at)| *at);
    let order = Order::of(&arrivals);
    Reordering {
        reordered: u32::try_from(order.reordered.len()).unwrap_or(u32::MAX),
        ratio: order.ratio().unwrap_or(0.0),
        max_extent: order.max_extent(),
        max_late_ns: order.max_late().map(|late| late.0),
        max_offset_bytes: order.max_overtaken_by().map(|packets| u64::from(packets) * payload_bytes(params)),
        n_reordered: order.n_reordered(),
        discontinuities: order.discontinuities(),
        gaps: order.gaps(),
        run_squares: order.free_runs().squares,
    }
}

const fn ipdv(ipdv: variation::Ipdv) -> Ipdv {
    let variation::Ipdv { pairs, min_ns, max_ns, mean_abs_ns, p50_abs_ns, p95_abs_ns, p99_abs_ns } = ipdv;
    Ipdv { pairs, min_ns, max_ns, mean_abs_ns, p50_abs_ns, p95_abs_ns, p99_abs_ns }
}

const fn pdv(pdv: variation::Pdv) -> Pdv {
    let variation::Pdv { p50_ns, p95_ns, p99_ns, p999_ns, max_ns } = pdv;
    Pdv { p50_ns, p95_ns, p99_ns, p999_ns, max_ns }
}

/// The entries of the registry (RFC 8912) whose fixed parameters and method are those of this measurement.
///
/// Its other round trips are passive, or of DNS from port 53; its one-way metrics are two hosts' business. In IPv6 it
/// wants the flow label 0, which ours is not.
fn registered(found: &Found<'_>, stats: &stats::Summary, sorted_ns: &[u64]) -> Vec<Registered> {
    let params = found.params;
    // What the entries of sections 4 and 9 have in common.
    let fits = found.target.is_ipv4()
        && params.ttl == Some(255)
        && params.tos.or(params.dscp).unwrap_or(0) == 0
        && !params.record_route
        && params.ip_timestamp.is_none()
        && params.timeout.as_ns() == 3_000_000_000
        && params.stop_after.is_none();
    let metrics: &[(&str, Statistic)] = match params.method {
        Method::Udp if fits && is_periodic_udp(params) => &PERIODIC_UDP,
        Method::Icmp if fits && is_send_on_receive(params) => &SEND_ON_RECEIVE,
        _ => &[],
    };
    // Not an error's, nor what the port's closing says, and of each the end is known.
    let returned = |sample: &Sample| match &sample.fate {
        Fate::Replied(reply) | Fate::Late(reply) => matches!(reply.answer, Answer::Udp | Answer::Echo),
        Fate::TimedOut => true,
        _ => false,
    };
    if !found.samples.iter().all(returned) {
        return Vec::new();
    }
    let named = |(name, statistic): &(&str, Statistic)| {
        let value = statistic.of(stats, sorted_ns)?;
        Some(Registered { name: (*name).to_owned(), value })
    };
    metrics.iter().filter_map(named).collect()
}

/// Section 4: 100 octets of payload, each 20 ms, in a stream that begins at random.
fn is_periodic_udp(params: &Params) -> bool {
    params.payload.is_none()
        && params.size == 100
        && params.interval.as_ns() == 20_000_000
        && params.schedule == Schedule::Periodic
        && params.random_start
}

/// Section 9: 32 octets of payload that are the same in all requests, each sent when the one before it has been answered.
fn is_send_on_receive(params: &Params) -> bool {
    let payload = params.payload.as_deref().map(|digits| digits.len() / 2);
    payload == Some(32) && params.icmp_checksum.is_none() && params.schedule == Schedule::SendOnReceive
}

/// The registered names with what they are names of. A value in seconds or percent.
#[derive(Clone, Copy)]
enum Statistic {
    /// Of the finite delays, as all but the last.
    Percentile95,
    Mean,
    Min,
    Max,
    LossRatio,
}

const PERIODIC_UDP: [(&str, Statistic); 2] = [
    ("RTDelay_Active_IP-UDP-Periodic_RFC8912sec4_Seconds_95Percentile", Statistic::Percentile95),
    ("RTLoss_Active_IP-UDP-Periodic_RFC8912sec4_Percent_LossRatio", Statistic::LossRatio),
];
const SEND_ON_RECEIVE: [(&str, Statistic); 4] = [
    ("RTDelay_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Seconds_Mean", Statistic::Mean),
    ("RTDelay_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Seconds_Min", Statistic::Min),
    ("RTDelay_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Seconds_Max", Statistic::Max),
    ("RTLoss_Active_IP-ICMP-SendOnRcv_RFC8912sec9_Percent_LossRatio", Statistic::LossRatio),
];

impl Statistic {
    fn of(self, stats: &stats::Summary, sorted_ns: &[u64]) -> Option<f64> {
        // Of those whose delay is finite.
        let answered = u64::try_from(sorted_ns.len()).unwrap_or(u64::MAX);
        let nanos = match self {
            Self::LossRatio => return stats.loss_ratio().map(|loss| loss * 100.0),
            Self::Percentile95 => stats::quantile(answered, sorted_ns, 95, 100)?.finite()?,
            Self::Mean => stats.finite?.mean_ns,
            Self::Min => stats.finite?.min_ns,
            Self::Max => stats.finite?.max_ns,
        };
        #[expect(clippy::cast_precision_loss, reason = "round trips are far below 2^52 ns")]
        let seconds = nanos as f64 / 1e9;
        Some(seconds)
    }
}

fn reply(found: &Found<'_>, sample: &Sample) -> Reply {
    let &Found { params, target, .. } = found;
    let (status, answer, error) = match &sample.fate {
        Fate::Replied(reply) => (Status::Replied, Some(reply.answer), None),
        Fate::Late(reply) => (Status::Late, Some(reply.answer), None),
        Fate::TimedOut => (Status::TimedOut, None, None),
        Fate::Overrun => (Status::Overrun, None, None),
        Fate::Error(report) => (Status::Error, None, Some(extended(found, sample.seq, icmp_error(report)))),
        Fate::NotSent(reason) => (Status::NotSent, None, Some(send_error(*reason))),
        _ => (Status::Cancelled, None, None),
    };
    let arrival = sample.fate.arrival();
    let departure = sample.departure;
    let protocol = answer.and_then(|answer| match answer {
        Answer::Udp => Some(Protocol::Udp),
        Answer::Tcp { .. } => Some(Protocol::Tcp),
        Answer::PortUnreachable { .. } => Some(Protocol::Icmp),
        _ => None,
    });
    let (flags, window, mss) = match answer {
        Some(Answer::Tcp { flags, window, mss }) => (Some(flags), window, mss),
        _ => (None, None, None),
    };
    let (icmp_type, icmp_code) = match answer {
        Some(Answer::PortUnreachable { icmp_type, code, .. }) => (Some(icmp_type), Some(code)),
        _ => (None, None),
    };
    let selector = departure.map(|departure| departure.identity.selector);
    let trace = arrival.and_then(|arrival| arrival.ip_options.as_deref()).map(options::read);
    let (route, times) = trace.map_or((None, None), |trace| (trace.route, trace.timestamps));
    let from_elsewhere = |from: IpAddr| Some(from).filter(|from| *from != target).map(Into::into);
    let repeats = found.repeats.iter().filter(|repeat| sample.duplicates > 0 && repeat.seq == sample.seq);
    Reply {
        seq: sample.seq,
        status,
        sent_at: sample.sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        rtt_ns: sample.rtt.map(|rtt| rtt.0),
        source_port: selector.filter(|_| source_varies(params.method)),
        port: (params.method == Method::UdpDport).then(|| grown(port(params), sample.seq)),
        request_ip_id: departure.and_then(|departure| departure.ip_id),
        ttl: arrival.and_then(|arrival| arrival.ttl).map(|ttl| ttl.0),
        tos: arrival.and_then(|arrival| arrival.tos),
        ip_id: arrival.and_then(|arrival| arrival.ip_id),
        fragment_id: arrival.and_then(|arrival| arrival.fragment_id),
        bytes: arrival.map(|arrival| arrival.bytes),
        protocol,
        tcp_flags: flags.map(tcp_flags),
        tcp_window: window,
        tcp_mss: mss,
        icmp_type,
        icmp_code,
        timestamps: match answer {
            Some(Answer::Timestamp { originate, receive, transmit }) => {
                Some(IcmpTimestamps { originate_ms: originate, receive_ms: receive, transmit_ms: transmit })
            }
            _ => None,
        },
        record_route: route.into_iter().flatten().map(|hop| IpAddr::from(hop).into()).collect(),
        ip_timestamps: times.map(ip_timestamps),
        from: arrival.and_then(|arrival| from_elsewhere(arrival.from)),
        duplicates: sample.duplicates,
        repeats: repeats
            .map(|repeat| Repeat {
                rtt_ns: repeat.rtt.map(|rtt| rtt.0),
                from: from_elsewhere(repeat.from),
                ttl: repeat.ttl.map(|ttl| ttl.0),
            })
            .collect(),
        error,
    }
}

fn ip_timestamps(times: options::Timestamps) -> IpTimestamps {
    let stamps = times.stamps.into_iter();
    let stamps =
        stamps.map(|(whose, ms)| IpStamp { address: whose.map(|whose| IpAddr::from(whose).into()), ms });
    IpTimestamps { stamps: stamps.collect(), overflow: times.overflow }
}

/// The flags of a segment, a letter each.
pub(crate) fn tcp_flags(flags: u8) -> String {
    const LETTERS: [(u8, char); 8] = [
        (flag::FIN, 'F'),
        (flag::SYN, 'S'),
        (flag::RST, 'R'),
        (flag::PSH, 'P'),
        (flag::ACK, 'A'),
        (0x20, 'U'),
        (0x40, 'E'),
        (0x80, 'C'),
    ];
    LETTERS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, letter)| *letter).collect()
}

fn extended(found: &Found<'_>, seq: u32, error: Error) -> Error {
    let of = found.extensions.iter().find(|(of, _)| *of == seq);
    Error { extensions: of.map_or_else(Vec::new, |(_, objects)| Extension::all(objects)), ..error }
}

/// What an ICMP error says.
pub(crate) fn icmp_error(report: &IcmpReport) -> Error {
    let (code, mtu) = match report.kind {
        IcmpErrorKind::TooBig { mtu } => (None, mtu),
        IcmpErrorKind::Prohibited { code }
        | IcmpErrorKind::OtherUnreachable { code }
        | IcmpErrorKind::ParameterProblem { code } => (Some(code), None),
        _ => (None, None),
    };
    Error {
        name: report.kind.name().to_owned(),
        icmp_type: Some(report.icmp_type),
        icmp_code: Some(report.code),
        code,
        mtu,
        verified: Some(report.verified),
        extensions: Vec::new(),
    }
}

/// Why a packet did not leave.
pub(crate) fn send_error(reason: SendFailure) -> Error {
    let name = reason.to_string();
    Error {
        name,
        icmp_type: None,
        icmp_code: None,
        code: None,
        mtu: None,
        verified: None,
        extensions: Vec::new(),
    }
}

impl From<ping::End> for End {
    fn from(end: ping::End) -> Self {
        match end {
            ping::End::Completed => Self::Completed,
            ping::End::Enough => Self::Enough,
            ping::End::Cancelled => Self::Cancelled,
        }
    }
}

const fn source_varies(method: Method) -> bool {
    matches!(method, Method::UdpSport | Method::TcpSynSport | Method::TcpAckSport)
}

fn port(params: &Params) -> u16 {
    params.port.unwrap_or(if params.method.is_tcp() { TCP_PORT } else { UDP_PORT })
}

fn grown(first: u16, by: u32) -> u16 {
    u16::try_from(by).map_or(first, |by| first.wrapping_add(by))
}
