//! What is asked of an anchor.

use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;

use mmn_client::{ApiFile, Brief, Client, ClientError, Measure};
use mmn_schema::api::{MeasurementRequest, Page, ResultRecord};
use mmn_schema::encoding::Encoding;
use mmn_schema::id::MeasurementId;
use mmn_schema::select::Selection;
use mmn_schema::time::Span;
use pyo3::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pending::{Answer, Pending};
use crate::runtime::Runtime;
use crate::stream::Shared;
use crate::{errors, value};

/// A connection to an anchor's API. It opens connections of the network as it needs them, and keeps them.
#[pyclass(frozen, module = "mmn._native")]
pub(crate) struct Connection {
    runtime: &'static Runtime,
    client: Client,
    /// For what one caller waits for; begun with the first such question.
    brief: OnceLock<Brief>,
}

#[pymethods]
impl Connection {
    /// Of the API at `url`, or of the `mmn up` that runs on `data_dir`, whose token goes to that one alone.
    #[new]
    #[pyo3(signature = (url, token, ca, data_dir))]
    fn new(
        py: Python<'_>,
        url: Option<&str>,
        token: Option<&str>,
        ca: Option<PathBuf>,
        data_dir: PathBuf,
    ) -> PyResult<Self> {
        let runtime = Runtime::of_this_process(py)?;
        let url = match url {
            Some(url) => Ok(url.to_owned()),
            None => ApiFile::read(&data_dir).map(|api| api.url),
        };
        let client = url.and_then(|url| Client::at(&url, token, ca.as_deref(), Some(&data_dir)));
        let client = client.map_err(|error| errors::of_client(py, &error))?;
        Ok(Self { runtime, client, brief: OnceLock::new() })
    }

    /// Where the API is.
    #[getter]
    fn url(&self) -> String {
        self.client.url().to_owned()
    }

    /// Fails in a child of the process that made it.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.runtime.check(py)
    }

    fn vps(&self, py: Python<'_>) -> PyResult<Pending> {
        self.ask(py, |client| async move {
            let mut all = Vec::new();
            let mut after = None;
            loop {
                let Page { items, next } = client.vps(after.as_deref()).await?;
                all.extend(items);
                after = next;
                if after.is_none() {
                    return Ok(all);
                }
            }
        })
    }

    fn kinds(&self, py: Python<'_>) -> PyResult<Pending> {
        self.ask(py, |client| async move {
            let mut all = Vec::new();
            let mut after = None;
            loop {
                let Page { items, next } = client.kinds(after.as_deref()).await?;
                all.extend(items);
                after = next;
                if after.is_none() {
                    return Ok(all);
                }
            }
        })
    }

    fn select(&self, py: Python<'_>, selection: &Bound<'_, PyAny>) -> PyResult<Pending> {
        let selection: Selection = read(selection)?;
        self.ask(py, |client| async move { client.select(&selection).await })
    }

    fn whoami(&self, py: Python<'_>) -> PyResult<Pending> {
        self.ask(py, |client| async move { client.whoami().await })
    }

    fn limits(&self, py: Python<'_>) -> PyResult<Pending> {
        self.ask(py, |client| async move { client.limits().await })
    }

    fn plan(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<Pending> {
        let request: MeasurementRequest = read(request)?;
        self.ask(py, |client| async move { client.plan(&request).await })
    }

    fn measurement(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        let id = measurement(py, id)?;
        self.ask(py, move |client| async move { client.measurement(id).await })
    }

    fn ledger(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        let id = measurement(py, id)?;
        self.ask(py, move |client| async move { client.ledger(id).await })
    }

    fn cancel(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        let id = measurement(py, id)?;
        self.ask(py, move |client| async move { client.cancel(id).await })
    }

    /// Measures and waits for the results, as long as the API will: they may be absent from the answer.
    fn measure(&self, py: Python<'_>, request: &Bound<'_, PyAny>, wait_ms: u64) -> PyResult<Pending> {
        self.runtime.check(py)?;
        let request: MeasurementRequest = read(request)?;
        let brief = self.brief.get_or_init(|| {
            let (brief, running) = self.client.brief();
            self.runtime.handle().spawn(running);
            brief
        });
        let brief = brief.clone();
        Ok(Pending::of(self.runtime, async move {
            let asked = Measure::new(&request).wait(Span::from_millis(wait_ms));
            let (measured, records) = brief.measure(&asked).await?;
            let records = records.iter().map(written).collect::<Result<_, _>>()?;
            Ok(Answer::Measured(told(&measured)?, records))
        }))
    }

    /// Measures, and follows the results.
    fn start(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<Pending> {
        self.runtime.check(py)?;
        let request: MeasurementRequest = read(request)?;
        let (runtime, client) = (self.runtime, self.client.clone());
        Ok(Pending::of(runtime, async move {
            let about = client.measure(&Measure::new(&request)).await?;
            Ok(Answer::Opened(told(&about)?, Shared::follow(runtime, &client, about.id)))
        }))
    }

    /// Opens a measurement for inputs to come, and follows the results.
    fn open(&self, py: Python<'_>, request: &Bound<'_, PyAny>) -> PyResult<Pending> {
        self.runtime.check(py)?;
        let request: MeasurementRequest = read(request)?;
        let (runtime, client) = (self.runtime, self.client.clone());
        Ok(Pending::of(runtime, async move {
            let feed = client.feed(&request).await?;
            let about = told(feed.measurement())?;
            Ok(Answer::Opened(about, Shared::feed(runtime, &client, feed)))
        }))
    }

    /// Follows the results of a measurement that is there already.
    fn attach(&self, py: Python<'_>, id: &str) -> PyResult<Pending> {
        self.runtime.check(py)?;
        let id = measurement(py, id)?;
        let (runtime, client) = (self.runtime, self.client.clone());
        Ok(Pending::of(runtime, async move {
            let about = client.measurement(id).await?;
            Ok(Answer::Opened(told(&about)?, Shared::follow(runtime, &client, id)))
        }))
    }
}

impl Connection {
    fn ask<T: Serialize, F>(&self, py: Python<'_>, question: impl FnOnce(Client) -> F) -> PyResult<Pending>
    where
        F: Future<Output = Result<T, ClientError>> + Send + 'static,
    {
        self.runtime.check(py)?;
        let answer = question(self.client.clone());
        Ok(Pending::of(self.runtime, async move { Ok(Answer::Value(told(&answer.await?)?)) }))
    }
}

/// A result in the form in which a stream brings it.
fn written(record: &ResultRecord) -> Result<Vec<u8>, ClientError> {
    Encoding::Cbor.encode(record).map_err(|error| ClientError::Answer(error.to_string()))
}

/// What the API says of something: as in JSON, in which addresses and the like are text.
fn told<T: Serialize>(value: &T) -> Result<serde_json::Value, ClientError> {
    serde_json::to_value(value).map_err(|error| ClientError::Answer(error.to_string()))
}

/// A request as a caller gives it.
fn read<T: DeserializeOwned>(request: &Bound<'_, PyAny>) -> PyResult<T> {
    let json = value::to_json(request)?;
    serde_json::from_value(json).map_err(|error| errors::usage(request.py(), &error.to_string()))
}

fn measurement(py: Python<'_>, id: &str) -> PyResult<MeasurementId> {
    id.parse().map_err(|_| errors::usage(py, &format!("{id:?} is no measurement's id")))
}
