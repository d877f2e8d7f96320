//! A question to the API that is under way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mmn_client::ClientError;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use serde_json::Value;

use crate::runtime::{Runtime, locked};
use crate::stream::{Shared, Stream};
use crate::{errors, value};

/// What a question was answered with.
pub(crate) enum Answer {
    /// A value.
    Value(Value),
    /// A measurement, and its results, in CBOR each.
    Measured(Value, Vec<Vec<u8>>),
    /// A measurement, and the stream of its results.
    Opened(Value, Arc<Shared>),
}

type Outcome = Result<Answer, ClientError>;

#[derive(Default)]
struct Slot {
    outcome: Option<Outcome>,
    callback: Option<Py<PyAny>>,
}

/// A question that is under way. It is waited for, or calls back when it is answered.
#[pyclass(frozen, module = "mmn._native")]
pub(crate) struct Pending {
    runtime: &'static Runtime,
    slot: Arc<Mutex<Slot>>,
    task: tokio::task::AbortHandle,
}

impl Pending {
    /// Begins.
    pub(crate) fn of(
        runtime: &'static Runtime,
        question: impl Future<Output = Outcome> + Send + 'static,
    ) -> Self {
        let slot = Arc::new(Mutex::new(Slot::default()));
        let filled = Arc::clone(&slot);
        let task = runtime.handle().spawn(async move {
            let outcome = question.await;
            let callback = {
                let mut slot = locked(&filled);
                slot.outcome = Some(outcome);
                slot.callback.take()
            };
            runtime.ring();
            call(callback);
        });
        Self { runtime, slot, task: task.abort_handle() }
    }
}

#[pymethods]
impl Pending {
    /// Waits for the answer; with a limit in seconds, `None` when it has passed before.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        self.runtime.check(py)?;
        let outcome = self.runtime.wait(py, limit(py, timeout)?, || locked(&self.slot).outcome.take())?;
        outcome.map(|outcome| given(py, self.runtime, outcome)).transpose()
    }

    /// Calls `callback` from another thread once there is an answer, or at once.
    fn on_ready(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        self.runtime.check(py)?;
        let mut slot = locked(&self.slot);
        if slot.outcome.is_none() {
            slot.callback = Some(callback);
            return Ok(());
        }
        drop(slot);
        callback.call0(py).map(drop)
    }

    /// Gives it up: nobody wants the answer any more.
    fn abandon(&self) {
        self.task.abort();
    }
}

/// Calls back. A loop that has been closed meanwhile wants no call: its error is nobody's.
pub(crate) fn call(callbacks: impl IntoIterator<Item = Py<PyAny>>) {
    let mut callbacks = callbacks.into_iter().peekable();
    if callbacks.peek().is_some() {
        let _ = Python::try_attach(|py| callbacks.for_each(|callback| drop(callback.call0(py))));
    }
}

/// A limit in seconds.
pub(crate) fn limit(py: Python<'_>, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let wrong = |_| errors::usage(py, "a timeout is a number of seconds that is not negative");
    seconds.map(Duration::try_from_secs_f64).transpose().map_err(wrong)
}

fn given(py: Python<'_>, runtime: &'static Runtime, outcome: Outcome) -> PyResult<Py<PyAny>> {
    match outcome.map_err(|error| errors::of_client(py, &error))? {
        Answer::Value(told) => value::of_json(py, &told),
        Answer::Measured(about, records) => {
            let records = PyList::new(py, records.iter().map(|record| PyBytes::new(py, record)))?;
            (value::of_json(py, &about)?, records).into_py_any(py)
        }
        Answer::Opened(about, shared) => {
            (value::of_json(py, &about)?, Stream::of(runtime, shared)).into_py_any(py)
        }
    }
}
