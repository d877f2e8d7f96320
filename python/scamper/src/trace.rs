//! `ScamperTrace`, its hops and what it says of the path's MTU.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::records::trace::{Hop, Pmtud, Trace};
use mmn_warts::{Address, names};
use pyo3::prelude::*;

use crate::addr::{ScamperAddr, addr};
use crate::icmpext::{ScamperIcmpExts, exts};
use crate::item::{Icmp, Items, iter, iter_of, micros, result, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperTrace>()?;
    module.add_class::<ScamperTraceHop>()?;
    module.add_class::<ScamperTracePmtud>()?;
    module.add_class::<ScamperTracePmtudNote>()
}

const RXERR: u32 = 0x80;
const CHECKSUM_IN_DPORT: u32 = 0x20;

fn flags(trace: &Trace) -> u32 {
    trace.flags.or(trace.flags8.map(u32::from)).unwrap_or(0)
}

/// The first reply to a TTL, from 1.
fn hop(trace: &Trace, ttl: usize) -> Option<ScamperTraceHop> {
    let hop = trace.hops.iter().find(|hop| usize::from(hop.probe_ttl.unwrap_or(0)) == ttl)?;
    Some(ScamperTraceHop::new(trace, hop))
}

result! {
    /// A trace.
    ScamperTrace(Trace) {
        numbers {
            hop_count: u16 = hop_count or 0;
            attempts: u8 = attempts or 0;
            hoplimit: u8 = hoplimit or 0;
            squeries: u8 = squeries or 1;
            gaplimit: u8 = gaplimit or 0;
            gapaction: u8 = gapaction or 0;
            firsthop: u8 = firsthop or 1;
            tos: u8 = tos or 0;
            confidence: u8 = confidence or 0;
            probe_size: u16 = probe_size or 0;
            offset: u16 = offset or 0;
            probe_count: u16 = probec or 0;
        }
        addresses { src = src; dst = dst; }
        #[getter]
        fn stop_reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperTraceStop", self.stopped().into())
        }
        #[getter]
        fn stop_reason_str(&self) -> String {
            let reason = self.stopped();
            names::trace_stop(reason).map_or_else(|| reason.to_string(), str::to_lowercase)
        }
        #[getter]
        fn rtr(&self) -> Option<ScamperAddr> {
            addr(self.item.body.rtr.as_ref().map(|router| &router.0))
        }
        #[getter]
        fn stop_hop(&self) -> u16 {
            match self.item.body.stop_hop {
                None | Some(0) => self.hop_count(),
                Some(hop) => hop.into(),
            }
        }
        #[getter]
        fn wait_probe(&self) -> Duration {
            Duration::from_millis(u64::from(self.item.body.wait_probe.unwrap_or(0)) * 10)
        }
        #[getter]
        fn wait_timeout(&self) -> Duration {
            Duration::from_secs(self.item.body.wait.unwrap_or(0).into())
        }
        /// Not in the file's format of this release.
        #[getter]
        fn payload(&self) -> Option<std::borrow::Cow<'_, [u8]>> {
            None
        }
        #[getter]
        fn probe_sport(&self) -> Option<u16> {
            (self.is_udp() || self.is_tcp()).then(|| self.item.body.sport.unwrap_or(0))
        }
        #[getter]
        fn probe_dport(&self) -> Option<u16> {
            (self.is_udp() || self.is_tcp()).then(|| self.item.body.dport.unwrap_or(0))
        }
        #[getter]
        fn probe_icmp_sum(&self) -> Option<u16> {
            let body = &self.item.body;
            let carries = body.probe_type == Some(4) && flags(body) & CHECKSUM_IN_DPORT != 0;
            carries.then(|| body.dport.unwrap_or(0))
        }
        #[getter]
        fn pmtud(&self) -> Option<ScamperTracePmtud> {
            self.item.body.pmtud.is_some().then(|| ScamperTracePmtud(Arc::clone(&self.item)))
        }
        /// The first reply of a hop, from 0.
        fn hop(&self, i: i64) -> PyResult<Option<ScamperTraceHop>> {
            let i = usize::try_from(i).ok().filter(|i| *i < 255);
            let i = i.ok_or_else(|| pyo3::exceptions::PyValueError::new_err("invalid hop index"))?;
            Ok(hop(&self.item.body, i + 1))
        }
        /// The first reply of each hop, `None` where none came.
        fn hops(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.hop_count().into(), move |at| hop(&item.body, at + 1))
        }
        /// The addresses of all hops, without those of reserved ranges when so asked.
        #[pyo3(signature = (reserved = true))]
        fn addrs(&self, reserved: bool) -> HashSet<ScamperAddr> {
            let hops = (1..=usize::from(self.hop_count())).filter_map(|ttl| hop(&self.item.body, ttl));
            let addresses = hops.filter_map(|hop| hop.src());
            addresses.filter(|address| reserved || !address.is_reserved()).collect()
        }
        fn is_udp(&self) -> bool {
            matches!(self.item.body.probe_type, Some(2 | 5))
        }
        fn is_tcp(&self) -> bool {
            matches!(self.item.body.probe_type, Some(3 | 6))
        }
        fn is_icmp(&self) -> bool {
            matches!(self.item.body.probe_type, Some(1 | 4))
        }
        fn is_stop_noreason(&self) -> bool {
            self.stopped() == 0
        }
        fn is_stop_completed(&self) -> bool {
            self.stopped() == 1
        }
        fn is_stop_unreach(&self) -> bool {
            self.stopped() == 2
        }
        fn is_stop_icmp(&self) -> bool {
            self.stopped() == 3
        }
        fn is_stop_loop(&self) -> bool {
            self.stopped() == 4
        }
        fn is_stop_gaplimit(&self) -> bool {
            self.stopped() == 5
        }
        fn is_stop_error(&self) -> bool {
            self.stopped() == 6
        }
        fn is_stop_hoplimit(&self) -> bool {
            self.stopped() == 7
        }
        fn is_stop_gss(&self) -> bool {
            self.stopped() == 8
        }
        fn is_stop_halted(&self) -> bool {
            self.stopped() == 9
        }
        /// For people to read.
        fn to_text(&self) -> Option<String> {
            Some(crate::text::trace(&self.item.body))
        }
        fn __str__(&self) -> String {
            crate::text::trace(&self.item.body)
        }
    }
}

impl ScamperTrace {
    fn stopped(&self) -> u8 {
        self.item.body.stop_reason.unwrap_or(0)
    }
}

/// A reply to a probe of a trace.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperTraceHop {
    hop: Hop,
    /// Whether replies were taken from the error queue, without their IP headers.
    rxerr: bool,
}

const TTL: u8 = 0x10;
const TCP: u8 = 0x20;
const UDP: u8 = 0x40;

/// What a reply is, when it is an ICMP message.
pub(crate) fn icmp(hop: &Hop) -> Option<Icmp> {
    (hop.flags.unwrap_or(0) & (TCP | UDP) == 0).then(|| Icmp::of(is_v6(hop), hop.icmp))
}

pub(crate) fn is_v6(hop: &Hop) -> bool {
    matches!(hop.addr, Some(Address::V6(_)))
}

pub(crate) fn is_tcp(hop: &Hop) -> bool {
    hop.flags.unwrap_or(0) & TCP != 0
}

impl ScamperTraceHop {
    fn new(trace: &Trace, hop: &Hop) -> Self {
        Self { hop: hop.clone(), rxerr: flags(trace) & RXERR != 0 }
    }

    fn icmp_is(&self, what: Icmp) -> bool {
        icmp(&self.hop) == Some(what)
    }
}

#[pymethods]
impl ScamperTraceHop {
    #[getter]
    fn src(&self) -> Option<ScamperAddr> {
        addr(self.hop.addr.as_ref())
    }
    #[getter]
    fn name(&self) -> Option<String> {
        text(self.hop.name.as_ref())
    }
    /// When the probe was sent.
    #[getter]
    fn tx(&self) -> Option<SystemTime> {
        time(self.hop.tx)
    }
    #[getter]
    fn rtt(&self) -> Option<Duration> {
        self.hop.rtt.map(|rtt| micros(Some(rtt)))
    }
    /// Which probe of this TTL it answers, from 1.
    #[getter]
    fn attempt(&self) -> Option<u16> {
        Some(u16::from(self.hop.probe_id.unwrap_or(0)) + 1)
    }
    #[getter]
    fn probe_ttl(&self) -> Option<u8> {
        self.hop.probe_ttl
    }
    #[getter]
    fn probe_size(&self) -> Option<u16> {
        self.hop.probe_size
    }
    /// Not in the file's format of this release.
    #[getter]
    fn probe_ipid(&self) -> Option<u16> {
        None
    }
    #[getter]
    fn reply_ttl(&self) -> Option<u8> {
        (self.hop.flags.unwrap_or(0) & TTL != 0).then(|| self.hop.reply_ttl.unwrap_or(0))
    }
    #[getter]
    fn reply_tos(&self) -> Option<u8> {
        Some(self.hop.reply_iptos.unwrap_or(0))
    }
    #[getter]
    fn icmp_type(&self) -> Option<u8> {
        icmp(&self.hop)?;
        Some(self.hop.icmp.unwrap_or_default().kind)
    }
    #[getter]
    fn icmp_code(&self) -> Option<u8> {
        icmp(&self.hop)?;
        Some(self.hop.icmp.unwrap_or_default().code)
    }
    #[getter]
    fn reply_size(&self) -> Option<u16> {
        (!self.rxerr).then(|| self.hop.reply_size.unwrap_or(0))
    }
    #[getter]
    fn reply_ipid(&self) -> Option<u16> {
        let is_v4 = matches!(self.hop.addr, Some(Address::V4(_)));
        (is_v4 && !self.rxerr).then(|| self.hop.reply_ipid.unwrap_or(0))
    }
    #[getter]
    fn icmp_nhmtu(&self) -> Option<u16> {
        self.is_icmp_ptb().then(|| self.hop.nhmtu.unwrap_or(0))
    }
    #[getter]
    fn icmp_q_ttl(&self) -> Option<u8> {
        self.is_icmp_q().then(|| self.hop.q_ipttl.unwrap_or(1))
    }
    #[getter]
    fn icmp_q_tos(&self) -> Option<u8> {
        self.is_icmp_q().then(|| self.hop.q_iptos.unwrap_or(0))
    }
    #[getter]
    fn icmp_q_ipl(&self) -> Option<u16> {
        self.is_icmp_q().then(|| self.hop.q_iplen.or(self.hop.probe_size).unwrap_or(0))
    }
    /// Not in the file's format of this release.
    #[getter]
    fn icmp_q_ipid(&self) -> Option<u16> {
        None
    }
    #[getter]
    fn tcp_flags(&self) -> Option<u8> {
        self.is_tcp().then(|| self.hop.tcp_flags.unwrap_or(0))
    }
    #[getter]
    fn icmp_exts(&self) -> Option<ScamperIcmpExts> {
        exts(self.hop.icmpext.as_ref())
    }
    fn is_tcp(&self) -> bool {
        is_tcp(&self.hop)
    }
    fn is_icmp(&self) -> bool {
        icmp(&self.hop).is_some()
    }
    /// Whether it quotes the probe.
    fn is_icmp_q(&self) -> bool {
        icmp(&self.hop).is_some_and(Icmp::quotes)
    }
    fn is_icmp_unreach_port(&self) -> bool {
        self.icmp_is(Icmp::PortUnreachable)
    }
    fn is_icmp_echo_reply(&self) -> bool {
        self.icmp_is(Icmp::EchoReply)
    }
    fn is_icmp_ttl_exp(&self) -> bool {
        self.icmp_is(Icmp::TimeExceeded)
    }
    fn is_icmp_ptb(&self) -> bool {
        self.icmp_is(Icmp::TooBig)
    }
    fn __str__(&self) -> String {
        crate::text::hop(&self.hop)
    }
}

/// The discovery of the path's MTU.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperTracePmtud(Arc<crate::item::Item<Trace>>);

impl ScamperTracePmtud {
    fn pmtud(&self) -> Option<&Pmtud> {
        self.0.body.pmtud.as_ref()
    }
}

#[pymethods]
impl ScamperTracePmtud {
    #[getter]
    fn path_mtu(&self) -> u16 {
        self.pmtud().and_then(|pmtud| pmtud.pmtu).unwrap_or(0)
    }
    #[getter]
    fn if_mtu(&self) -> u16 {
        self.pmtud().and_then(|pmtud| pmtud.ifmtu).unwrap_or(0)
    }
    /// The MTU of the first hop: that of the interface, when nothing else was found.
    #[getter]
    fn out_mtu(&self) -> u16 {
        let found = self.pmtud().and_then(|pmtud| pmtud.outmtu).filter(|mtu| *mtu != 0);
        found.unwrap_or_else(|| self.if_mtu())
    }
    fn notes(&self) -> Items {
        let Some(pmtud) = self.pmtud() else { return iter_of(Vec::<ScamperTracePmtudNote>::new()) };
        let notes = pmtud.notes.iter().map(|note| {
            let hop = note.reply.and_then(|at| pmtud.hops.get(usize::from(at)));
            ScamperTracePmtudNote {
                kind: note.note_type.unwrap_or(0),
                nhmtu: note.nhmtu.unwrap_or(0),
                distance: hop.map_or(0, |hop| distance(&self.0.body, hop)),
                hop: hop.map(|hop| ScamperTraceHop::new(&self.0.body, hop)),
            }
        });
        iter_of(notes.collect())
    }
}

/// How far away a reply to a large probe came from: by its address among the hops, else by the TTL that it quotes.
fn distance(trace: &Trace, reply: &Hop) -> u8 {
    let same = trace.hops.iter().find(|hop| hop.addr.is_some() && hop.addr == reply.addr);
    same.and_then(|hop| hop.probe_ttl).unwrap_or_else(|| {
        let quoted = reply.q_ipttl.unwrap_or(1);
        reply.probe_ttl.unwrap_or(0).saturating_sub(quoted).saturating_add(1)
    })
}

/// What was concluded from a reply, or from silence.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperTracePmtudNote {
    kind: u8,
    nhmtu: u16,
    distance: u8,
    hop: Option<ScamperTraceHop>,
}

#[pymethods]
impl ScamperTracePmtudNote {
    #[getter]
    fn type_str(&self) -> String {
        names::pmtud_note(self.kind).map_or_else(|| self.kind.to_string(), str::to_owned)
    }
    /// The MTU of the next hop.
    #[getter]
    fn nhmtu(&self) -> u16 {
        self.nhmtu
    }
    #[getter]
    fn distance(&self) -> u8 {
        self.distance
    }
    /// The reply, when there is one.
    fn hop(&self) -> Option<ScamperTraceHop> {
        self.hop.clone()
    }
}
