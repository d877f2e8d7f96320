//! A task as a function of Python sees it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mmn_kit::{Failure, Family, Reason, code};
use mmn_probe::time::Nanos;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::Outcome;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use serde_json::Value;

use super::asking::Question;
use super::job::{Job, Over};
use super::kind::{ModuleKind, shortened};
use super::value::{of_python, to_python};

/// How many characters of what happened are told.
const MAX_DETAIL: usize = 1_000;

/// A task: one input, with the parameters that it shares with others, and a deadline.
#[pyclass(frozen, module = "mmn._native")]
#[derive(Debug)]
pub(crate) struct Task {
    pub(super) job: Arc<Job>,
}

#[pymethods]
impl Task {
    /// What the task is about: `None`, a target, a list of targets, or the id of a vantage point.
    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.job.input {
            Input::Nothing => Ok(py.None().into_bound(py)),
            Input::Target(target) => Ok(target.into_pyobject(py)?.into_any()),
            Input::Targets(targets) => Ok(targets.into_pyobject(py)?.into_any()),
            Input::Peer { vp } => Ok(vp.as_str().into_pyobject(py)?.into_any()),
        }
    }

    /// The target, of a kind whose input is one.
    #[getter]
    fn target(&self) -> PyResult<&str> {
        match &self.job.input {
            Input::Target(target) => Ok(target),
            _ => Err(PyRuntimeError::new_err("the kind's input is no target: it is in task.input")),
        }
    }

    /// Whether it was called off, or its time is over: what the function still does, nobody waits for.
    #[getter]
    fn cancelled(&self) -> bool {
        self.job.is_over()
    }

    /// What is left of its time, in seconds.
    #[getter]
    fn remaining(&self) -> f64 {
        Duration::from(self.job.remaining()).as_secs_f64()
    }

    /// Whether the network answered; `None` where the kind has no such notion.
    #[getter]
    fn answered(&self) -> Option<bool> {
        self.job.answered()
    }

    #[setter]
    fn set_answered(&self, answered: Option<bool>) {
        self.job.set_answered(answered);
    }

    /// Which of the module's kinds it is for.
    #[getter]
    fn _kind(&self) -> usize {
        self.job.prepared.kind.index
    }

    /// Which of all tasks it is, as long as it is there.
    #[getter]
    fn _id(&self) -> usize {
        Arc::as_ptr(&self.job).addr()
    }

    #[getter]
    fn _self_test(&self) -> bool {
        self.job.self_test
    }

    /// Waits so many seconds, or until the task is over. Says whether it is.
    fn _wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let longest =
            Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(py.detach(|| self.job.wait(longest)))
    }

    /// The parameters, as JSON has them.
    fn _params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.job.prepared.params)
    }

    /// The arguments that all tasks of its batch share, once they are kept.
    fn _arguments(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.job.prepared.arguments.get().map(|arguments| arguments.clone_ref(py))
    }

    fn _keep_arguments(&self, arguments: Py<PyAny>) {
        // Another thread may have been faster; they are the same.
        let _ = self.job.prepared.arguments.set(arguments);
    }

    /// Asks for the addresses of a name. Like the others it gives `None` when the task is over, and else texts, or the
    /// outcome, code and detail of a failure.
    fn _resolve<'py>(
        &self,
        py: Python<'py>,
        host: String,
        family: &str,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let family = match family {
            "any" => Family::Any,
            "ipv4" => Family::Ipv4,
            "ipv6" => Family::Ipv6,
            other => {
                return Err(PyValueError::new_err(format!("family: {other:?} is none of any, ipv4, ipv6")));
            }
        };
        self.ask(py, Question::Resolve(host, family))
    }

    fn _check<'py>(&self, py: Python<'py>, address: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.ask(py, Question::Check(read(address)?))
    }

    fn _pace<'py>(
        &self,
        py: Python<'py>,
        address: &str,
        packets: u64,
        octets: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.ask(py, Question::Pace(read(address)?, packets, octets))
    }

    /// Ends it with what the function gave. Gives what is wrong with that, if anything is.
    fn _end(&self, result: &Bound<'_, PyAny>) -> Option<String> {
        let answered = self.job.answered();
        let kind = &self.job.prepared.kind;
        let result = if self.job.self_test {
            Ok(Value::Null)
        } else {
            of_python(result).map_err(|why| why.to_string())
        };
        let measured = match (self.job.self_test, result) {
            (true, _) => Ok(mmn_kit::Measured {
                answered,
                summary: mmn_kit::Summary::default(),
                body: mmn_kit::Body::null(),
            }),
            (false, Ok(result)) => kind.measured(result, answered),
            (false, Err(why)) => Err(why),
        };
        match measured {
            Ok(measured) => {
                self.job.end(Ok(measured));
                None
            }
            Err(why) => {
                let why = format!("the result does not fit the kind's own schema: {why}");
                self.job.end(Err(Failure::failed(code::INTERNAL, &why)));
                Some(why)
            }
        }
    }

    /// Ends it without a result.
    fn _fail(&self, refused: bool, code: String, detail: Option<String>) {
        let outcome = if refused { Outcome::Refused } else { Outcome::Failed };
        let detail = detail.map(|detail| shortened(detail, MAX_DETAIL));
        let reason = Reason { code: Cow::Owned(code), detail };
        self.job.end(Err(Failure { outcome, reason }));
    }

    /// How it ended, of a task without a module: outcome, code, detail, result, summary.
    fn _ended<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some(end) = self.job.take_end() else { return Ok(None) };
        let ended = match end {
            Ok(measured) => {
                let body =
                    measured.body.to_json().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
                let summary = serde_json::to_value(&measured.summary).unwrap_or_default();
                let (body, summary) = (to_python(py, &body)?, to_python(py, &summary)?);
                ("ok", None::<String>, None::<String>, body, summary).into_pyobject(py)?
            }
            Err(failure) => {
                let outcome = failure.outcome.to_string();
                let code = failure.reason.code.into_owned();
                let none = py.None().into_bound(py);
                (outcome, Some(code), failure.reason.detail, none.clone(), none).into_pyobject(py)?
            }
        };
        Ok(Some(ended))
    }

    /// A task without a module. Raises `ValueError` for what a module would refuse.
    #[staticmethod]
    fn _alone(kind: &ModuleKind, params: &str, input: &str, seconds: f64) -> PyResult<Self> {
        let wrong = |error: &dyn std::fmt::Display| PyValueError::new_err(error.to_string());
        let params: Value = serde_json::from_str(params).map_err(|error| wrong(&error))?;
        let input: Input = serde_json::from_str(input).map_err(|error| wrong(&error))?;
        let lasts = Duration::try_from_secs_f64(seconds).map_err(|error| wrong(&error))?;
        let lasts = Nanos(u64::try_from(lasts.as_nanos()).unwrap_or(u64::MAX));
        let refused = |failure: Failure| wrong(&failure.reason.detail.unwrap_or_default());
        let prepared = kind.described.prepare(params).map_err(refused)?;
        kind.described.check_input(&input).map_err(refused)?;
        Ok(Self { job: Arc::new(Job::alone(Arc::new(prepared), input, lasts)) })
    }

    /// Calls it off, as the module does.
    fn _call_off(&self) {
        self.job.call_off();
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let input = self.input(py)?.repr()?;
        Ok(format!("<Task {} of {input}, {:.3} s left>", self.job.prepared.kind.name(), self.remaining()))
    }
}

impl Task {
    fn ask<'py>(&self, py: Python<'py>, question: Question) -> PyResult<Option<Bound<'py, PyAny>>> {
        match py.detach(|| self.job.ask(question)) {
            Err(Over) => Ok(None),
            Ok(Ok(addresses)) => {
                let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                Ok(Some(texts.into_pyobject(py)?.into_any()))
            }
            Ok(Err(failure)) => {
                let Reason { code, detail } = failure.reason;
                let told = (failure.outcome == Outcome::Refused, code.into_owned(), detail);
                Ok(Some(told.into_pyobject(py)?.into_any()))
            }
        }
    }
}

fn read(address: &str) -> PyResult<IpAddr> {
    address.parse().map_err(|_| PyValueError::new_err(format!("{address:?} is no address")))
}
