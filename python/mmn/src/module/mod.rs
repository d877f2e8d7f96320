//! The native half of `mmn.module`: kinds whose functions are Python's, as a module of `mmn-node` has them.
//!
//! What a module owes (announcements, heartbeats, credits, receipts, acknowledgements, draining) is done by
//! `mmn_node::module` on a thread of its own. That thread never asks for the interpreter: a task that it begins is put into
//! a [`hall`], where a thread or the event loop of Python finds it, and its end comes back the same way. So a function that
//! holds the interpreter for a minute delays other functions, and no heartbeat.
//!
//! Nothing here knows annotations or signatures: schemas come as JSON from the Python half
//! (`python/mmn/module/`).
//!
//! Begin with [`kind`], then [`job`] (a task between both worlds), then [`serve`].

mod asking;
mod hall;
mod job;
mod kind;
mod serve;
mod task;
mod value;

use std::time::Duration;

use mmn_schema::time::Span;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<kind::ModuleKind>()?;
    module.add_class::<serve::Served>()?;
    module.add_class::<task::Task>()?;
    module.add_function(wrap_pyfunction!(span_to_seconds, module)?)
}

/// The seconds that a duration in a request means: `500ms`, `1m 30s`, `PT1H`.
#[pyfunction]
fn span_to_seconds(text: &str) -> PyResult<f64> {
    let span: Span = text
        .parse()
        .map_err(|error: mmn_schema::time::TimeError| PyValueError::new_err(error.to_string()))?;
    Ok(Duration::from_nanos(span.as_ns()).as_secs_f64())
}
