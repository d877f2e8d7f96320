//! `ScamperOwamp`: one-way delay (RFC 4656).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::names;
use mmn_warts::records::owamp::{Owamp, Received, Sent, Slot};
use mmn_warts::values::Time;
use pyo3::prelude::*;

use crate::addr::{ScamperAddr, addr};
use crate::item::{Items, iter, iter_of, result, span, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperOwamp>()?;
    module.add_class::<ScamperOwampSched>()?;
    module.add_class::<ScamperOwampTx>()?;
    module.add_class::<ScamperOwampRx>()
}

result! {
    /// A measurement of one-way delay.
    ScamperOwamp(Owamp) {
        numbers {
            dport: u16 = dport or 861;
            attempts: u32 = attempts or 10;
            dscp: u8 = dscp or 0;
            probe_size: u16 = pktsize or 42;
            ttl: u8 = ttl or 255;
            udp_sport: u16 = udp_sport or 0;
            udp_dport: u16 = udp_dport or 0;
        }
        addresses {}
        #[getter]
        fn src(&self) -> Option<ScamperAddr> {
            addr(self.item.body.src.as_ref().map(|address| &address.0))
        }
        #[getter]
        fn dst(&self) -> Option<ScamperAddr> {
            addr(self.item.body.dst.as_ref().map(|address| &address.0))
        }
        #[getter]
        fn startat(&self) -> Option<SystemTime> {
            time(self.item.body.startat)
        }
        #[getter]
        fn wait_timeout(&self) -> Option<Duration> {
            Some(span(self.item.body.wait_timeout.unwrap_or(Time { sec: 2, usec: 0 })))
        }
        #[getter]
        fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperOwampResult", self.item.body.result.unwrap_or(0).into())
        }
        #[getter]
        fn result_str(&self) -> String {
            let result = self.item.body.result.unwrap_or(0);
            names::owamp_result(result).map_or_else(|| result.to_string(), str::to_owned)
        }
        #[getter]
        fn direction_str(&self) -> &'static str {
            names::owamp_dir(self.item.body.dir.unwrap_or(0)).unwrap_or("unknown")
        }
        #[getter]
        fn sched_count(&self) -> usize {
            self.item.body.sched.len()
        }
        fn sched(&self, i: usize) -> Option<ScamperOwampSched> {
            self.item.body.sched.get(i).cloned().map(ScamperOwampSched)
        }
        fn scheds(&self) -> Items {
            iter_of(self.item.body.sched.iter().cloned().map(ScamperOwampSched).collect())
        }
        #[getter]
        fn tx_count(&self) -> usize {
            self.item.body.txs.len()
        }
        fn tx(&self, i: usize) -> Option<ScamperOwampTx> {
            self.item.body.txs.get(i).cloned().map(ScamperOwampTx)
        }
        fn txs(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.tx_count(), move |i| item.body.txs.get(i).cloned().map(ScamperOwampTx))
        }
    }
}

/// A slot of the schedule.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperOwampSched(Slot);

#[pymethods]
impl ScamperOwampSched {
    #[getter]
    fn value(&self) -> Duration {
        span(self.0.time.unwrap_or_default())
    }
    #[getter]
    fn r#type(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        crate::enums::member(py, "ScamperOwampSchedType", self.0.kind.unwrap_or(0).into())
    }
    #[getter]
    fn type_str(&self) -> &'static str {
        names::owamp_slot(self.0.kind.unwrap_or(0)).unwrap_or("unknown")
    }
}

/// A packet sent.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperOwampTx(Sent);

#[pymethods]
impl ScamperOwampTx {
    /// When it was to be sent.
    #[getter]
    fn sched(&self) -> Option<SystemTime> {
        time(self.0.sched)
    }
    /// When it was sent.
    #[getter]
    fn stamp(&self) -> Option<SystemTime> {
        time(self.0.stamp)
    }
    #[getter]
    fn seq(&self) -> u32 {
        self.0.seq.unwrap_or(0)
    }
    #[getter]
    fn rx_count(&self) -> usize {
        self.0.rxs.len()
    }
    fn rx(&self, i: usize) -> Option<ScamperOwampRx> {
        self.0.rxs.get(i).cloned().map(ScamperOwampRx)
    }
    fn rxs(&self) -> Items {
        iter_of(self.0.rxs.iter().cloned().map(ScamperOwampRx).collect())
    }
}

/// The receipt of a packet.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperOwampRx(Received);

#[pymethods]
impl ScamperOwampRx {
    #[getter]
    fn stamp(&self) -> Option<SystemTime> {
        time(self.0.stamp)
    }
    #[getter]
    fn ttl(&self) -> Option<u8> {
        (self.0.flags.unwrap_or(0) & 2 != 0).then(|| self.0.ttl.unwrap_or(0))
    }
    #[getter]
    fn dscp(&self) -> Option<u8> {
        (self.0.flags.unwrap_or(0) & 1 != 0).then(|| self.0.dscp.unwrap_or(0))
    }
}
