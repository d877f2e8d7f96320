//! `ScamperHttp`: a request and its response, as they were sent and received.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::names;
use mmn_warts::records::http::{Buffer, Http};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::addr::{ScamperAddr, addr};
use crate::item::{Items, iter, micros, octets, result, span, text, time};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperHttp>()?;
    module.add_class::<ScamperHttpBuf>()
}

const RECEIVED: u8 = 0;
const SENT: u8 = 0x80;
const DATA: u8 = 0;
const HEADER: u8 = 1;
const TLS: u8 = 2;

/// All of one kind and direction, one after the other.
fn joined(http: &Http, content: u8) -> Vec<u8> {
    let of_kind = http.bufs.iter().filter(|buffer| buffer.content.unwrap_or(0) == content);
    of_kind.filter_map(|buffer| buffer.data.as_ref()).flat_map(|data| data.0.iter().copied()).collect()
}

fn header(http: &Http, direction: u8) -> String {
    String::from_utf8_lossy(&joined(http, direction | HEADER)).into_owned()
}

/// The fields of a header; of several of one name the last (RFC 9112, section 5).
fn fields(header: &str) -> Vec<(String, String)> {
    let lines = header.lines().skip(1).take_while(|line| !line.trim_end().is_empty());
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn by_name(header: &str, name: &str) -> Option<String> {
    fields(header).into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn dictionary<'py>(py: Python<'py>, header: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
    let fields = fields(header);
    if fields.is_empty() {
        return Ok(None);
    }
    let dictionary = PyDict::new(py);
    for (name, value) in fields {
        dictionary.set_item(name, value)?;
    }
    Ok(Some(dictionary))
}

result! {
    /// A request by HTTP and its response.
    ScamperHttp(Http) {
        numbers { sport: u16 = sport or 0; }
        addresses {}
        #[getter]
        fn stop_reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperHttpStop", self.item.body.stop.unwrap_or(0).into())
        }
        #[getter]
        fn stop_reason_str(&self) -> String {
            let reason = self.item.body.stop.unwrap_or(0);
            names::http_stop(reason).map_or_else(|| reason.to_string(), str::to_owned)
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
        fn dport(&self) -> u16 {
            self.item.body.dport.unwrap_or(if self.is_https() { 443 } else { 80 })
        }
        /// How long it might take.
        #[getter]
        fn maxtime(&self) -> Duration {
            span(self.item.body.maxtime.unwrap_or_default())
        }
        /// How long the TCP handshake took.
        #[getter]
        fn hsrtt(&self) -> Duration {
            micros(self.item.body.hsrtt)
        }
        #[getter]
        fn url(&self) -> Option<String> {
            let (host, file) = (text(self.item.body.host.as_ref())?, text(self.item.body.file.as_ref())?);
            let (scheme, port) = if self.is_https() { ("https", 443) } else { ("http", 80) };
            let other = Some(self.dport()).filter(|dport| *dport != port);
            Some(match other {
                Some(port) => format!("{scheme}://{host}:{port}{file}"),
                None => format!("{scheme}://{host}{file}"),
            })
        }
        /// The status of the response (RFC 9110, section 15).
        #[getter]
        fn status_code(&self) -> Option<u16> {
            let header = header(&self.item.body, RECEIVED);
            header.lines().next()?.split_ascii_whitespace().nth(1)?.parse().ok()
        }
        /// The content of the response.
        #[getter]
        fn response(&self) -> Option<Cow<'_, [u8]>> {
            Some(joined(&self.item.body, RECEIVED | DATA)).filter(|octets| !octets.is_empty()).map(Cow::Owned)
        }
        #[getter]
        fn response_hdr(&self) -> Option<String> {
            Some(header(&self.item.body, RECEIVED))
        }
        #[getter]
        fn response_hdrs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
            dictionary(py, &header(&self.item.body, RECEIVED))
        }
        #[getter]
        fn transmit_hdr(&self) -> Option<String> {
            Some(header(&self.item.body, SENT))
        }
        #[getter]
        fn transmit_hdrs<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
            dictionary(py, &header(&self.item.body, SENT))
        }
        fn response_hdr_byname(&self, name: &str) -> Option<String> {
            by_name(&header(&self.item.body, RECEIVED), name)
        }
        fn transmit_hdr_byname(&self, name: &str) -> Option<String> {
            by_name(&header(&self.item.body, SENT), name)
        }
        #[getter]
        fn buf_count(&self) -> usize {
            self.item.body.bufs.len()
        }
        fn buf(&self, i: usize) -> Option<ScamperHttpBuf> {
            self.item.body.bufs.get(i).cloned().map(ScamperHttpBuf)
        }
        fn bufs(&self) -> Items {
            let item = Arc::clone(&self.item);
            iter(self.buf_count(), move |i| item.body.bufs.get(i).cloned().map(ScamperHttpBuf))
        }
        fn __iter__(&self) -> Items {
            self.bufs()
        }
        /// The configurations of encrypted client hello that were used.
        #[getter]
        fn ech_config_list(&self) -> Option<Cow<'_, [u8]>> {
            self.part(1)
        }
        /// Those that the server said are to be tried.
        #[getter]
        fn ech_retry_config(&self) -> Option<Cow<'_, [u8]>> {
            self.part(2)
        }
        #[getter]
        fn ech_status(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
            crate::enums::member(py, "ScamperHttpEchStatus", self.item.body.ech_status.unwrap_or(0).into())
        }
        #[getter]
        fn ech_outer_sni(&self) -> Option<String> {
            text(self.item.body.ech_outer_sni.as_ref())
        }
    }
}

impl ScamperHttp {
    fn is_https(&self) -> bool {
        self.item.body.scheme.unwrap_or(0) == 0
    }

    fn part(&self, kind: u8) -> Option<Cow<'_, [u8]>> {
        octets(Some(&self.item.body.parts.iter().find(|part| part.kind == kind)?.data))
    }
}

/// What was sent or received at a time.
#[pyclass(module = "scamper", frozen)]
#[derive(Clone)]
pub(crate) struct ScamperHttpBuf(Buffer);

impl ScamperHttpBuf {
    fn content(&self) -> u8 {
        self.0.content.unwrap_or(0)
    }

    fn kind(&self) -> u8 {
        self.content() & !SENT
    }
}

#[pymethods]
impl ScamperHttpBuf {
    #[getter]
    fn timestamp(&self) -> Option<SystemTime> {
        time(self.0.time)
    }
    #[getter]
    fn dir_str(&self) -> &'static str {
        if self.is_rx() { "rx" } else { "tx" }
    }
    #[getter]
    fn type_str(&self) -> String {
        names::http_buffer(self.kind()).map_or_else(|| self.kind().to_string(), str::to_owned)
    }
    #[getter]
    fn payload(&self) -> Option<Cow<'_, [u8]>> {
        octets(self.0.data.as_ref())
    }
    fn is_tx(&self) -> bool {
        !self.is_rx()
    }
    fn is_rx(&self) -> bool {
        self.content() & SENT == 0
    }
    fn is_tls(&self) -> bool {
        self.kind() == TLS
    }
    fn is_hdr(&self) -> bool {
        self.kind() == HEADER
    }
    fn is_data(&self) -> bool {
        self.kind() == DATA
    }
}
