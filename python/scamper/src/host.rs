//! `ScamperHost`: a question to a DNS server and its answers.

use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::names;
use mmn_warts::records::host::{Host, Query, Rr};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::addr::ScamperAddr;
use crate::host_rr::{ScamperHostMX, ScamperHostRR, ScamperHostTXT, is_opt};
use crate::item::{Items, iter_of, known, result, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperHost>()?;
    module.add_class::<ScamperHostQuery>()
}

/// The query that was answered first.
fn answered(host: &Host) -> Option<ScamperHostQuery> {
    host.queries.iter().find(|query| known(query.rx).is_some()).cloned().map(ScamperHostQuery)
}

/// A type of records by its number or its mnemonic.
fn rr_type(number: u16) -> String {
    names::rr_type(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The records of some types, or all.
fn of_types(records: &[Rr], types: Option<Vec<String>>) -> PyResult<Items> {
    let numbers =
        types.map(|types| types.iter().map(|name| number(name)).collect::<PyResult<BTreeSet<u16>>>());
    let numbers = numbers.transpose()?;
    let wanted = |record: &&Rr| {
        numbers.as_ref().is_none_or(|numbers| record.rtype.is_some_and(|number| numbers.contains(&number)))
    };
    Ok(iter_of(records.iter().filter(wanted).cloned().map(ScamperHostRR).collect()))
}

fn number(name: &str) -> PyResult<u16> {
    let known = (1..=u16::from(u8::MAX))
        .find(|number| names::rr_type(*number).is_some_and(|known| known.eq_ignore_ascii_case(name)));
    known.ok_or_else(|| PyValueError::new_err(format!("unknown type of records {name:?}")))
}

result! {
    /// A question to a DNS server.
    ScamperHost(Host) {
        numbers { qtype_num: u16 = qtype or 0; }
        addresses {
            src = src;
            /// The server.
            dst = dst;
        }
        #[getter]
        fn wait_timeout(&self) -> Duration {
            Duration::from_millis(self.item.body.wait.unwrap_or(0).into())
        }
        #[getter]
        fn stop_reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperHostStop", self.item.body.stop.unwrap_or(0).into())
        }
        #[getter]
        fn stop_reason_str(&self) -> String {
            let reason = self.item.body.stop.unwrap_or(0);
            names::host_stop(reason).map_or_else(|| reason.to_string(), str::to_lowercase)
        }
        #[getter]
        fn qtype(&self) -> String {
            rr_type(self.qtype_num())
        }
        #[getter]
        fn qclass(&self) -> String {
            let class = self.item.body.qclass.unwrap_or(0);
            names::rr_class(class).map_or_else(|| class.to_string(), str::to_owned)
        }
        #[getter]
        fn qname(&self) -> String {
            text(self.item.body.qname.as_ref()).unwrap_or_default()
        }
        /// Not in the file's format of this release.
        #[getter]
        fn mqtypes(&self) -> Vec<String> {
            Vec::new()
        }
        /// The client subnet that was sent.
        #[getter]
        fn ecs(&self) -> Option<String> {
            text(self.item.body.ecs.as_ref())
        }
        #[getter]
        fn rcode_num(&self) -> Option<u8> {
            answered(&self.item.body)?.rcode_num()
        }
        #[getter]
        fn rcode(&self) -> Option<String> {
            answered(&self.item.body)?.rcode()
        }
        #[getter]
        fn extended_rcode_num(&self) -> Option<u16> {
            answered(&self.item.body)?.extended_rcode_num()
        }
        #[getter]
        fn extended_rcode(&self) -> Option<String> {
            answered(&self.item.body)?.extended_rcode()
        }
        #[getter]
        fn tx(&self) -> Option<SystemTime> {
            answered(&self.item.body)?.tx()
        }
        #[getter]
        fn rx(&self) -> Option<SystemTime> {
            answered(&self.item.body)?.rx()
        }
        #[getter]
        fn rtt(&self) -> Option<Duration> {
            answered(&self.item.body)?.rtt()
        }
        #[getter]
        fn udpsize(&self) -> Option<u16> {
            answered(&self.item.body)?.udpsize()
        }
        #[getter]
        fn edns_version(&self) -> Option<u32> {
            answered(&self.item.body)?.edns_version()
        }
        #[getter]
        fn edns_do(&self) -> Option<bool> {
            answered(&self.item.body)?.edns_do()
        }
        #[getter]
        fn ancount(&self) -> usize {
            answered(&self.item.body).map_or(0, |query| query.ancount())
        }
        #[getter]
        fn nscount(&self) -> usize {
            answered(&self.item.body).map_or(0, |query| query.nscount())
        }
        #[getter]
        fn arcount(&self) -> usize {
            answered(&self.item.body).map_or(0, |query| query.arcount())
        }
        fn an(&self, i: usize) -> Option<ScamperHostRR> {
            answered(&self.item.body)?.an(i)
        }
        fn ns(&self, i: usize) -> Option<ScamperHostRR> {
            answered(&self.item.body)?.ns(i)
        }
        fn ar(&self, i: usize) -> Option<ScamperHostRR> {
            answered(&self.item.body)?.ar(i)
        }
        /// The answers, or those of some types.
        #[pyo3(signature = (rrtypes = None))]
        fn ans(&self, rrtypes: Option<Vec<String>>) -> PyResult<Items> {
            of_types(&answered(&self.item.body).map_or_else(Vec::new, |query| query.0.an), rrtypes)
        }
        /// The authorities, or those of some types.
        #[pyo3(signature = (rrtypes = None))]
        fn nss(&self, rrtypes: Option<Vec<String>>) -> PyResult<Items> {
            of_types(&answered(&self.item.body).map_or_else(Vec::new, |query| query.0.ns), rrtypes)
        }
        /// The additional records, or those of some types.
        #[pyo3(signature = (rrtypes = None))]
        fn ars(&self, rrtypes: Option<Vec<String>>) -> PyResult<Items> {
            of_types(&answered(&self.item.body).map_or_else(Vec::new, |query| query.0.ar), rrtypes)
        }
        /// The addresses among the answers, each once.
        fn ans_addrs(&self) -> Vec<ScamperAddr> {
            each_once(self.answers().iter().filter_map(ScamperHostRR::addr))
        }
        /// The name servers among the answers, each once.
        fn ans_nses(&self) -> Vec<String> {
            each_once(self.answers().iter().filter_map(ScamperHostRR::ns))
        }
        /// The pointers among the answers, each once.
        fn ans_ptrs(&self) -> Vec<String> {
            each_once(self.answers().iter().filter_map(ScamperHostRR::ptr))
        }
        /// The texts among the answers.
        fn ans_txts(&self) -> Vec<ScamperHostTXT> {
            self.answers().iter().filter_map(ScamperHostRR::txt).collect()
        }
        /// The mail exchanges among the answers.
        fn ans_mxes(&self) -> Vec<ScamperHostMX> {
            self.answers().iter().filter_map(ScamperHostRR::mx).collect()
        }
        /// Every query that was sent.
        fn queries(&self) -> Items {
            let item = Arc::clone(&self.item);
            crate::item::iter(self.item.body.queries.len(), move |at| {
                item.body.queries.get(at).cloned().map(ScamperHostQuery)
            })
        }
    }
}

impl ScamperHost {
    fn answers(&self) -> Vec<ScamperHostRR> {
        answered(&self.item.body)
            .map_or_else(Vec::new, |query| query.0.an.into_iter().map(ScamperHostRR).collect())
    }
}

fn each_once<T: Clone + Eq + std::hash::Hash>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    items.filter(|item| seen.insert(item.clone())).collect()
}

/// A query and the response to it.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperHostQuery(Query);

impl ScamperHostQuery {
    /// The OPT record (RFC 6891, section 6.1.3): class and TTL.
    fn opt(&self) -> Option<(u16, u32)> {
        let record = self.0.ar.iter().find(|record| is_opt(record))?;
        Some((record.class.unwrap_or(0), record.ttl.unwrap_or(0)))
    }
}

fn rcode(number: u16) -> String {
    let known = u8::try_from(number).ok().and_then(names::rcode);
    known.map_or_else(|| number.to_string(), str::to_owned)
}

#[pymethods]
impl ScamperHostQuery {
    #[getter]
    fn tx(&self) -> Option<SystemTime> {
        time(self.0.tx)
    }
    #[getter]
    fn rx(&self) -> Option<SystemTime> {
        known(self.0.rx)
    }
    #[getter]
    fn rtt(&self) -> Option<Duration> {
        self.rx()?.duration_since(self.tx()?).ok()
    }
    #[getter]
    fn rcode_num(&self) -> Option<u8> {
        Some(self.0.rcode.unwrap_or(0))
    }
    #[getter]
    fn rcode(&self) -> Option<String> {
        Some(rcode(self.0.rcode.unwrap_or(0).into()))
    }
    #[getter]
    fn extended_rcode_num(&self) -> Option<u16> {
        let rcode = u16::from(self.0.rcode.unwrap_or(0));
        Some(match self.opt() {
            Some((_, ttl)) => u16::try_from(ttl >> 24).unwrap_or(0) << 4 | rcode & 0x0f,
            None => rcode,
        })
    }
    #[getter]
    fn extended_rcode(&self) -> Option<String> {
        self.extended_rcode_num().map(rcode)
    }
    #[getter]
    fn flags(&self) -> u8 {
        self.0.flags.unwrap_or(0)
    }
    #[getter]
    fn id(&self) -> u16 {
        self.0.id.unwrap_or(0)
    }
    #[getter]
    fn ancount(&self) -> usize {
        self.0.an.len()
    }
    #[getter]
    fn nscount(&self) -> usize {
        self.0.ns.len()
    }
    #[getter]
    fn arcount(&self) -> usize {
        self.0.ar.len()
    }
    #[getter]
    fn udpsize(&self) -> Option<u16> {
        self.opt().map(|(class, _)| class)
    }
    #[getter]
    fn edns_version(&self) -> Option<u32> {
        self.opt().map(|(_, ttl)| ttl >> 16 & 0xff)
    }
    #[getter]
    fn edns_do(&self) -> Option<bool> {
        self.opt().map(|(_, ttl)| ttl >> 15 & 1 == 1)
    }
    fn an(&self, i: usize) -> Option<ScamperHostRR> {
        self.0.an.get(i).cloned().map(ScamperHostRR)
    }
    fn ns(&self, i: usize) -> Option<ScamperHostRR> {
        self.0.ns.get(i).cloned().map(ScamperHostRR)
    }
    fn ar(&self, i: usize) -> Option<ScamperHostRR> {
        self.0.ar.get(i).cloned().map(ScamperHostRR)
    }
}
