//! `ScamperTracelb`: nodes, links, the probes of each hop.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::Address;
use mmn_warts::records::tracelb::{Probe, ProbeSet, Reply, Tracelb};
use pyo3::prelude::*;

use crate::addr::{ScamperAddr, addr};
use crate::icmpext::{ScamperIcmpExts, exts};
use crate::item::{Icmp, Item, Items, iter, iter_of, result, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperTracelb>()?;
    module.add_class::<ScamperTracelbNode>()?;
    module.add_class::<ScamperTracelbLink>()?;
    module.add_class::<ScamperTracelbProbeset>()?;
    module.add_class::<ScamperTracelbProbe>()?;
    module.add_class::<ScamperTracelbReply>()
}

result! {
    /// A trace of all paths.
    ScamperTracelb(Tracelb) {
        numbers {
            attempts: u8 = attempts or 0;
            gaplimit: u8 = gaplimit or 0;
            firsthop: u8 = firsthop or 0;
            tos: u8 = tos or 0;
            confidence: u8 = confidence or 0;
            probe_count: u32 = probec or 0;
            probe_size: u16 = probe_size or 0;
        }
        addresses { src = src; dst = dst; }
        #[getter]
        fn method(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperTracelbMethod", self.item.body.probe_type.unwrap_or(0).into())
        }
        #[getter]
        fn rtr(&self) -> Option<ScamperAddr> {
            addr(self.item.body.rtr.as_ref().map(|router| &router.0))
        }
        #[getter]
        fn node_count(&self) -> usize {
            self.item.body.nodes.len()
        }
        #[getter]
        fn link_count(&self) -> usize {
            self.item.body.links.len()
        }
        #[getter]
        fn wait_probe(&self) -> Duration {
            Duration::from_millis(u64::from(self.item.body.wait_probe.unwrap_or(0)) * 10)
        }
        #[getter]
        fn wait_timeout(&self) -> Duration {
            Duration::from_secs(self.item.body.wait_timeout.unwrap_or(0).into())
        }
        #[getter]
        fn probe_sport(&self) -> Option<u16> {
            (!self.is_icmp()).then(|| self.item.body.sport.unwrap_or(0))
        }
        #[getter]
        fn probe_dport(&self) -> Option<u16> {
            (!self.is_icmp()).then(|| self.item.body.dport.unwrap_or(0))
        }
        #[getter]
        fn probe_icmp_id(&self) -> Option<u16> {
            self.is_icmp().then(|| self.item.body.sport.unwrap_or(0))
        }
        fn node(&self, i: usize) -> Option<ScamperTracelbNode> {
            ScamperTracelbNode::new(&self.item, i)
        }
        fn nodes(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.node_count(), move |i| ScamperTracelbNode::new(&item, i))
        }
        fn link(&self, i: usize) -> Option<ScamperTracelbLink> {
            ScamperTracelbLink::new(&self.item, i)
        }
        fn links(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.link_count(), move |i| ScamperTracelbLink::new(&item, i))
        }
        fn is_udp(&self) -> bool {
            matches!(self.item.body.probe_type, Some(1 | 3))
        }
        fn is_tcp(&self) -> bool {
            matches!(self.item.body.probe_type, Some(4 | 5))
        }
        fn is_icmp(&self) -> bool {
            self.item.body.probe_type == Some(2)
        }
        /// For people to read.
        fn to_text(&self) -> Option<String> {
            Some(crate::text::tracelb(&self.item.body))
        }
        fn __str__(&self) -> String {
            crate::text::tracelb(&self.item.body)
        }
    }
}

/// Something that replied, or was silent between two that did.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperTracelbNode {
    item: Arc<Item<Tracelb>>,
    at: usize,
}

impl ScamperTracelbNode {
    fn new(item: &Arc<Item<Tracelb>>, at: usize) -> Option<Self> {
        item.body.nodes.get(at)?;
        Some(Self { item: Arc::clone(item), at })
    }

    /// The places of the links that begin here.
    fn places(&self) -> Vec<usize> {
        let links = self.item.body.links.iter().enumerate();
        links
            .filter(|(_, link)| link.from.map(usize::from) == Some(self.at))
            .map(|(place, _)| place)
            .collect()
    }
}

#[pymethods]
impl ScamperTracelbNode {
    #[getter]
    fn src(&self) -> Option<ScamperAddr> {
        addr(self.item.body.nodes.get(self.at)?.addr.as_ref())
    }
    #[getter]
    fn name(&self) -> Option<String> {
        text(self.item.body.nodes.get(self.at)?.name.as_ref())
    }
    #[getter]
    fn icmp_q_ttl(&self) -> Option<u8> {
        let node = self.item.body.nodes.get(self.at)?;
        (node.flags.unwrap_or(0) & 1 != 0).then(|| node.q_ttl.unwrap_or(0))
    }
    #[getter]
    fn link_count(&self) -> usize {
        self.places().len()
    }
    fn link(&self, i: usize) -> Option<ScamperTracelbLink> {
        ScamperTracelbLink::new(&self.item, *self.places().get(i)?)
    }
    fn links(&self) -> Items {
        let (item, places) = (Arc::clone(&self.item), self.places());
        iter(places.len(), move |i| ScamperTracelbLink::new(&item, *places.get(i)?))
    }
}

/// From a node to the next that replied.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperTracelbLink {
    item: Arc<Item<Tracelb>>,
    at: usize,
}

impl ScamperTracelbLink {
    fn new(item: &Arc<Item<Tracelb>>, at: usize) -> Option<Self> {
        item.body.links.get(at)?;
        Some(Self { item: Arc::clone(item), at })
    }
}

#[pymethods]
impl ScamperTracelbLink {
    #[getter]
    fn near(&self) -> Option<ScamperTracelbNode> {
        ScamperTracelbNode::new(&self.item, self.item.body.links.get(self.at)?.from?.into())
    }
    /// Absent, when nothing more replied.
    #[getter]
    fn far(&self) -> Option<ScamperTracelbNode> {
        ScamperTracelbNode::new(&self.item, self.item.body.links.get(self.at)?.to?.into())
    }
    /// Over how many hops.
    #[getter]
    fn length(&self) -> usize {
        self.item.body.links.get(self.at).map_or(0, |link| link.sets.len())
    }
    /// The probes of one of its hops, from 0.
    fn probeset(&self, i: usize) -> Option<ScamperTracelbProbeset> {
        self.item.body.links.get(self.at)?.sets.get(i).cloned().map(ScamperTracelbProbeset)
    }
    fn __str__(&self) -> String {
        let name = |node: Option<ScamperTracelbNode>| {
            node.and_then(|node| node.src()).map_or_else(|| "*".to_owned(), |address| address.0.to_string())
        };
        format!("{} -> {}", name(self.near()), name(self.far()))
    }
}

/// The probes of a hop.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperTracelbProbeset(ProbeSet);

#[pymethods]
impl ScamperTracelbProbeset {
    #[getter]
    fn probe_count(&self) -> usize {
        self.0.probes.len()
    }
    fn probe(&self, i: usize) -> Option<ScamperTracelbProbe> {
        self.0.probes.get(i).cloned().map(ScamperTracelbProbe)
    }
    fn __iter__(&self) -> Items {
        iter_of(self.0.probes.iter().cloned().map(ScamperTracelbProbe).collect())
    }
    fn __len__(&self) -> usize {
        self.0.probes.len()
    }
}

/// A probe.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperTracelbProbe(Probe);

#[pymethods]
impl ScamperTracelbProbe {
    #[getter]
    fn tx(&self) -> Option<SystemTime> {
        time(self.0.tx)
    }
    #[getter]
    fn flowid(&self) -> u16 {
        self.0.flowid.unwrap_or(0)
    }
    #[getter]
    fn ttl(&self) -> u8 {
        self.0.ttl.unwrap_or(0)
    }
    /// From 1.
    #[getter]
    fn attempt(&self) -> u16 {
        u16::from(self.0.attempt.unwrap_or(0)) + 1
    }
    #[getter]
    fn reply_count(&self) -> usize {
        self.0.replies.len()
    }
    fn reply(&self, i: usize) -> Option<ScamperTracelbReply> {
        self.0.replies.get(i).cloned().map(ScamperTracelbReply)
    }
    fn __str__(&self) -> String {
        let tx = self.0.tx.unwrap_or_default();
        format!(
            "probe flowid: {}, ttl: {}, attempt: {}, tx: {}.{:06}",
            self.flowid(),
            self.ttl(),
            self.attempt(),
            tx.sec,
            tx.usec
        )
    }
}

/// A reply to a probe.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperTracelbReply(Reply);

impl ScamperTracelbReply {
    fn is_tcp(&self) -> bool {
        self.0.flags.unwrap_or(0) & 2 != 0
    }

    fn icmp(&self) -> Option<Icmp> {
        let v6 = matches!(self.0.from, Some(Address::V6(_)));
        (!self.is_tcp()).then(|| Icmp::of(v6, self.0.icmp))
    }

    fn quotes(&self) -> bool {
        self.icmp().is_some_and(Icmp::quotes)
    }
}

#[pymethods]
impl ScamperTracelbReply {
    #[getter]
    fn src(&self) -> Option<ScamperAddr> {
        addr(self.0.from.as_ref())
    }
    #[getter]
    fn rx(&self) -> Option<SystemTime> {
        time(self.0.rx)
    }
    #[getter]
    fn ipid(&self) -> Option<u16> {
        matches!(self.0.from, Some(Address::V4(_))).then(|| self.0.ipid.unwrap_or(0))
    }
    #[getter]
    fn ttl(&self) -> Option<u8> {
        (self.0.flags.unwrap_or(0) & 1 != 0).then(|| self.0.ttl.unwrap_or(0))
    }
    #[getter]
    fn icmp_type(&self) -> Option<u8> {
        (!self.is_tcp()).then(|| self.0.icmp.unwrap_or_default().kind)
    }
    #[getter]
    fn icmp_code(&self) -> Option<u8> {
        (!self.is_tcp()).then(|| self.0.icmp.unwrap_or_default().code)
    }
    #[getter]
    fn icmp_q_ttl(&self) -> Option<u8> {
        self.quotes().then(|| self.0.icmp_q_ttl.unwrap_or(0))
    }
    #[getter]
    fn icmp_q_tos(&self) -> Option<u8> {
        self.quotes().then(|| self.0.icmp_q_tos.unwrap_or(0))
    }
    #[getter]
    fn tcp_flags(&self) -> Option<u8> {
        self.is_tcp().then(|| self.0.tcp_flags.unwrap_or(0))
    }
    #[getter]
    fn icmp_exts(&self) -> Option<ScamperIcmpExts> {
        exts(self.0.icmp_ext.as_ref())
    }
}
