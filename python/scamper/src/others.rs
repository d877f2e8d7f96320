//! `ScamperSniff`, `ScamperTbit`, `ScamperNeighbourdisc` and `ScamperSting`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::records::neighbourdisc::Neighbourdisc;
use mmn_warts::records::sniff::Sniff;
use mmn_warts::records::sting::Sting;
use mmn_warts::records::tbit::{Packet, Part, Tbit};
use mmn_warts::values::{Data, Time};
use pyo3::prelude::*;

use crate::addr::ScamperAddr;
use crate::item::{Items, iter, octets, result, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperSniff>()?;
    module.add_class::<ScamperSniffPkt>()?;
    module.add_class::<ScamperTbit>()?;
    module.add_class::<ScamperTbitPkt>()?;
    module.add_class::<ScamperNeighbourdisc>()?;
    module.add_class::<ScamperSting>()
}

fn captured(sniff: &Sniff, at: usize) -> Option<ScamperSniffPkt> {
    sniff.pkts.get(at).map(|packet| ScamperSniffPkt(packet.time, packet.data.clone()))
}

result! {
    /// A capture of packets.
    ScamperSniff(Sniff) {
        numbers { limit_pkt_count: u32 = limit_pktc or 0; icmp_id: u16 = icmpid or 0; }
        addresses { src = src; }
        #[getter]
        fn stop_reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperSniffStop", self.item.body.stop_reason.unwrap_or(0).into())
        }
        /// When it ended.
        #[getter]
        fn finish(&self) -> Option<SystemTime> {
            time(self.item.body.finish)
        }
        #[getter]
        fn limit_time(&self) -> Duration {
            Duration::from_secs(self.item.body.limit_time.unwrap_or(0).into())
        }
        #[getter]
        fn pkt_count(&self) -> usize {
            self.item.body.pkts.len()
        }
        #[pyo3(signature = (i = 0))]
        fn pkt(&self, i: usize) -> Option<ScamperSniffPkt> {
            captured(&self.item.body, i)
        }
        fn __iter__(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.pkt_count(), move |i| captured(&item.body, i))
        }
        fn __len__(&self) -> usize {
            self.item.body.pkts.len()
        }
    }
}

/// A packet that came.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperSniffPkt(Option<Time>, Option<Data>);

#[pymethods]
impl ScamperSniffPkt {
    #[getter]
    fn rx(&self) -> Option<SystemTime> {
        time(self.0)
    }
    /// The packet, from its IP header.
    #[getter]
    fn data(&self) -> Option<Cow<'_, [u8]>> {
        octets(self.1.as_ref())
    }
}

result! {
    /// A test of a TCP server.
    ScamperTbit(Tbit) {
        numbers {
            client_mss: u16 = client_mss or 0;
            client_wscale: u8 = wscale or 0;
            client_ipttl: u8 = ttl or 255;
        }
        addresses { src = src; dst = dst; }
        /// What was found.
        #[getter]
        fn result(&self) -> String {
            crate::text::tbit_result(self.item.body.result.unwrap_or(0))
        }
        #[getter]
        fn pkt_count(&self) -> usize {
            self.item.body.pkts.len()
        }
        fn __iter__(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.pkt_count(), move |i| item.body.pkts.get(i).cloned().map(ScamperTbitPkt))
        }
        /// For people to read: what was tested and found.
        fn to_text(&self) -> Option<String> {
            let body = &self.item.body;
            let name = |address: Option<ScamperAddr>| address.map_or_else(|| "*".to_owned(), |address| address.0.to_string());
            let mut lines = format!(
                "tbit from {} to {}\n server-mss {}, result: {}\n",
                name(self.src()), name(self.dst()), body.server_mss.unwrap_or(0), self.result()
            );
            for part in &body.parts {
                if let Part::Http(http) = part {
                    let scheme = if http.scheme == Some(1) { "https" } else { "http" };
                    let (host, file) = (text(http.host.as_ref()), text(http.file.as_ref()));
                    let (host, file) = (host.unwrap_or_default(), file.unwrap_or_default());
                    lines.extend([" app: http, url: ", scheme, "://", &host, &file, "\n"]);
                }
            }
            lines.pop();
            Some(lines)
        }
    }
}

/// A packet that was sent or came.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperTbitPkt(Packet);

#[pymethods]
impl ScamperTbitPkt {
    #[getter]
    fn timestamp(&self) -> Option<SystemTime> {
        time(self.0.time)
    }
    /// The packet, from its IP header.
    #[getter]
    fn data(&self) -> Option<Cow<'_, [u8]>> {
        octets(self.0.data.as_ref())
    }
    fn is_tx(&self) -> bool {
        self.0.dir == Some(1)
    }
    fn is_rx(&self) -> bool {
        self.0.dir == Some(2)
    }
}

result! {
    /// The discovery of a neighbour.
    ScamperNeighbourdisc(Neighbourdisc) {
        numbers {}
        addresses {}
    }
}

result! {
    /// A measurement of loss by TCP.
    ScamperSting(Sting) {
        numbers {}
        addresses {}
    }
}
