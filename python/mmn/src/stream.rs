//! The results of a measurement on their way to Python, and the inputs of an open one on their way out.
//!
//! Both ways are bounded: where nobody takes results, no more are asked for (they are kept by the anchor), and where the
//! network takes no inputs, whoever gives them waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mmn_client::{Client, ClientError, Feed, Passed};
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::stream::Written;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::pending::{call, limit};
use crate::runtime::{Runtime, locked};
use crate::{errors, value};

/// How many results may wait for Python before no more are asked for.
const MAX_RESULTS: usize = 4096;
/// How many inputs may wait for the network.
const MAX_INPUTS: usize = 8192;
/// How many inputs are taken from there at a time.
const CHUNK: usize = 1024;

/// What a stream and its tasks share.
pub(crate) struct Shared {
    runtime: &'static Runtime,
    state: Mutex<State>,
    /// Results were taken.
    taken: Notify,
    /// Inputs were given, or their end was said.
    given: Notify,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Written>,
    /// The results in them.
    results: usize,
    /// How it ended: the account in CBOR, or why it broke.
    end: Option<Result<Vec<u8>, ClientError>>,
    /// Whom to call once there is something to take, or to give.
    callbacks: Vec<Py<PyAny>>,
    inputs: VecDeque<Input>,
    /// Inputs may still be given.
    open: bool,
    tasks: Vec<AbortHandle>,
}

impl State {
    fn room(&self) -> usize {
        if self.open { MAX_INPUTS.saturating_sub(self.inputs.len()) } else { 0 }
    }
}

impl Shared {
    /// The results of a measurement.
    pub(crate) fn follow(runtime: &'static Runtime, client: &Client, id: MeasurementId) -> Arc<Self> {
        let shared =
            Arc::new(Self { runtime, state: Mutex::default(), taken: Notify::new(), given: Notify::new() });
        let following = follow(Arc::clone(&shared), client.clone(), id);
        shared.run(following);
        shared
    }

    /// The results of an open measurement, and its inputs.
    pub(crate) fn feed(runtime: &'static Runtime, client: &Client, feed: Feed) -> Arc<Self> {
        let id = feed.measurement().id;
        let shared = Self::follow(runtime, client, id);
        locked(&shared.state).open = true;
        shared.run(append(Arc::clone(&shared), feed));
        shared
    }

    fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.handle().spawn(work).abort_handle();
        locked(&self.state).tasks.push(task);
    }

    /// Changes something that somebody may wait for.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let callbacks = {
            let mut state = locked(&self.state);
            change(&mut state);
            std::mem::take(&mut state.callbacks)
        };
        self.runtime.ring();
        call(callbacks);
    }

    fn end(&self, end: Result<Vec<u8>, ClientError>) {
        self.tell(|state| {
            state.end.get_or_insert(end);
        });
    }
}

/// Reads results, as long as somebody takes them.
async fn follow(shared: Arc<Shared>, client: Client, id: MeasurementId) {
    let mut follow = client.follow(id, None);
    loop {
        while locked(&shared.state).results >= MAX_RESULTS {
            shared.taken.notified().await;
        }
        match follow.next_written().await {
            Ok(Passed::Records(written)) => shared.tell(|state| {
                state.results += written.len();
                state.batches.push_back(written);
            }),
            Ok(Passed::Done(ledger)) => {
                let ledger = Encoding::Cbor.encode(&ledger);
                return shared.end(ledger.map_err(|error| ClientError::Answer(error.to_string())));
            }
            Err(error) => return shared.end(Err(error)),
        }
    }
}

/// Appends inputs as they are given.
async fn append(shared: Arc<Shared>, mut feed: Feed) {
    loop {
        let (inputs, open) = {
            let mut state = locked(&shared.state);
            let count = state.inputs.len().min(CHUNK);
            (state.inputs.drain(..count).collect::<Vec<_>>(), state.open)
        };
        let done = if !inputs.is_empty() {
            shared.tell(|_| {});
            feed.append(&inputs).await
        } else if open {
            shared.given.notified().await;
            Ok(())
        } else {
            match feed.close().await {
                Ok(_) => return,
                Err(error) => return shared.end(Err(error)),
            }
        };
        if let Err(error) = done {
            return shared.end(Err(error));
        }
    }
}

/// The stream of a measurement's results, and of an open one's inputs.
#[pyclass(frozen, module = "mmn._native")]
pub(crate) struct Stream {
    runtime: &'static Runtime,
    shared: Arc<Shared>,
}

impl Stream {
    pub(crate) const fn of(runtime: &'static Runtime, shared: Arc<Shared>) -> Self {
        Self { runtime, shared }
    }

    fn ready(&self, room: bool) -> bool {
        let state = locked(&self.shared.state);
        !state.batches.is_empty() || state.end.is_some() || (room && state.room() > 0)
    }
}

#[pymethods]
impl Stream {
    /// The next results, each made by `make(record, net)`; none when `timeout` seconds have passed before, or when `room` is
    /// wanted and inputs may be given; `None` at the end.
    #[pyo3(signature = (make, net, timeout = None, *, room = false))]
    fn take<'py>(
        &self,
        py: Python<'py>,
        make: &Bound<'py, PyAny>,
        net: &Bound<'py, PyAny>,
        timeout: Option<f64>,
        room: bool,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        self.runtime.check(py)?;
        self.runtime.wait(py, limit(py, timeout)?, || self.ready(room).then_some(()))?;
        let mut state = locked(&self.shared.state);
        let Some(batch) = state.batches.pop_front() else {
            return match &state.end {
                None => Ok(Some(PyList::empty(py))),
                Some(Ok(_)) => Ok(None),
                Some(Err(error)) => Err(errors::of_client(py, error)),
            };
        };
        state.results -= batch.len();
        drop(state);
        self.shared.taken.notify_one();
        let list = PyList::empty(py);
        for record in batch.iter() {
            list.append(make.call1((PyBytes::new(py, record), net))?)?;
        }
        Ok(Some(list))
    }

    /// Gives inputs, and says how many were taken: fewer than given when there is no room for more.
    fn give(&self, py: Python<'_>, inputs: Vec<String>) -> PyResult<usize> {
        self.runtime.check(py)?;
        let mut state = locked(&self.shared.state);
        if let Some(Err(error)) = &state.end {
            return Err(errors::of_client(py, error));
        }
        if !state.open {
            return Err(errors::usage(py, "this measurement takes no more inputs: it was finished"));
        }
        let count = inputs.len().min(state.room());
        state.inputs.extend(inputs.into_iter().take(count).map(Input::Target));
        drop(state);
        self.shared.given.notify_one();
        Ok(count)
    }

    /// Gives all of these and no more, however many: their giver holds them anyway.
    fn give_all(&self, py: Python<'_>, inputs: Vec<String>) -> PyResult<()> {
        self.runtime.check(py)?;
        let mut state = locked(&self.shared.state);
        state.inputs.extend(inputs.into_iter().map(Input::Target));
        state.open = false;
        drop(state);
        self.shared.given.notify_one();
        Ok(())
    }

    /// How many inputs may be given now.
    #[getter]
    fn room(&self) -> usize {
        locked(&self.shared.state).room()
    }

    /// Waits until inputs may be given, or it has ended; says whether it has come to that.
    #[pyo3(signature = (timeout = None))]
    fn wait_room(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.runtime.check(py)?;
        let look = || {
            let state = locked(&self.shared.state);
            (state.end.is_some() || !state.open || state.room() > 0).then_some(())
        };
        Ok(self.runtime.wait(py, limit(py, timeout)?, look)?.is_some())
    }

    /// Says that no more inputs will be given.
    fn finish(&self) {
        locked(&self.shared.state).open = false;
        self.shared.given.notify_one();
    }

    /// The account, once it has ended.
    #[getter]
    fn ledger(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &locked(&self.shared.state).end {
            Some(Ok(ledger)) => value::of_cbor(py, ledger).map(Some),
            _ => Ok(None),
        }
    }

    /// Calls `callback` from another thread once there is something to take, or, where `room` is wanted, to give; or at once.
    #[pyo3(signature = (callback, *, room = false))]
    fn on_ready(&self, py: Python<'_>, callback: Py<PyAny>, room: bool) -> PyResult<()> {
        self.runtime.check(py)?;
        {
            let mut state = locked(&self.shared.state);
            if state.batches.is_empty() && state.end.is_none() && !(room && state.room() > 0) {
                state.callbacks.push(callback);
                return Ok(());
            }
        }
        callback.call0(py).map(drop)
    }

    /// Calls `callback` from another thread once inputs may be given, or it has ended; or at once.
    fn on_room(&self, py: Python<'_>, callback: Py<PyAny>) -> PyResult<()> {
        self.runtime.check(py)?;
        {
            let mut state = locked(&self.shared.state);
            if state.end.is_none() && state.open && state.room() == 0 {
                state.callbacks.push(callback);
                return Ok(());
            }
        }
        callback.call0(py).map(drop)
    }

    /// Takes nothing more.
    fn close(&self) {
        for task in locked(&self.shared.state).tasks.drain(..) {
            task.abort();
        }
    }

    fn __del__(&self) {
        self.close();
    }
}

/// Waits until there is something to take from one of the streams, or, where `room` is wanted, to give; says from which.
#[pyfunction]
#[pyo3(signature = (streams, timeout = None, *, room = false))]
pub(crate) fn wait_any(
    py: Python<'_>,
    streams: Vec<Py<Stream>>,
    timeout: Option<f64>,
    room: bool,
) -> PyResult<Vec<usize>> {
    let Some(first) = streams.first() else { return Ok(Vec::new()) };
    let runtime = first.get().runtime;
    runtime.check(py)?;
    let look = || {
        let ready = streams.iter().enumerate().filter(|(_, stream)| stream.get().ready(room));
        let ready: Vec<usize> = ready.map(|(position, _)| position).collect();
        (!ready.is_empty()).then_some(ready)
    };
    Ok(runtime.wait(py, limit(py, timeout)?, look)?.unwrap_or_default())
}
