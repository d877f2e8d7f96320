//! Resource records, and what those of some types hold.

use std::borrow::Cow;

use mmn_warts::records::host::{Element, Mx, Opt, Rr, RrData, Soa, Svcb, Txt};
use mmn_warts::{Address, names};
use pyo3::prelude::*;

use crate::addr::ScamperAddr;
use crate::item::{Items, iter_of, octets, text};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperHostRR>()?;
    module.add_class::<ScamperHostMX>()?;
    module.add_class::<ScamperHostSOA>()?;
    module.add_class::<ScamperHostTXT>()?;
    module.add_class::<ScamperHostOPT>()?;
    module.add_class::<ScamperHostOPTElem>()?;
    module.add_class::<ScamperHostSVCB>()?;
    module.add_class::<ScamperHostSVCBParam>()
}

const IN: u16 = 1;

/// Whether it is an OPT record (RFC 6891).
pub(crate) fn is_opt(record: &Rr) -> bool {
    matches!(record.data, Some(RrData::Opt(_)))
}

/// A resource record.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperHostRR(pub(crate) Rr);

impl ScamperHostRR {
    /// What a record of the class IN and a type says, when it is a name.
    fn of_type(&self, number: u16) -> Option<String> {
        match &self.0.data {
            Some(RrData::Name(name)) if (self.0.class, self.0.rtype) == (Some(IN), Some(number)) => {
                text(Some(name))
            }
            _ => None,
        }
    }

    fn service(&self, number: u16) -> Option<ScamperHostSVCB> {
        match &self.0.data {
            Some(RrData::Svcb(service)) if self.0.rtype == Some(number) => {
                Some(ScamperHostSVCB(service.clone()))
            }
            _ => None,
        }
    }

    /// What it says, as a zone has it.
    fn said(&self) -> String {
        match &self.0.data {
            Some(RrData::Address(address)) => address.to_string(),
            Some(RrData::Name(name)) => name.to_string(),
            Some(RrData::Mx(mx)) => {
                format!("{} {}", mx.preference.unwrap_or(0), text(mx.exchange.as_ref()).unwrap_or_default())
            }
            Some(RrData::Soa(soa)) => {
                let name = |name| text(name).unwrap_or_default();
                let numbers = [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum]
                    .map(|number| number.unwrap_or(0).to_string());
                format!("{} {} {}", name(soa.mname.as_ref()), name(soa.rname.as_ref()), numbers.join(" "))
            }
            Some(RrData::Txt(txt)) => {
                let texts = strings(txt).into_iter().map(|text| format!("\"{text}\""));
                texts.collect::<Vec<_>>().join(" ")
            }
            Some(RrData::Svcb(service)) => {
                let target = text(service.target.as_ref()).unwrap_or_default();
                format!("{} {target}", service.priority.unwrap_or(0))
            }
            _ => String::new(),
        }
    }
}

#[pymethods]
impl ScamperHostRR {
    #[getter]
    fn rclass(&self) -> u16 {
        self.0.class.unwrap_or(0)
    }
    #[getter]
    fn rtype(&self) -> u16 {
        self.0.rtype.unwrap_or(0)
    }
    #[getter]
    fn ttl(&self) -> u32 {
        self.0.ttl.unwrap_or(0)
    }
    /// Its owner.
    #[getter]
    fn name(&self) -> Option<String> {
        text(self.0.name.as_ref())
    }
    /// Of A and AAAA.
    #[getter]
    pub(crate) fn addr(&self) -> Option<ScamperAddr> {
        match (self.0.rtype, &self.0.data) {
            (Some(1 | 28), Some(RrData::Address(address @ (Address::V4(_) | Address::V6(_))))) => {
                Some(ScamperAddr(address.clone()))
            }
            _ => None,
        }
    }
    #[getter]
    pub(crate) fn ns(&self) -> Option<String> {
        self.of_type(2)
    }
    #[getter]
    fn cname(&self) -> Option<String> {
        self.of_type(5)
    }
    #[getter]
    pub(crate) fn ptr(&self) -> Option<String> {
        self.of_type(12)
    }
    #[getter]
    pub(crate) fn mx(&self) -> Option<ScamperHostMX> {
        match &self.0.data {
            Some(RrData::Mx(mx)) => Some(ScamperHostMX(mx.clone())),
            _ => None,
        }
    }
    #[getter]
    fn soa(&self) -> Option<ScamperHostSOA> {
        match &self.0.data {
            Some(RrData::Soa(soa)) => Some(ScamperHostSOA(soa.clone())),
            _ => None,
        }
    }
    #[getter]
    pub(crate) fn txt(&self) -> Option<ScamperHostTXT> {
        match &self.0.data {
            Some(RrData::Txt(txt)) => Some(ScamperHostTXT(strings(txt))),
            _ => None,
        }
    }
    #[getter]
    fn opt(&self) -> Option<ScamperHostOPT> {
        match &self.0.data {
            Some(RrData::Opt(opt)) => Some(ScamperHostOPT(opt.clone())),
            _ => None,
        }
    }
    #[getter]
    fn svcb(&self) -> Option<ScamperHostSVCB> {
        self.service(64)
    }
    #[getter]
    fn https(&self) -> Option<ScamperHostSVCB> {
        self.service(65)
    }
    /// Of OPT: how large a UDP message may be.
    #[getter]
    fn udpsize(&self) -> Option<u16> {
        is_opt(&self.0).then(|| self.rclass())
    }
    #[getter]
    fn edns_version(&self) -> Option<u32> {
        is_opt(&self.0).then(|| self.ttl() >> 16 & 0xff)
    }
    #[getter]
    fn edns_do(&self) -> Option<bool> {
        is_opt(&self.0).then(|| self.ttl() >> 15 & 1 == 1)
    }
    fn __str__(&self) -> String {
        let class = names::rr_class(self.rclass()).map_or_else(|| self.rclass().to_string(), str::to_owned);
        let kind = names::rr_type(self.rtype()).map_or_else(|| self.rtype().to_string(), str::to_owned);
        let line =
            format!("{} {} {class} {kind} {}", self.name().unwrap_or_default(), self.ttl(), self.said());
        line.trim_end().to_owned()
    }
}

fn strings(txt: &Txt) -> Vec<String> {
    let strings = txt.strs.iter().flatten();
    strings.map(|string| String::from_utf8_lossy(&string.0).into_owned()).collect()
}

/// MX (RFC 1035, section 3.3.9).
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperHostMX(Mx);

#[pymethods]
impl ScamperHostMX {
    #[getter]
    fn pref(&self) -> u16 {
        self.0.preference.unwrap_or(0)
    }
    #[getter]
    fn exch(&self) -> Option<String> {
        text(self.0.exchange.as_ref())
    }
}

/// SOA (RFC 1035, section 3.3.13).
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperHostSOA(Box<Soa>);

#[pymethods]
impl ScamperHostSOA {
    #[getter]
    fn mname(&self) -> Option<String> {
        text(self.0.mname.as_ref())
    }
    #[getter]
    fn rname(&self) -> Option<String> {
        text(self.0.rname.as_ref())
    }
    #[getter]
    fn serial(&self) -> u32 {
        self.0.serial.unwrap_or(0)
    }
    #[getter]
    fn refresh(&self) -> u32 {
        self.0.refresh.unwrap_or(0)
    }
    #[getter]
    fn retry(&self) -> u32 {
        self.0.retry.unwrap_or(0)
    }
    #[getter]
    fn expire(&self) -> u32 {
        self.0.expire.unwrap_or(0)
    }
    #[getter]
    fn minimum(&self) -> u32 {
        self.0.minimum.unwrap_or(0)
    }
}

/// TXT (RFC 1035, section 3.3.14).
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperHostTXT(Vec<String>);

#[pymethods]
impl ScamperHostTXT {
    #[getter]
    fn strc(&self) -> usize {
        self.0.len()
    }
    fn str(&self, i: usize) -> Option<String> {
        self.0.get(i).cloned()
    }
    fn __iter__(&self) -> Items {
        iter_of(self.0.clone())
    }
}

/// OPT (RFC 6891, section 6.1.2).
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperHostOPT(Opt);

#[pymethods]
impl ScamperHostOPT {
    #[getter]
    fn elemc(&self) -> usize {
        self.0.elems.as_ref().map_or(0, Vec::len)
    }
    fn elem(&self, i: usize) -> Option<ScamperHostOPTElem> {
        self.0.elems.as_ref()?.get(i).cloned().map(ScamperHostOPTElem)
    }
    fn __iter__(&self) -> Items {
        iter_of(self.0.elems.iter().flatten().cloned().map(ScamperHostOPTElem).collect())
    }
}

/// The names of options of EDNS (the IANA's registry).
fn option(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "LLQ",
        3 => "NSID",
        5 => "DAU",
        6 => "DHU",
        7 => "N3U",
        8 => "edns-client-subnet",
        9 => "EDNS-EXPIRE",
        10 => "COOKIE",
        11 => "edns-tcp-keepalive",
        12 => "Padding",
        13 => "CHAIN",
        14 => "edns-key-tag",
        15 => "Extended DNS Error",
        16 => "EDNS-Client-Tag",
        17 => "EDNS-Server-Tag",
        18 => "Report-Channel",
        19 => "ZONEVERSION",
        _ => return None,
    })
}

/// An option of OPT.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperHostOPTElem(Element);

#[pymethods]
impl ScamperHostOPTElem {
    #[getter]
    fn code_num(&self) -> u16 {
        self.0.code
    }
    #[getter]
    fn code(&self) -> String {
        option(self.0.code).map_or_else(|| self.0.code.to_string(), str::to_owned)
    }
    #[getter]
    fn data(&self) -> Option<Cow<'_, [u8]>> {
        octets(Some(&self.0.data))
    }
    fn __len__(&self) -> usize {
        self.0.data.0.len()
    }
}

/// SVCB and HTTPS (RFC 9460, section 2.2).
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperHostSVCB(Svcb);

#[pymethods]
impl ScamperHostSVCB {
    #[getter]
    fn target(&self) -> Option<String> {
        text(self.0.target.as_ref())
    }
    #[getter]
    fn priority(&self) -> u16 {
        self.0.priority.unwrap_or(0)
    }
    #[getter]
    fn paramc(&self) -> usize {
        self.0.params.as_ref().map_or(0, Vec::len)
    }
    fn param(&self, i: usize) -> Option<ScamperHostSVCBParam> {
        self.0.params.as_ref()?.get(i).cloned().map(ScamperHostSVCBParam)
    }
    fn __iter__(&self) -> Items {
        iter_of(self.0.params.iter().flatten().cloned().map(ScamperHostSVCBParam).collect())
    }
}

/// A parameter of SVCB (RFC 9460, section 14.3.2).
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperHostSVCBParam(Element);

#[pymethods]
impl ScamperHostSVCBParam {
    #[getter]
    fn key_num(&self) -> u16 {
        self.0.code
    }
    #[getter]
    fn key(&self) -> String {
        let known = [
            "mandatory",
            "alpn",
            "no-default-alpn",
            "port",
            "ipv4hint",
            "ech",
            "ipv6hint",
            "dohpath",
            "ohttp",
            "tls-supported-groups",
        ];
        let known = known.get(usize::from(self.0.code));
        known.map_or_else(|| self.0.code.to_string(), |key| (*key).to_owned())
    }
    #[getter]
    fn val(&self) -> Option<Cow<'_, [u8]>> {
        octets(Some(&self.0.data))
    }
    fn __len__(&self) -> usize {
        self.0.data.0.len()
    }
}
