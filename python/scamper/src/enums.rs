//! Numbers that have names: classes of the Python half, fetched once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyModule;

static ENUMS: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// The member of a class of `scamper._enums`; an unknown number is a `ValueError`.
pub(crate) fn member(py: Python<'_>, class: &str, number: u16) -> PyResult<Py<PyAny>> {
    let enums = ENUMS.get_or_try_init(py, || PyModule::import(py, "scamper._enums").map(Bound::unbind))?;
    Ok(enums.bind(py).getattr(class)?.call1((number,))?.unbind())
}
