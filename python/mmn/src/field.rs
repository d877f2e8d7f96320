//! Attributes of results: what the generated classes are made of.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use crate::record::{Part, Record};

/// An attribute that is read out of a result's body, its summary, or a part. What is absent there is the default.
#[pyclass(frozen, module = "mmn._native")]
pub(crate) struct Field {
    name: String,
    convert: Option<Py<PyAny>>,
    each: bool,
    default: Py<PyAny>,
    summary: bool,
}

#[pymethods]
impl Field {
    #[new]
    #[pyo3(signature = (name, convert = None, *, each = false, default = None, summary = false))]
    fn new(
        py: Python<'_>,
        name: String,
        convert: Option<Py<PyAny>>,
        each: bool,
        default: Option<Py<PyAny>>,
        summary: bool,
    ) -> Self {
        Self { name, convert, each, default: default.unwrap_or_else(|| py.None()), summary }
    }

    fn __get__(
        this: PyRef<'_, Self>,
        py: Python<'_>,
        object: Option<&Bound<'_, PyAny>>,
        owner: Option<&Bound<'_, PyType>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = owner;
        let Some(object) = object.filter(|object| !object.is_none()) else {
            return Ok(this.into_pyobject(py)?.into_any().unbind());
        };
        let found = this.found(py, object)?;
        let Some(found) = found.filter(|found| !found.is_none()) else {
            // A list of one's own, that nobody else changes.
            return match this.default.bind(py).cast::<PyList>() {
                Ok(_) => Ok(PyList::empty(py).into_any().unbind()),
                Err(_) => Ok(this.default.clone_ref(py)),
            };
        };
        let Some(convert) = &this.convert else { return Ok(found.unbind()) };
        if !this.each {
            return convert.call1(py, (found,));
        }
        let list = PyList::empty(py);
        for item in found.try_iter()? {
            list.append(convert.call1(py, (item?,))?)?;
        }
        Ok(list.into_any().unbind())
    }
}

impl Field {
    fn found<'py>(&self, py: Python<'py>, object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Ok(record) = object.cast::<Record>() {
            let record = record.get();
            if self.summary {
                return record
                    .number(py, &self.name)
                    .transpose()
                    .map(|number| number.map(|n| n.into_bound(py)));
            }
            // What did not end well may have no body.
            return match record.decoded(py)?.bind(py).cast::<PyDict>() {
                Ok(body) => body.get_item(&self.name),
                Err(_) => Ok(None),
            };
        }
        object.cast::<Part>()?.get().data().bind(py).get_item(&self.name)
    }
}
