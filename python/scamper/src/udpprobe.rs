//! `ScamperUdpprobe`: datagrams and what came back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::names;
use mmn_warts::records::udpprobe::{Reply, Udpprobe};
use mmn_warts::values::Time;
use pyo3::prelude::*;

use crate::addr::{ScamperAddr, addr};
use crate::item::{Items, iter, iter_of, micros, octets, result, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperUdpprobe>()?;
    module.add_class::<ScamperUdpprobeProbe>()?;
    module.add_class::<ScamperUdpprobeReply>()
}

/// The probe of a number, from 0. What is known of the first stands with the measurement.
fn probe(measurement: &Udpprobe, at: usize) -> Option<ScamperUdpprobeProbe> {
    if at == 0 {
        return (measurement.probe_sent != Some(0)).then(|| ScamperUdpprobeProbe {
            tx: measurement.start,
            sport: measurement.p0_sport.or(measurement.sport).unwrap_or(0),
            replies: measurement.replies.clone(),
        });
    }
    let other = measurement.others.get(at - 1)?;
    Some(ScamperUdpprobeProbe {
        tx: other.about.tx,
        sport: other.about.sport.or(measurement.sport).unwrap_or(0),
        replies: other.replies.clone(),
    })
}

result! {
    /// Datagrams sent to a target and what came back.
    ScamperUdpprobe(Udpprobe) {
        numbers {
            dport: u16 = dport or 0;
            /// How many probes were to be sent.
            attempts: u8 = probe_count or 1;
            probe_sent: u8 = probe_sent or 1;
        }
        addresses {}
        #[getter]
        fn stop_reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperUdpprobeStop", self.item.body.stop.unwrap_or(0).into())
        }
        #[getter]
        fn stop_reason_str(&self) -> String {
            let reason = self.item.body.stop.unwrap_or(0);
            names::udpprobe_stop(reason).map_or_else(|| reason.to_string(), str::to_owned)
        }
        #[getter]
        fn src(&self) -> Option<ScamperAddr> {
            addr(self.item.body.src.as_ref().map(|address| &address.0))
        }
        #[getter]
        fn dst(&self) -> Option<ScamperAddr> {
            addr(self.item.body.dst.as_ref().map(|address| &address.0))
        }
        #[getter]
        fn sport(&self) -> u16 {
            self.item.body.sport.or(self.item.body.p0_sport).unwrap_or(0)
        }
        #[getter]
        fn stop_count(&self) -> u8 {
            self.item.body.stop_count.unwrap_or(self.item.body.flags.unwrap_or(0) & 1)
        }
        #[getter]
        fn wait_probe(&self) -> Duration {
            micros(self.item.body.wait_probe)
        }
        #[getter]
        fn wait_timeout(&self) -> Duration {
            micros(self.item.body.wait_timeout)
        }
        #[getter]
        fn payload(&self) -> Option<Cow<'_, [u8]>> {
            octets(self.item.body.data.as_ref())
        }
        fn probe(&self, i: usize) -> Option<ScamperUdpprobeProbe> {
            probe(&self.item.body, i)
        }
        fn __iter__(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.probe_sent().into(), move |i| probe(&item.body, i))
        }
        /// The replies to all probes.
        fn replies(&self) -> Items {
            let body = &self.item.body;
            let replies = body.replies.iter().chain(body.others.iter().flat_map(|other| &other.replies));
            iter_of(replies.cloned().map(ScamperUdpprobeReply).collect())
        }
    }
}

/// A probe.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperUdpprobeProbe {
    tx: Option<Time>,
    sport: u16,
    replies: Vec<Reply>,
}

#[pymethods]
impl ScamperUdpprobeProbe {
    #[getter]
    fn tx(&self) -> Option<SystemTime> {
        time(self.tx)
    }
    #[getter]
    fn sport(&self) -> u16 {
        self.sport
    }
    #[getter]
    fn reply_count(&self) -> usize {
        self.replies.len()
    }
    fn reply(&self, i: usize) -> Option<ScamperUdpprobeReply> {
        self.replies.get(i).cloned().map(ScamperUdpprobeReply)
    }
    fn __iter__(&self) -> Items {
        iter_of(self.replies.iter().cloned().map(ScamperUdpprobeReply).collect())
    }
}

/// A reply.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperUdpprobeReply(Reply);

#[pymethods]
impl ScamperUdpprobeReply {
    #[getter]
    fn rx(&self) -> Option<SystemTime> {
        time(self.0.rx)
    }
    #[getter]
    fn payload(&self) -> Option<Cow<'_, [u8]>> {
        octets(self.0.data.as_ref())
    }
    #[getter]
    fn ifname(&self) -> Option<String> {
        text(self.0.ifname.as_ref().map(|name| &name.0))
    }
}
