//! A result as it was written, decoded where it is looked at.

use mmn_schema::api::ResultRecord;
use mmn_schema::cbor::Items;
use mmn_schema::encoding::Encoding;
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use crate::{errors, value};

/// A result: a `ResultRecord` in CBOR. What is asked for is read out of its bytes, and nothing else.
#[pyclass(frozen, subclass, module = "mmn._native")]
pub(crate) struct Record {
    bytes: Py<PyBytes>,
    net: Option<Py<PyAny>>,
    body: PyOnceLock<Py<PyAny>>,
}

impl Record {
    /// The bytes of an entry; `None` where there is none of the name.
    fn entry<'a>(&'a self, py: Python<'a>, name: &str) -> Option<&'a [u8]> {
        let bytes = self.bytes.as_bytes(py);
        let mut items = Items::new(bytes);
        for _ in 0..items.map()? {
            let found = items.text()? == name;
            let start = items.position();
            items.skip()?;
            if found {
                return bytes.get(start..items.position());
            }
        }
        None
    }

    fn text<'a>(&'a self, py: Python<'a>, name: &str) -> Option<&'a str> {
        Items::new(self.entry(py, name)?).text()
    }

    fn needed<'a>(&'a self, py: Python<'a>, name: &str) -> PyResult<&'a str> {
        self.text(py, name).ok_or_else(|| errors::broken(&format!("a result says no {name}")))
    }

    fn value(&self, py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
        self.entry(py, name).map_or_else(|| Ok(py.None()), |bytes| value::of_cbor(py, bytes))
    }

    /// A number of the summary; `None` where it was not measured.
    pub(crate) fn number(&self, py: Python<'_>, name: &str) -> Option<PyResult<Py<PyAny>>> {
        let bytes = self.entry(py, "summary")?;
        let mut items = Items::new(bytes);
        for _ in 0..items.map()? {
            let found = items.text()? == name;
            let start = items.position();
            if found {
                if let Some(integer) = items.integer() {
                    return Some(integer.into_py_any(py));
                }
                return Some(value::of_cbor(py, bytes.get(start..)?));
            }
            items.skip()?;
        }
        None
    }

    /// The body, decoded once.
    pub(crate) fn decoded(&self, py: Python<'_>) -> PyResult<&Py<PyAny>> {
        self.body.get_or_try_init(py, || {
            let body = self.entry(py, "body").and_then(|bytes| Items::new(bytes).bytes());
            body.map_or_else(|| Ok(py.None()), |bytes| value::of_cbor(py, bytes))
        })
    }
}

#[pymethods]
impl Record {
    #[new]
    #[pyo3(signature = (record, net = None, /))]
    fn new(record: Py<PyBytes>, net: Option<Py<PyAny>>) -> Self {
        Self { bytes: record, net, body: PyOnceLock::new() }
    }

    #[getter]
    fn _record(&self, py: Python<'_>) -> Py<PyBytes> {
        self.bytes.clone_ref(py)
    }
    #[getter]
    fn _net(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.net.as_ref().map(|net| net.clone_ref(py))
    }
    #[getter]
    fn cursor(&self, py: Python<'_>) -> Option<String> {
        self.text(py, "cursor").map(str::to_owned)
    }
    #[getter]
    fn task(&self, py: Python<'_>) -> PyResult<String> {
        self.needed(py, "task").map(str::to_owned)
    }
    #[getter]
    fn kind(&self, py: Python<'_>) -> PyResult<String> {
        self.needed(py, "kind").map(str::to_owned)
    }
    #[getter]
    fn vp_id(&self, py: Python<'_>) -> Option<String> {
        self.text(py, "vp").map(str::to_owned)
    }
    #[getter]
    fn vp_name(&self, py: Python<'_>) -> Option<String> {
        self.text(py, "vp_name").map(str::to_owned)
    }
    #[getter]
    fn instance(&self, py: Python<'_>) -> Option<String> {
        self.text(py, "instance").map(str::to_owned)
    }
    #[getter]
    fn input(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "input")
    }
    #[getter]
    fn target(&self, py: Python<'_>) -> Option<String> {
        self.text(py, "input").map(str::to_owned)
    }
    #[getter]
    fn attempt(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "attempt")
    }
    #[getter]
    fn part(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "part")
    }
    #[getter]
    fn r#final(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "final")
    }
    #[getter]
    fn outcome(&self, py: Python<'_>) -> PyResult<String> {
        self.needed(py, "outcome").map(str::to_owned)
    }
    #[getter]
    fn ok(&self, py: Python<'_>) -> bool {
        self.text(py, "outcome") == Some("ok")
    }
    #[getter]
    fn _reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "reason")
    }
    #[getter]
    fn answered(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "answered")
    }
    #[getter]
    fn _started_at(&self, py: Python<'_>) -> Option<String> {
        self.text(py, "started_at").map(str::to_owned)
    }
    #[getter]
    fn duration_ns(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.value(py, "duration_ns")
    }
    #[getter]
    fn summary(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.entry(py, "summary").is_none() {
            return Ok(PyDict::new(py).into_any().unbind());
        }
        self.value(py, "summary")
    }
    #[getter]
    fn body(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.decoded(py).map(|body| body.clone_ref(py))
    }
    #[getter]
    fn simulated(&self, py: Python<'_>) -> bool {
        self.entry(py, "simulated").and_then(|bytes| Items::new(bytes).boolean()).unwrap_or(false)
    }

    fn __richcmp__(
        &self,
        py: Python<'_>,
        other: &Bound<'_, PyAny>,
        operation: CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
        let same = self.bytes.as_bytes(py) == other.get().bytes.as_bytes(py);
        match operation {
            CompareOp::Eq => same.into_py_any(py),
            CompareOp::Ne => (!same).into_py_any(py),
            _ => Ok(py.NotImplemented()),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.bytes.bind(py).hash()
    }
}

/// A piece of a result that has pieces of its own.
#[pyclass(frozen, subclass, module = "mmn._native")]
pub(crate) struct Part {
    data: Py<PyDict>,
}

impl Part {
    pub(crate) const fn data(&self) -> &Py<PyDict> {
        &self.data
    }
}

#[pymethods]
impl Part {
    #[new]
    #[pyo3(signature = (data, /))]
    fn new(data: Py<PyDict>) -> Self {
        Self { data }
    }

    #[getter]
    fn _data(&self, py: Python<'_>) -> Py<PyDict> {
        self.data.clone_ref(py)
    }

    fn __richcmp__(
        &self,
        py: Python<'_>,
        other: &Bound<'_, PyAny>,
        operation: CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
        match operation {
            CompareOp::Eq | CompareOp::Ne => {
                let compared = self.data.bind(py).rich_compare(other.get().data.bind(py), operation)?;
                Ok(compared.unbind())
            }
            _ => Ok(py.NotImplemented()),
        }
    }
}

/// A record in Python's own types; its body is left as it is written.
#[pyfunction]
pub(crate) fn decode(py: Python<'_>, record: &[u8]) -> PyResult<Py<PyAny>> {
    value::of_cbor(py, record)
}

/// A record as a line of JSON, as the API writes it.
#[pyfunction]
pub(crate) fn decode_json(record: &[u8]) -> PyResult<String> {
    let broken = |error: &dyn std::fmt::Display| errors::broken(&format!("a result can't be read: {error}"));
    let record: ResultRecord = Encoding::Cbor.decode(record).map_err(|error| broken(&error))?;
    serde_json::to_string(&record).map_err(|error| broken(&error))
}
