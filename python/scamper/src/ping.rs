//! `ScamperPing` and its replies.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::names;
use mmn_warts::records::ping::{Ping, Reply};
use mmn_warts::values::{Micros, Timestamps};
use pyo3::prelude::*;

use crate::addr::{ScamperAddr, addr};
use crate::item::{Icmp, Items, iter, iter_of, micros, octets, result, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperPing>()?;
    module.add_class::<ScamperPingReply>()?;
    module.add_class::<ScamperPingReplyIPTS>()
}

/// How a ping probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Echo,
    Time,
    Tcp,
    Udp,
    Other,
}

fn method(ping: &Ping) -> Method {
    match ping.probe_method.unwrap_or(0) {
        0 => Method::Echo,
        5 => Method::Time,
        1 | 2 | 6..=9 => Method::Tcp,
        3 | 4 | 10 => Method::Udp,
        _ => Method::Other,
    }
}

/// What the replies come to.
#[derive(Default)]
pub(crate) struct Statistics {
    pub(crate) replies: u32,
    pub(crate) duplicates: u32,
    pub(crate) lost: u32,
    pub(crate) errors: u32,
    pub(crate) pending: u32,
    /// Least, most, mean and standard deviation, when there is a reply.
    pub(crate) rtt: Option<[Micros; 4]>,
}

/// The replies of one probe stand together: those from the target are counted, others are errors.
pub(crate) fn statistics(ping: &Ping) -> Statistics {
    let mut sums = Statistics::default();
    let mut rtts: Vec<u32> = Vec::new();
    for probes in ping.replies.chunk_by(|one, other| one.probe_id == other.probe_id) {
        if probes.iter().any(|reply| flag(reply, PENDING)) {
            sums.pending += 1;
            continue;
        }
        let before = rtts.len();
        for reply in probes {
            if from_target(ping, reply) {
                rtts.push(reply.rtt.unwrap_or_default().0);
            } else {
                sums.errors += 1;
            }
        }
        if let Some(more) = u32::try_from(rtts.len() - before).unwrap_or(u32::MAX).checked_sub(1) {
            sums.replies += 1;
            sums.duplicates += more;
        }
    }
    let sent = u32::from(ping.ping_sent.unwrap_or(0));
    sums.lost = sent.saturating_sub(sums.replies + sums.pending);
    if let (Some(least), Some(most)) = (rtts.iter().min(), rtts.iter().max()) {
        #[expect(clippy::cast_precision_loss, reason = "a record has 65,535 replies at most")]
        let count = rtts.len() as f64;
        let mean = rtts.iter().map(|rtt| f64::from(*rtt)).sum::<f64>() / count;
        let variance = rtts.iter().map(|rtt| (f64::from(*rtt) - mean).powi(2)).sum::<f64>() / count;
        sums.rtt = Some([Micros(*least), Micros(*most), whole(mean), whole(variance.sqrt())]);
    }
    sums
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the largest RTT")]
fn whole(micros: f64) -> Micros {
    Micros(micros as u32)
}

const TTL: u8 = 1;
const IPID: u8 = 2;
const PROBE_IPID: u8 = 4;
const TOS: u8 = 0x20;
const PENDING: u8 = 0x40;

fn flag(reply: &Reply, flag: u8) -> bool {
    reply.flags.unwrap_or(0) & flag != 0
}

fn is_v6(reply: &Reply) -> bool {
    matches!(reply.addr, Some(mmn_warts::Address::V6(_)))
}

pub(crate) fn proto(reply: &Reply) -> u8 {
    reply.reply_proto.unwrap_or(if is_v6(reply) { 58 } else { 1 })
}

/// What it is, when it is an ICMP message.
pub(crate) fn icmp(reply: &Reply) -> Option<Icmp> {
    (proto(reply) == if is_v6(reply) { 58 } else { 1 }).then(|| Icmp::of(is_v6(reply), reply.icmp))
}

/// Whether the reply is what a target that is there answers.
fn from_target(ping: &Ping, reply: &Reply) -> bool {
    match method(ping) {
        Method::Echo => icmp(reply) == Some(Icmp::EchoReply),
        Method::Time => icmp(reply) == Some(Icmp::TimestampReply),
        Method::Tcp => proto(reply) == 6,
        Method::Udp => icmp(reply) == Some(Icmp::PortUnreachable) || proto(reply) == 17,
        Method::Other => false,
    }
}

fn reply(ping: &Ping, at: usize) -> Option<ScamperPingReply> {
    let reply = ping.replies.get(at)?;
    Some(ScamperPingReply { reply: reply.clone(), from_target: from_target(ping, reply) })
}

fn plus(seconds: Option<u8>, micros: Option<u32>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(0).into()) + Duration::from_micros(micros.unwrap_or(0).into())
}

result! {
    /// A ping.
    ScamperPing(Ping) {
        numbers {
            /// How many probes were to be sent.
            attempts: u16 = probe_count or 0;
            probe_size: u16 = probe_size or 0;
            probe_ttl: u8 = probe_ttl or 0;
            probe_tos: u8 = probe_tos or 0;
            stop_count: u16 = stop_count or 0;
            reply_pmtu: u16 = reply_pmtu or 0;
            /// How many probes were sent.
            probe_count: u16 = ping_sent or 0;
        }
        addresses { src = src; dst = dst; }
        #[getter]
        fn rtr(&self) -> Option<ScamperAddr> {
            addr(self.item.body.rtr.as_ref().map(|router| &router.0))
        }
        #[getter]
        fn stop_reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperPingStop", self.item.body.stop_reason.unwrap_or(0).into())
        }
        #[getter]
        fn stop_reason_str(&self) -> String {
            let reason = self.item.body.stop_reason.unwrap_or(0);
            names::ping_stop(reason).map_or_else(|| reason.to_string(), str::to_owned)
        }
        #[getter]
        fn payload(&self) -> Option<std::borrow::Cow<'_, [u8]>> {
            octets(self.item.body.data.as_ref())
        }
        #[getter]
        fn probe_sport(&self) -> Option<u16> {
            self.of_ports(self.item.body.probe_sport.unwrap_or(0))
        }
        #[getter]
        fn probe_dport(&self) -> Option<u16> {
            self.of_ports(self.item.body.probe_dport.unwrap_or(0))
        }
        #[getter]
        fn probe_icmp_sum(&self) -> Option<u16> {
            self.is_icmp().then(|| self.item.body.probe_icmpsum.unwrap_or(0))
        }
        #[getter]
        fn probe_tcp_seq(&self) -> Option<u32> {
            self.is_tcp().then(|| self.item.body.probe_tcpseq.unwrap_or(0))
        }
        #[getter]
        fn probe_tcp_ack(&self) -> Option<u32> {
            self.is_tcp().then(|| self.item.body.probe_tcpack.unwrap_or(0))
        }
        /// Not in the file's format of this release.
        #[getter]
        fn probe_tcp_mss(&self) -> Option<u16> {
            None
        }
        /// The addresses in the timestamp option of probes.
        #[getter]
        fn probe_tsaddrs(&self) -> Option<Vec<ScamperAddr>> {
            let addresses = self.item.body.probe_tsps.as_ref()?;
            Some(addresses.0.iter().cloned().map(ScamperAddr).collect())
        }
        #[getter]
        fn wait_probe(&self) -> Duration {
            plus(self.item.body.probe_wait, self.item.body.probe_wait_us)
        }
        #[getter]
        fn wait_timeout(&self) -> Duration {
            let body = &self.item.body;
            match (body.probe_timeout, body.probe_timeout_us) {
                (None, None) => self.wait_probe(),
                (seconds, micros) => plus(seconds, micros),
            }
        }
        /// How many probes were answered by the target.
        #[getter]
        fn nreplies(&self) -> Option<u32> {
            Some(statistics(&self.item.body).replies)
        }
        #[getter]
        fn ndups(&self) -> Option<u32> {
            Some(statistics(&self.item.body).duplicates)
        }
        #[getter]
        fn nloss(&self) -> Option<u32> {
            Some(statistics(&self.item.body).lost)
        }
        #[getter]
        fn nerrs(&self) -> Option<u32> {
            Some(statistics(&self.item.body).errors)
        }
        #[getter]
        fn min_rtt(&self) -> Option<Duration> {
            self.rtt(0)
        }
        #[getter]
        fn max_rtt(&self) -> Option<Duration> {
            self.rtt(1)
        }
        #[getter]
        fn avg_rtt(&self) -> Option<Duration> {
            self.rtt(2)
        }
        #[getter]
        fn stddev_rtt(&self) -> Option<Duration> {
            self.rtt(3)
        }
        fn is_icmp(&self) -> bool {
            matches!(method(&self.item.body), Method::Echo | Method::Time)
        }
        fn is_icmp_time(&self) -> bool {
            method(&self.item.body) == Method::Time
        }
        fn is_tcp(&self) -> bool {
            method(&self.item.body) == Method::Tcp
        }
        fn is_tcp_ack_sport(&self) -> bool {
            self.item.body.probe_method == Some(2)
        }
        fn is_udp(&self) -> bool {
            method(&self.item.body) == Method::Udp
        }
        fn is_vary_sport(&self) -> bool {
            matches!(self.item.body.probe_method, Some(2 | 9 | 10))
        }
        fn is_vary_dport(&self) -> bool {
            self.item.body.probe_method == Some(4)
        }
        /// The first reply to the probe of a number, from 0.
        fn reply(&self, i: usize) -> Option<ScamperPingReply> {
            let body = &self.item.body;
            let at = body.replies.iter().position(|reply| usize::from(reply.probe_id.unwrap_or(0)) == i)?;
            reply(body, at)
        }
        fn replies(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(item.body.replies.len(), move |at| reply(&item.body, at))
        }
        fn __iter__(&self) -> Items {
            self.replies()
        }
        /// For people to read.
        fn to_text(&self) -> Option<String> {
            Some(crate::text::ping(&self.item.body))
        }
        fn __str__(&self) -> String {
            crate::text::ping(&self.item.body)
        }
    }
}

impl ScamperPing {
    fn of_ports(&self, port: u16) -> Option<u16> {
        matches!(method(&self.item.body), Method::Tcp | Method::Udp).then_some(port)
    }

    fn rtt(&self, which: usize) -> Option<Duration> {
        statistics(&self.item.body).rtt?.get(which).map(|rtt| micros(Some(*rtt)))
    }
}

/// A reply.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperPingReply {
    reply: Reply,
    from_target: bool,
}

impl ScamperPingReply {
    fn icmp_is(&self, what: Icmp) -> bool {
        icmp(&self.reply) == Some(what)
    }
}

#[pymethods]
impl ScamperPingReply {
    #[getter]
    fn src(&self) -> Option<ScamperAddr> {
        addr(self.reply.addr.as_ref())
    }
    /// When the probe was sent.
    #[getter]
    fn tx(&self) -> Option<SystemTime> {
        time(self.reply.tx)
    }
    /// When the reply came.
    #[getter]
    fn rx(&self) -> Option<SystemTime> {
        time(Some(self.reply.tx?.plus(self.reply.rtt?.0)))
    }
    #[getter]
    fn rtt(&self) -> Duration {
        micros(self.reply.rtt)
    }
    /// Which probe it answers, from 1.
    #[getter]
    fn attempt(&self) -> u32 {
        u32::from(self.reply.probe_id.unwrap_or(0)) + 1
    }
    #[getter]
    fn probe_ipid(&self) -> Option<u16> {
        flag(&self.reply, PROBE_IPID).then(|| self.reply.probe_ipid.unwrap_or(0))
    }
    #[getter]
    fn probe_sport(&self) -> Option<u16> {
        self.reply.probe_sport.filter(|port| *port != 0)
    }
    #[getter]
    fn reply_proto(&self) -> u8 {
        proto(&self.reply)
    }
    #[getter]
    fn reply_ttl(&self) -> Option<u8> {
        flag(&self.reply, TTL).then(|| self.reply.reply_ttl.unwrap_or(0))
    }
    #[getter]
    fn reply_tos(&self) -> Option<u8> {
        flag(&self.reply, TOS).then(|| self.reply.reply_iptos.unwrap_or(0))
    }
    #[getter]
    fn reply_size(&self) -> u16 {
        self.reply.reply_size.unwrap_or(0)
    }
    #[getter]
    fn reply_ipid(&self) -> Option<u32> {
        let ipid = if is_v6(&self.reply) {
            self.reply.reply_ipid32.unwrap_or(0)
        } else {
            self.reply.reply_ipid.unwrap_or(0).into()
        };
        flag(&self.reply, IPID).then_some(ipid)
    }
    #[getter]
    fn icmp_type(&self) -> Option<u8> {
        icmp(&self.reply)?;
        Some(self.reply.icmp.unwrap_or_default().kind)
    }
    #[getter]
    fn icmp_code(&self) -> Option<u8> {
        icmp(&self.reply)?;
        Some(self.reply.icmp.unwrap_or_default().code)
    }
    #[getter]
    fn icmp_nhmtu(&self) -> Option<u16> {
        self.is_icmp_ptb().then(|| self.reply.icmp_nhmtu.unwrap_or(0))
    }
    #[getter]
    fn icmp_tso(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.reply.tsreply?.originate.into()))
    }
    #[getter]
    fn icmp_tsr(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.reply.tsreply?.receive.into()))
    }
    #[getter]
    fn icmp_tst(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.reply.tsreply?.transmit.into()))
    }
    #[getter]
    fn tcp_flags(&self) -> Option<u8> {
        self.is_tcp().then(|| self.reply.tcp_flags.unwrap_or(0))
    }
    /// Not in the file's format of this release.
    #[getter]
    fn tcp_mss(&self) -> Option<u16> {
        None
    }
    #[getter]
    fn ifname(&self) -> Option<String> {
        text(self.reply.ifname.as_ref().map(|name| &name.0))
    }
    /// The addresses of its record route option.
    #[getter]
    fn ip_rr(&self) -> Option<Vec<ScamperAddr>> {
        Some(self.reply.v4rr.as_ref()?.0.iter().cloned().map(ScamperAddr).collect())
    }
    /// Its timestamp option.
    #[getter]
    fn ip_ts(&self) -> Option<ScamperPingReplyIPTS> {
        self.reply.v4ts.clone().map(ScamperPingReplyIPTS)
    }
    fn is_from_target(&self) -> bool {
        self.from_target
    }
    fn is_icmp(&self) -> bool {
        icmp(&self.reply).is_some()
    }
    fn is_tcp(&self) -> bool {
        proto(&self.reply) == 6
    }
    fn is_udp(&self) -> bool {
        proto(&self.reply) == 17
    }
    fn is_icmp_echo_reply(&self) -> bool {
        self.icmp_is(Icmp::EchoReply)
    }
    fn is_icmp_unreach(&self) -> bool {
        icmp(&self.reply).is_some_and(|icmp| icmp.is_unreachable(is_v6(&self.reply)))
    }
    fn is_icmp_unreach_port(&self) -> bool {
        self.icmp_is(Icmp::PortUnreachable)
    }
    fn is_icmp_ttl_exp(&self) -> bool {
        self.icmp_is(Icmp::TimeExceeded)
    }
    fn is_icmp_tsreply(&self) -> bool {
        self.icmp_is(Icmp::TimestampReply)
    }
    fn is_icmp_ptb(&self) -> bool {
        self.icmp_is(Icmp::TooBig)
    }
    fn __str__(&self) -> String {
        crate::text::ping_reply(&self.reply)
    }
}

/// The timestamp option of a reply (RFC 791, section 3.1).
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperPingReplyIPTS(Timestamps);

#[pymethods]
impl ScamperPingReplyIPTS {
    fn has_addrs(&self) -> bool {
        !self.0.addresses.is_empty()
    }
    fn addrs(&self) -> Option<Vec<ScamperAddr>> {
        self.has_addrs().then(|| self.0.addresses.iter().cloned().map(ScamperAddr).collect())
    }
    fn timestamps(&self) -> Vec<Duration> {
        self.0.stamps.iter().map(|stamp| Duration::from_millis((*stamp).into())).collect()
    }
    fn __len__(&self) -> usize {
        self.0.stamps.len()
    }
    /// Address, when there is one, and time.
    fn __iter__(&self) -> Items {
        let mut addresses = self.0.addresses.iter().cloned().map(ScamperAddr);
        iter_of(self.timestamps().into_iter().map(|stamp| (addresses.next(), stamp)).collect())
    }
}
