//! `ScamperDealias`: probe definitions, probes, replies, and what they say of aliases.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::records::dealias::{Dealias, Method, Probe, ProbeDef, Reply};
use mmn_warts::{Address, names};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::addr::{ScamperAddr, addr};
use crate::icmpext::{ScamperIcmpExts, exts};
use crate::item::{Icmp, Items, iter, iter_of, known, micros, result, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperDealias>()?;
    module.add_class::<ScamperDealiasProbedef>()?;
    module.add_class::<ScamperDealiasProbe>()?;
    module.add_class::<ScamperDealiasReply>()?;
    module.add_class::<ScamperDealiasMidardiscRound>()
}

fn ms(ms: Option<u32>) -> Duration {
    Duration::from_millis(ms.unwrap_or(0).into())
}

fn seconds(seconds: Option<u8>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(0).into())
}

result! {
    /// The resolution of aliases.
    ScamperDealias(Dealias) {
        numbers {}
        addresses {}
        #[getter]
        fn startat(&self) -> Option<SystemTime> {
            match &self.item.body.method_data {
                Method::Midardisc(method) => time(method.startat),
                _ => None,
            }
        }
        /// Between probes; of mercator, how long a reply was waited for.
        #[getter]
        fn wait_probe(&self) -> Option<Duration> {
            Some(match &self.item.body.method_data {
                Method::Mercator(method) => seconds(method.wait_timeout),
                Method::Ally(method) => ms(method.wait_probe.map(u32::from)),
                Method::Prefixscan(method) => ms(method.wait_probe.map(u32::from)),
                Method::Radargun(method) => ms(method.wait_probe.map(u32::from)),
                Method::Bump(method) => ms(method.wait_probe.map(u32::from)),
                Method::Midarest(method) => micros(method.wait_probe),
                Method::Midardisc(_) | Method::None => return None,
            })
        }
        #[getter]
        fn wait_round(&self) -> Option<Duration> {
            match &self.item.body.method_data {
                Method::Radargun(method) => Some(ms(method.wait_round)),
                Method::Midarest(method) => Some(micros(method.wait_round)),
                _ => None,
            }
        }
        #[getter]
        fn wait_timeout(&self) -> Option<Duration> {
            Some(match &self.item.body.method_data {
                Method::Mercator(method) => seconds(method.wait_timeout),
                Method::Ally(method) => seconds(method.wait_timeout),
                Method::Prefixscan(method) => seconds(method.wait_timeout),
                Method::Radargun(method) => seconds(method.wait_timeout),
                Method::Midarest(method) => micros(method.wait_timeout),
                Method::Midardisc(method) => micros(method.wait_timeout),
                Method::Bump(_) | Method::None => return None,
            })
        }
        #[getter]
        fn probedef_count(&self) -> Option<usize> {
            Some(self.item.body.definitions().len())
        }
        #[getter]
        fn probe_count(&self) -> usize {
            self.item.body.probes.len()
        }
        fn is_ally(&self) -> bool {
            self.item.body.method == Some(2)
        }
        fn is_mercator(&self) -> bool {
            self.item.body.method == Some(1)
        }
        fn is_prefixscan(&self) -> bool {
            self.item.body.method == Some(4)
        }
        fn is_radargun(&self) -> bool {
            self.item.body.method == Some(3)
        }
        fn is_bump(&self) -> bool {
            self.item.body.method == Some(5)
        }
        fn is_midarest(&self) -> bool {
            self.item.body.method == Some(6)
        }
        fn is_midardisc(&self) -> bool {
            self.item.body.method == Some(7)
        }
        fn has_aliases(&self) -> bool {
            self.item.body.result == Some(1)
        }
        /// Two addresses of one router, when that was found.
        fn aliases(&self) -> Option<(ScamperAddr, ScamperAddr)> {
            self.has_aliases().then(|| aliases(&self.item.body)).flatten()
        }
        #[pyo3(signature = (i = 0))]
        fn probedef(&self, i: Option<i64>) -> Option<ScamperDealiasProbedef> {
            let i = usize::try_from(i.unwrap_or(0)).ok()?;
            self.item.body.definitions().get(i).map(|def| ScamperDealiasProbedef((*def).clone()))
        }
        fn probedefs(&self) -> Items {
            let definitions = self.item.body.definitions();
            iter_of(definitions.into_iter().cloned().map(ScamperDealiasProbedef).collect())
        }
        #[pyo3(signature = (i = 0))]
        fn probe(&self, i: Option<i64>) -> Option<ScamperDealiasProbe> {
            probe(&self.item.body, usize::try_from(i.unwrap_or(0)).ok()?)
        }
        fn probes(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.probe_count(), move |i| probe(&item.body, i))
        }
        /// For people to read: of ally what was found, of others what aliases there are.
        fn to_text(&self) -> Option<String> {
            let body = &self.item.body;
            let pair = match (body.definitions().as_slice(), self.is_ally()) {
                ([one, other], true) => one.dst.clone().zip(other.dst.clone()),
                _ => self.aliases().map(|(one, other)| (one.0, other.0)),
            };
            let Some((one, other)) = pair else { return Some(String::new()) };
            Some(match body.result {
                Some(1) => format!("{one} {other} aliases\n"),
                Some(2) => format!("{one} {other} not aliases\n"),
                result => {
                    format!("{one} {other} {}\n", names::dealias_result(result.unwrap_or(0)).unwrap_or("none"))
                }
            })
        }
    }
}

fn aliases(dealias: &Dealias) -> Option<(ScamperAddr, ScamperAddr)> {
    let pair = match &dealias.method_data {
        // The address that was probed, and another that answered.
        Method::Mercator(method) => {
            let [def] = &method.probedefs;
            let replies = dealias.probes.iter().flat_map(|probe| &probe.replies);
            let other =
                replies.filter_map(|reply| reply.src.as_ref()).find(|src| Some(*src) != def.dst.as_ref());
            def.dst.as_ref().zip(other)
        }
        Method::Ally(method) => {
            let [one, other] = &method.probedefs;
            one.dst.as_ref().zip(other.dst.as_ref())
        }
        Method::Bump(method) => {
            let [one, other] = &method.probedefs;
            one.dst.as_ref().zip(other.dst.as_ref())
        }
        Method::Prefixscan(method) => method.b.as_ref().zip(method.ab.as_ref()),
        _ => None,
    };
    pair.map(|(one, other)| (ScamperAddr(one.clone()), ScamperAddr(other.clone())))
}

fn probe(dealias: &Dealias, at: usize) -> Option<ScamperDealiasProbe> {
    let probe = dealias.probes.get(at)?.clone();
    let number = probe.def.unwrap_or(0);
    let definitions = dealias.definitions();
    let by_number = definitions.iter().find(|def| def.id.unwrap_or(0) == number);
    let def = by_number.or_else(|| definitions.get(usize::try_from(number).ok()?))?;
    Some(ScamperDealiasProbe { probe, def: (*def).clone() })
}

/// How probes are made.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperDealiasProbedef(ProbeDef);

impl ScamperDealiasProbedef {
    /// Something other than zero that one of the two kinds of methods has.
    fn options(&self) -> Vec<(&'static str, u16)> {
        let of = |values: [(&'static str, Option<u16>); 4]| {
            values
                .into_iter()
                .filter_map(|(name, value)| Some((name, value.filter(|value| *value != 0)?)))
                .collect()
        };
        of([
            ("sport", self.sport()),
            ("dport", self.dport()),
            ("icmp_id", self.icmp_id()),
            ("icmp_sum", self.icmp_sum()),
        ])
    }

    fn option(&self, name: &str) -> Option<u16> {
        self.options().into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    fn method(&self) -> &'static str {
        names::dealias_probe(self.0.method.unwrap_or(0)).unwrap_or("unknown")
    }
}

fn address(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Address>> {
    let Some(value) = value else { return Ok(None) };
    if let Ok(address) = value.cast::<ScamperAddr>() {
        return Ok(Some(address.get().0.clone()));
    }
    let made = value.py().get_type::<ScamperAddr>().call1((value,))?;
    Ok(Some(made.cast::<ScamperAddr>()?.get().0.clone()))
}

#[pymethods]
impl ScamperDealiasProbedef {
    #[new]
    #[pyo3(signature = (method, src=None, dst=None, ttl=None, size=None, sport=None, dport=None, icmp_id=None, icmp_sum=None))]
    #[expect(clippy::too_many_arguments, reason = "the signature is scamper's")]
    fn new(
        method: &str,
        src: Option<&Bound<'_, PyAny>>,
        dst: Option<&Bound<'_, PyAny>>,
        ttl: Option<u8>,
        size: Option<u16>,
        sport: Option<u16>,
        dport: Option<u16>,
        icmp_id: Option<u16>,
        icmp_sum: Option<u16>,
    ) -> PyResult<Self> {
        let number = (1..=6).find(|number| names::dealias_probe(*number) == Some(method));
        let number = number.ok_or_else(|| PyValueError::new_err(format!("unknown method {method}")))?;
        let is_icmp = method.starts_with("icmp");
        if is_icmp && (sport.is_some() || dport.is_some()) {
            return Err(PyValueError::new_err(format!("method {method} has no ports")));
        }
        if !is_icmp && (icmp_id.is_some() || icmp_sum.is_some()) {
            return Err(PyValueError::new_err(format!(
                "method {method} has no ICMP identifier and checksum"
            )));
        }
        let ports =
            mmn_warts::records::dealias::Ports { sport: sport.unwrap_or(0), dport: dport.unwrap_or(0) };
        Ok(Self(ProbeDef {
            method: Some(number),
            src: address(src)?,
            dst: address(dst)?,
            ttl,
            size,
            ports: (!is_icmp).then_some(ports),
            icmp_id,
            icmp_csum: icmp_sum,
            ..ProbeDef::default()
        }))
    }
    #[getter]
    fn src(&self) -> Option<ScamperAddr> {
        addr(self.0.src.as_ref())
    }
    #[getter]
    fn dst(&self) -> Option<ScamperAddr> {
        addr(self.0.dst.as_ref())
    }
    #[getter]
    fn ttl(&self) -> u8 {
        self.0.ttl.unwrap_or(0)
    }
    #[getter]
    fn size(&self) -> u16 {
        self.0.size.unwrap_or(0)
    }
    #[getter]
    fn sport(&self) -> Option<u16> {
        (!self.is_icmp()).then(|| self.0.ports.unwrap_or_default().sport)
    }
    #[getter]
    fn dport(&self) -> Option<u16> {
        (!self.is_icmp()).then(|| self.0.ports.unwrap_or_default().dport)
    }
    #[getter]
    fn icmp_id(&self) -> Option<u16> {
        // Old files have both where others have the ports.
        self.is_icmp().then(|| self.0.icmp_id.or(self.0.ports.map(|ports| ports.sport)).unwrap_or(0))
    }
    #[getter]
    fn icmp_sum(&self) -> Option<u16> {
        self.is_icmp().then(|| self.0.icmp_csum.or(self.0.ports.map(|ports| ports.dport)).unwrap_or(0))
    }
    fn is_udp(&self) -> bool {
        matches!(self.0.method, Some(3 | 5))
    }
    fn is_icmp(&self) -> bool {
        self.0.method == Some(1)
    }
    fn is_tcp(&self) -> bool {
        matches!(self.0.method, Some(2 | 4 | 6))
    }
    /// The options of a command that defines such probes.
    fn __str__(&self) -> String {
        let mut text = format!("-P {}", self.method());
        for (flag, name) in [("-c", "icmp_sum"), ("-d", "dport"), ("-F", "sport")] {
            if let Some(value) = self.option(name) {
                text.extend([" ", flag, " ", &value.to_string()]);
            }
        }
        if let Some(dst) = &self.0.dst {
            text.extend([" -i ", &dst.to_string()]);
        }
        for (flag, value) in [("-s", self.size()), ("-t", self.ttl().into())] {
            if value != 0 {
                text.extend([" ", flag, " ", &value.to_string()]);
            }
        }
        text
    }
    fn __repr__(&self) -> String {
        let mut text = format!("ScamperDealiasProbedef('{}'", self.method());
        for (name, address) in [("src", &self.0.src), ("dst", &self.0.dst)] {
            if let Some(address) = address {
                text.extend([", ", name, "='", &address.to_string(), "'"]);
            }
        }
        for (name, value) in
            [("ttl", self.ttl().into()), ("size", self.size())].into_iter().chain(self.options())
        {
            if value != 0 {
                text.extend([", ", name, "=", &value.to_string()]);
            }
        }
        text + ")"
    }
}

/// A probe.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperDealiasProbe {
    probe: Probe,
    def: ProbeDef,
}

impl ScamperDealiasProbe {
    fn at(&self, i: usize) -> Option<ScamperDealiasReply> {
        let reply = self.probe.replies.get(i)?.clone();
        let from_target = from_target(&self.def, &reply);
        Some(ScamperDealiasReply { reply, from_target })
    }
}

#[pymethods]
impl ScamperDealiasProbe {
    #[getter]
    fn probedef(&self) -> ScamperDealiasProbedef {
        ScamperDealiasProbedef(self.def.clone())
    }
    #[getter]
    fn ipid(&self) -> u16 {
        self.probe.ipid.unwrap_or(0)
    }
    #[getter]
    fn seq(&self) -> u32 {
        self.probe.seq.unwrap_or(0)
    }
    #[getter]
    fn tx(&self) -> Option<SystemTime> {
        time(self.probe.tx)
    }
    #[getter]
    fn reply_count(&self) -> usize {
        self.probe.replies.len()
    }
    #[pyo3(signature = (i = 0))]
    fn reply(&self, i: Option<usize>) -> Option<ScamperDealiasReply> {
        self.at(i.unwrap_or(0))
    }
    fn replies(&self) -> Items {
        iter_of((0..self.probe.replies.len()).filter_map(|i| self.at(i)).collect())
    }
}

fn proto(reply: &Reply) -> u8 {
    let default = if matches!(reply.src, Some(Address::V6(_))) { 58 } else { 1 };
    reply.proto.unwrap_or(default)
}

fn icmp(reply: &Reply) -> Option<Icmp> {
    let v6 = matches!(reply.src, Some(Address::V6(_)));
    (proto(reply) == if v6 { 58 } else { 1 }).then(|| Icmp::of(v6, reply.icmp))
}

/// Whether it is what a target that is there answers.
fn from_target(def: &ProbeDef, reply: &Reply) -> bool {
    match def.method {
        Some(1) => icmp(reply) == Some(Icmp::EchoReply),
        Some(3 | 5) => icmp(reply) == Some(Icmp::PortUnreachable) || proto(reply) == 17,
        Some(2 | 4 | 6) => proto(reply) == 6,
        _ => false,
    }
}

/// A reply.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperDealiasReply {
    reply: Reply,
    from_target: bool,
}

#[pymethods]
impl ScamperDealiasReply {
    #[getter]
    fn src(&self) -> Option<ScamperAddr> {
        addr(self.reply.src.as_ref())
    }
    #[getter]
    fn rx(&self) -> Option<SystemTime> {
        known(self.reply.rx)
    }
    #[getter]
    fn ttl(&self) -> u8 {
        self.reply.ttl.unwrap_or(0)
    }
    #[getter]
    fn size(&self) -> u16 {
        self.reply.size.unwrap_or(0)
    }
    #[getter]
    fn tcp_flags(&self) -> Option<u8> {
        self.is_tcp().then(|| self.reply.tcp_flags.unwrap_or(0))
    }
    #[getter]
    fn icmp_type(&self) -> Option<u8> {
        self.is_icmp().then(|| self.reply.icmp.unwrap_or_default().kind)
    }
    #[getter]
    fn icmp_code(&self) -> Option<u8> {
        self.is_icmp().then(|| self.reply.icmp.unwrap_or_default().code)
    }
    #[getter]
    fn icmp_q_ttl(&self) -> Option<u8> {
        icmp(&self.reply).filter(|icmp| icmp.quotes()).map(|_| self.reply.icmp_q_ttl.unwrap_or(0))
    }
    #[getter]
    fn ipid(&self) -> Option<u32> {
        match self.reply.src.as_ref()? {
            Address::V4(_) => Some(self.reply.ipid.unwrap_or(0).into()),
            _ => self.reply.ipid32,
        }
    }
    #[getter]
    fn icmp_exts(&self) -> Option<ScamperIcmpExts> {
        exts(self.reply.icmp_ext.as_ref())
    }
    fn is_tcp(&self) -> bool {
        proto(&self.reply) == 6
    }
    fn is_icmp(&self) -> bool {
        icmp(&self.reply).is_some()
    }
    fn is_icmp_ttl_exp(&self) -> bool {
        icmp(&self.reply) == Some(Icmp::TimeExceeded)
    }
    fn is_icmp_unreach(&self) -> bool {
        let v6 = matches!(self.reply.src, Some(Address::V6(_)));
        icmp(&self.reply).is_some_and(|icmp| icmp.is_unreachable(v6))
    }
    fn is_icmp_unreach_port(&self) -> bool {
        icmp(&self.reply) == Some(Icmp::PortUnreachable)
    }
    fn is_icmp_echo_reply(&self) -> bool {
        icmp(&self.reply) == Some(Icmp::EchoReply)
    }
    fn is_from_target(&self) -> bool {
        self.from_target
    }
}

/// A round of a schedule: which definitions are probed when.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperDealiasMidardiscRound {
    start: Duration,
    begin: u32,
    end: u32,
}

#[pymethods]
impl ScamperDealiasMidardiscRound {
    #[new]
    fn new(start: Duration, begin: u32, end: u32) -> Self {
        Self { start, begin, end }
    }
    #[getter]
    fn start(&self) -> Duration {
        self.start
    }
    #[getter]
    fn begin(&self) -> u32 {
        self.begin
    }
    #[getter]
    fn end(&self) -> u32 {
        self.end
    }
    fn __str__(&self) -> String {
        format!("{}.{:06}:{}:{}", self.start.as_secs(), self.start.subsec_micros(), self.begin, self.end)
    }
}
