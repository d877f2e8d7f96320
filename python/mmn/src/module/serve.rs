//! A module that runs: the thread on which `mmn_node::module` lives, and what Python is told of it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mmn_kit::Registered;
use mmn_node::module::{self, ModuleArgs, env};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::hall::{Hall, Wanted};
use super::kind::{Described, ModuleKind, Offered};
use super::task::Task;

/// What is logged unless `RUST_LOG` says otherwise.
const FILTER: &str = "info,async_nats=warn";
/// The name that the module of packet kinds has, and no other may have.
const TAKEN: &str = "packet";

/// A module that runs until it has drained.
#[pyclass(frozen, module = "mmn._native")]
#[derive(Debug)]
pub(crate) struct Served {
    threads: Arc<Hall>,
    of_loop: Arc<Hall>,
    stop: CancellationToken,
    end: Arc<End>,
}

/// How it ended.
#[derive(Debug, Default)]
struct End {
    how: Mutex<Option<Result<(), String>>>,
    told: Condvar,
}

#[pymethods]
impl Served {
    /// Starts a module of these kinds, by the environment that a node gives.
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "Python gives a list")]
    fn new(py: Python<'_>, kinds: Vec<Py<ModuleKind>>) -> PyResult<Self> {
        let kinds: Vec<Arc<Described>> = kinds.iter().map(|kind| Arc::clone(&kind.get().described)).collect();
        let module = std::env::var(env::MODULE).unwrap_or_default();
        if module == TAKEN {
            return Err(PyValueError::new_err(format!(
                "a module can't be called {TAKEN}: that is one of mmn's own"
            )));
        }
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
        // Whoever has set up logging before keeps it.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(false)
            .try_init();
        let of_threads = kinds.iter().filter(|kind| !kind.asynchronous).map(|kind| kind.concurrency as usize);
        // One more for a self-test.
        let threads = Arc::new(Hall::of_threads(of_threads.sum::<usize>() + 1));
        let of_loop = Arc::new(Hall::of_loop().map_err(PyOSError::new_err)?);
        let module: &'static str = Box::leak(module.into_boxed_str());
        let offered: Vec<&'static dyn Registered> = kinds
            .into_iter()
            .map(|kind| {
                let hall = Arc::clone(if kind.asynchronous { &of_loop } else { &threads });
                // They live as long as the process.
                &*Box::leak(Box::new(Offered { kind, hall, module })) as &'static dyn Registered
            })
            .collect();
        let args = ModuleArgs::from_env(&offered).map_err(|error| PyRuntimeError::new_err(chain(&error)))?;
        let served = Self { threads, of_loop, stop: CancellationToken::new(), end: Arc::default() };
        py.detach(|| served.start(args)).map_err(PyOSError::new_err)?;
        Ok(served)
    }

    /// The descriptor that tells the event loop that there is something for it.
    #[getter]
    fn door(&self) -> PyResult<i32> {
        self.of_loop.door().ok_or_else(|| PyRuntimeError::new_err("the loop's hall has no door"))
    }

    /// What is there for the event loop: tasks to begin, tasks to call off, and whether that was all.
    fn answer(&self) -> (Vec<Task>, Vec<usize>, bool) {
        let (begun, called_off, closed) = self.of_loop.answer();
        let ids = called_off.iter().map(|job| Arc::as_ptr(job).addr()).collect();
        (begun.into_iter().map(|job| Task { job }).collect(), ids, closed)
    }

    /// Waits for the next task of a thread; nothing at the end.
    #[pyo3(signature = (done=None))]
    fn take(&self, py: Python<'_>, done: Option<&Task>) -> Option<Task> {
        let done = done.map(|task| &task.job);
        // Without giving up the interpreter, where one waits already.
        let job = self.threads.take_now(done).or_else(|| py.detach(|| self.threads.take(None)))?;
        Some(Task { job })
    }

    /// A thread will take tasks.
    fn joins(&self) {
        self.threads.joins();
    }

    /// Waits until more threads are wanted, and says how many; 0 at the end, and a text when all of them hang.
    fn wanted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match py.detach(|| self.threads.wanted()) {
            Wanted::Threads(more) => Ok(more.into_pyobject(py)?.into_any()),
            Wanted::Closed => Ok(0_usize.into_pyobject(py)?.into_any()),
            Wanted::Nothing(why) => Ok(why.into_pyobject(py)?.into_any()),
        }
    }

    /// Lets it finish what it holds, and end.
    fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended, at most so many seconds. Gives whether it has; raises what it ended by.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let longest =
            Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        match py.detach(|| self.end.wait(longest)) {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(why)) => Err(PyRuntimeError::new_err(why)),
        }
    }
}

impl Served {
    fn start(&self, args: ModuleArgs) -> io::Result<()> {
        let (stop, end) = (self.stop.clone(), Arc::clone(&self.end));
        let halls = [Arc::clone(&self.threads), Arc::clone(&self.of_loop)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _entered = runtime.enter();
            [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]
        };
        let run = move || {
            let how = runtime.block_on(async {
                let [mut terminate, mut interrupt] = signals;
                let told = async {
                    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                    stop.cancel();
                    std::future::pending::<()>().await;
                };
                let work = std::panic::AssertUnwindSafe(Box::pin(module::run(args, stop.clone())));
                tokio::select! {
                    how = futures::FutureExt::catch_unwind(work) => match how {
                        Ok(how) => how.map_err(|error| chain(&error)),
                        Err(_) => Err("the module broke: its log says where".to_owned()),
                    },
                    () = told => Ok(()),
                }
            });
            for hall in &halls {
                hall.close();
            }
            end.tell(how);
        };
        thread::Builder::new().name("mmn-module".to_owned()).spawn(run).map(drop)
    }
}

impl End {
    fn tell(&self, how: Result<(), String>) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = Some(how);
        self.told.notify_all();
    }

    fn wait(&self, longest: Duration) -> Option<Result<(), String>> {
        let how = self.how.lock().unwrap_or_else(PoisonError::into_inner);
        let (how, _) = self
            .told
            .wait_timeout_while(how, longest, |how| how.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        how.clone()
    }
}

/// An error with what led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
