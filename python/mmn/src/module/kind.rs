//! A kind whose function is Python's: what it says of itself, and its place among the kinds of a module.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use futures::FutureExt;
use jsonschema::Validator;
use mmn_kit::{
    Body, Context, Cost, Failure, FarEnd, LocalBoxFuture, Measured, Measurement, Number, Registered, Summary,
    Trial, code,
};
use mmn_schema::announce::{InputShape, KindInfo, SchemaVersion, SharedSchema, SummaryField};
use mmn_schema::dispatch::Input;
use mmn_schema::id::KindName;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::{Map, Value};

use super::hall::Hall;
use super::job::{Job, perform};

/// How many errors of one value are told.
const MAX_ERRORS: usize = 5;
/// How many characters of each.
const MAX_ERROR: usize = 240;
/// The most tasks of a kind at a time, as a manifest has it.
const MAX_CONCURRENCY: u32 = 100_000;
/// What a module answers when a result can't be told.
const MAX_RESULT: usize = 800_000;

/// A kind as Python describes it.
#[pyclass(frozen, module = "mmn._native")]
#[derive(Debug)]
pub(crate) struct ModuleKind {
    pub(super) described: Arc<Described>,
}

/// What is known of a kind.
pub(super) struct Described {
    name: KindName,
    text: &'static str,
    info: KindInfo,
    params: Validator,
    result: Validator,
    cost: Option<Cost>,
    pub(super) concurrency: u32,
    pub(super) asynchronous: bool,
    pub(super) has_self_test: bool,
    /// Which of the kinds of its module it is.
    pub(super) index: usize,
}

/// Parameters that fit, and what Python has made of them.
pub(super) struct Prepared {
    pub(super) kind: Arc<Described>,
    pub(super) params: Value,
    /// The arguments of the function, where all tasks may share them.
    pub(super) arguments: OnceLock<Py<PyAny>>,
}

#[pymethods]
impl ModuleKind {
    /// `spec` is JSON: what a kind announces of itself, `concurrency`, `cost`, `asynchronous` and `self_test`.
    #[new]
    fn new(spec: &str, index: usize) -> PyResult<Self> {
        let described = Described::read(spec, index).map_err(PyValueError::new_err)?;
        Ok(Self { described: Arc::new(described) })
    }

    /// The name.
    #[getter]
    fn name(&self) -> &str {
        self.described.text
    }

    /// Says what is wrong with parameters, as JSON; nothing when they fit.
    fn check(&self, params: &str) -> PyResult<Option<String>> {
        let params =
            serde_json::from_str(params).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(errors(&self.described.params, &params))
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    name: String,
    version: SchemaVersion,
    description: String,
    input: InputShape,
    params: Value,
    result: Value,
    summary: Vec<SummaryField>,
    concurrency: u32,
    cost: Option<(u64, u64, u64)>,
    asynchronous: bool,
    self_test: bool,
}

impl Described {
    /// Its name.
    pub(super) fn name(&self) -> &str {
        self.text
    }

    fn read(spec: &str, index: usize) -> Result<Self, String> {
        let spec: Spec = serde_json::from_str(spec).map_err(|error| error.to_string())?;
        let name: KindName = spec.name.parse().map_err(|error| format!("{:?}: {error}", spec.name))?;
        let compiled = |what: &str, schema: &Value| {
            jsonschema::validator_for(schema).map_err(|error| format!("the schema of the {what}: {error}"))
        };
        if !(1..=MAX_CONCURRENCY).contains(&spec.concurrency) {
            return Err(format!("concurrency: 1 to {MAX_CONCURRENCY}"));
        }
        let (params, result) = (compiled("parameters", &spec.params)?, compiled("result", &spec.result)?);
        let shared = |schema: Value| SharedSchema::try_from(schema).map_err(|error| error.to_string());
        Ok(Self {
            // A module's kinds live as long as its process.
            text: Box::leak(spec.name.into_boxed_str()),
            info: KindInfo {
                name: name.clone(),
                version: spec.version,
                description: spec.description,
                input: spec.input,
                params: shared(spec.params)?,
                result: shared(spec.result)?,
                summary: spec.summary,
                unavailable: None,
            },
            name,
            params,
            result,
            cost: spec.cost.map(|(packets, bytes, duration_ns)| Cost { packets, bytes, duration_ns }),
            concurrency: spec.concurrency,
            asynchronous: spec.asynchronous,
            has_self_test: spec.self_test,
            index,
        })
    }

    /// Reads parameters, once for all tasks that share them. Null means all defaults.
    pub(super) fn prepare(self: &Arc<Self>, params: Value) -> Result<Prepared, Failure> {
        let params = if params.is_null() { Value::Object(Map::new()) } else { params };
        if let Some(wrong) = errors(&self.params, &params) {
            return Err(Failure::refused(code::PARAMETERS, wrong));
        }
        Ok(Prepared { kind: Arc::clone(self), params, arguments: OnceLock::new() })
    }

    /// Whether an input has the kind's shape.
    pub(super) fn check_input(&self, input: &Input) -> Result<(), Failure> {
        let (fits, what) = match self.info.input {
            InputShape::Nothing => (matches!(input, Input::Nothing), "no input"),
            InputShape::Target => (matches!(input, Input::Target(_)), "one target"),
            InputShape::Targets => (matches!(input, Input::Targets(_)), "a list of targets"),
            InputShape::Peer => (matches!(input, Input::Peer { .. }), "a vantage point"),
        };
        if fits {
            Ok(())
        } else {
            Err(Failure::refused(code::PARAMETERS, format_args!("{} takes {what}", self.text)))
        }
    }

    /// What a function gave, as it travels; or why it does not fit what the kind says of itself.
    pub(super) fn measured(&self, result: Value, answered: Option<bool>) -> Result<Measured<Body>, String> {
        if let Some(wrong) = errors(&self.result, &result) {
            return Err(wrong);
        }
        let summary = self.summary_of(&result);
        let body = Body::from_json(result).map_err(|error| error.to_string())?;
        if body.cbor().len() > MAX_RESULT {
            return Err(format!(
                "{} bytes, more than the {MAX_RESULT} that a message holds",
                body.cbor().len()
            ));
        }
        Ok(Measured { answered, summary, body })
    }

    fn summary_of(&self, result: &Value) -> Summary {
        let number = |field: &SummaryField| {
            let value = result.get(&field.name)?;
            let number = value.as_i64().map(Number::Integer).or_else(|| value.as_f64().map(Number::Real))?;
            Some((field.name.clone().into(), number))
        };
        self.info.summary.iter().filter_map(number).collect()
    }
}

impl fmt::Debug for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("kind", &self.kind.text)
            .field("params", &self.params)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a value, each with its place.
fn errors(schema: &Validator, value: &Value) -> Option<String> {
    if schema.is_valid(value) {
        return None;
    }
    let mut told = Vec::new();
    for error in schema.iter_errors(value).take(MAX_ERRORS) {
        let path = error.instance_path().to_string();
        let path = path.trim_start_matches('/').replace('/', ".");
        // What is wrong is told with the value, of whatever length that is.
        let error = shortened(error.to_string(), MAX_ERROR);
        told.push(if path.is_empty() { error } else { format!("{path}: {error}") });
    }
    Some(told.join("; "))
}

/// A text of so many characters at most, its end instead of its middle where it has more.
pub(super) fn shortened(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    let (head, tail) = (most * 2 / 3, most / 3);
    let rest: Vec<char> = text.chars().collect();
    let end: String = rest.iter().skip(rest.len() - tail).collect();
    format!("{}…{end}", text.chars().take(head).collect::<String>())
}

/// A kind in a module that runs.
pub(super) struct Offered {
    pub(super) kind: Arc<Described>,
    pub(super) hall: Arc<Hall>,
    /// The module's name.
    pub(super) module: &'static str,
}

impl Registered for Offered {
    fn name(&self) -> &'static str {
        self.kind.text
    }
    fn module(&self) -> &'static str {
        self.module
    }
    fn info(&self) -> KindInfo {
        self.kind.info.clone()
    }
    fn prepare(&self, params: &Body) -> Result<Box<dyn Measurement>, Failure> {
        let params = params.to_json().map_err(|error| Failure::refused(code::PARAMETERS, error))?;
        Ok(Box::new(self.measuring(self.kind.prepare(params)?, false)))
    }
    fn self_test(&self) -> Option<Trial> {
        if !self.kind.has_self_test {
            return None;
        }
        // The function says for itself what its far end is.
        let (kind, hall) = (Arc::clone(&self.kind), Arc::clone(&self.hall));
        let task = move |_: SocketAddr| {
            let params = Value::Object(Map::new());
            let prepared = Prepared { kind: Arc::clone(&kind), params, arguments: OnceLock::new() };
            let measuring =
                Measuring { prepared: Arc::new(prepared), hall: Arc::clone(&hall), self_test: true };
            Ok((Box::new(measuring) as Box<dyn Measurement>, Input::Nothing))
        };
        Some(Trial { far_end: FarEnd::Host, task: Box::new(task) })
    }
    fn concurrency(&self) -> Option<u32> {
        Some(self.kind.concurrency)
    }
}

impl Offered {
    fn measuring(&self, prepared: Prepared, self_test: bool) -> Measuring {
        Measuring { prepared: Arc::new(prepared), hall: Arc::clone(&self.hall), self_test }
    }
}

struct Measuring {
    prepared: Arc<Prepared>,
    hall: Arc<Hall>,
    self_test: bool,
}

impl Measurement for Measuring {
    fn cost(&self) -> Option<Cost> {
        self.prepared.kind.cost
    }

    fn run<'a>(
        &'a self,
        context: &'a dyn Context,
        input: &'a Input,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            if !self.self_test {
                self.prepared.kind.check_input(input)?;
            }
            let job = Job::new(Arc::clone(&self.prepared), input.clone(), context.deadline(), self.self_test);
            perform(Arc::new(job), &self.hall, context).await
        }
        .boxed_local()
    }
}
