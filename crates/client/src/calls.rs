//! The endpoints under `/api/v1`, a method each.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use hyper::Method;
use mmn_schema::api::{
    Cursor, KindView, Ledger, Limits, Measurement, MeasurementRequest, ModuleView, Page, Plan, ResultRecord,
    Rollup, TaskTrace, VpView,
};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::dispatch::Input;
use mmn_schema::id::{KindName, MeasurementId, TaskId};
use mmn_schema::rest::{InputsPage, InputsTaken, MoreInputs, SelectRequest, Selected, SignInCode, WhoAmI};
use mmn_schema::select::Selection;
use mmn_schema::time::{Span, Timestamp};
use serde::Serialize;

use crate::http::Call;
use crate::{Client, ClientError};

/// An idempotency key: the same question under the same key leads to the same measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key that nobody else has: 128 random bits.
    pub fn random() -> Self {
        let mut text = BASE32_NOPAD.encode(&rand::random::<[u8; 16]>());
        text.make_ascii_lowercase();
        Self(text)
    }

    /// The key as it travels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// How a measurement is asked for.
#[derive(Debug, Clone)]
pub struct Measure<'a> {
    /// What to measure.
    pub request: &'a MeasurementRequest,
    /// The key under which a repetition is safe.
    pub key: Key,
    /// How long the API shall wait for the results; absent: it answers once the measurement is accepted.
    pub wait: Option<Span>,
}

impl<'a> Measure<'a> {
    /// Asks for `request` with a key of its own, without waiting for results.
    pub fn new(request: &'a MeasurementRequest) -> Self {
        Self { request, key: Key::random(), wait: None }
    }

    /// Waits so long for the results.
    #[must_use]
    pub fn wait(mut self, wait: Span) -> Self {
        self.wait = Some(wait);
        self
    }
}

/// Which measurements are asked for: those that meet all of it, the newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct MeasurementsQuery<'a> {
    /// Those that take this vantage point, by its id or its name.
    pub vp: Option<&'a str>,
    /// Those of this kind.
    pub kind: Option<&'a str>,
    /// Those in one of these states, with commas between them.
    pub state: Option<&'a str>,
    /// The `next` of the page before.
    pub after: Option<&'a str>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Which kept results are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResultsQuery {
    /// Only those after this one.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: Option<u32>,
}

impl Client {
    /// Asks for a measurement. A repetition with the same key answers with the same measurement, so that this call
    /// repeats itself when the connection breaks.
    pub async fn measure(&self, measure: &Measure<'_>) -> Result<Measurement, ClientError> {
        let mut path = "/api/v1/measurements".to_owned();
        if let Some(wait) = measure.wait {
            // Milliseconds need no escape in a query, as the other forms of a duration do.
            let _ = write!(path, "?wait={}ms", wait.duration().as_millis());
        }
        let wait = measure.wait.map_or(Duration::ZERO, Span::duration);
        let key = Some(measure.key.0.clone());
        self.call(Call { key, wait, repeatable: true, ..post(path, measure.request)? }).await
    }

    /// What a measurement would do: nothing is sent to the network.
    pub async fn plan(&self, request: &MeasurementRequest) -> Result<Plan, ClientError> {
        self.call(Call { repeatable: true, ..post("/api/v1/measurements?dry_run=1".into(), request)? }).await
    }

    /// A page of the measurements that the token may see, the newest first.
    pub async fn measurements(&self, asked: MeasurementsQuery<'_>) -> Result<Page<Measurement>, ClientError> {
        let MeasurementsQuery { vp, kind, state, after, limit } = asked;
        let limit = text(limit);
        let limit = limit.as_deref();
        let fields = [("vp", vp), ("kind", kind), ("state", state), ("after", after), ("limit", limit)];
        self.call(Call::get(query("/api/v1/measurements", &fields))).await
    }

    /// A page of a measurement's inputs, in the order in which they were given.
    pub async fn inputs(
        &self,
        id: MeasurementId,
        after: Option<&str>,
        limit: Option<u32>,
    ) -> Result<InputsPage, ClientError> {
        let limit = text(limit);
        let fields = [("after", after), ("limit", limit.as_deref())];
        self.call(Call::get(query(&format!("/api/v1/measurements/{id}/inputs"), &fields))).await
    }

    /// One measurement.
    pub async fn measurement(&self, id: MeasurementId) -> Result<Measurement, ClientError> {
        self.call(Call::get(format!("/api/v1/measurements/{id}"))).await
    }

    /// Calls a measurement off, and answers with it as it is then. What has ended stays as it is.
    pub async fn cancel(&self, id: MeasurementId) -> Result<Measurement, ClientError> {
        let path = format!("/api/v1/measurements/{id}");
        self.call(Call { method: Method::DELETE, ..Call::get(path) }).await
    }

    /// Appends inputs to an open measurement, within what the anchor grants. It is sent once: where the answer is
    /// missing, nobody knows whether they were taken. A [`Feed`](crate::Feed) finds out.
    pub async fn append(&self, id: MeasurementId, inputs: &[Input]) -> Result<InputsTaken, ClientError> {
        let more = MoreInputs { inputs: inputs.to_vec() };
        self.call(post(format!("/api/v1/measurements/{id}/inputs"), &more)?).await
    }

    /// Says that an open measurement gets no more inputs, and answers with it as it is then.
    pub async fn close(&self, id: MeasurementId) -> Result<Measurement, ClientError> {
        let path = format!("/api/v1/measurements/{id}/close");
        self.call(Call { method: Method::POST, ..Call::get(path) }).await
    }

    /// A page of a measurement's kept results.
    pub async fn results(
        &self,
        id: MeasurementId,
        asked: ResultsQuery,
    ) -> Result<Page<ResultRecord>, ClientError> {
        let path = query(
            &format!("/api/v1/measurements/{id}/results"),
            &[("after", text(asked.after).as_deref()), ("limit", text(asked.limit).as_deref())],
        );
        self.call(Call::get(path)).await
    }

    /// The account of a measurement's tasks.
    pub async fn ledger(&self, id: MeasurementId) -> Result<Ledger, ClientError> {
        self.call(Call::get(format!("/api/v1/measurements/{id}/ledger"))).await
    }

    /// The rollups of a measurement whose interval begins at `from` or later and before `to`.
    pub async fn rollups(
        &self,
        id: MeasurementId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Page<Rollup>, ClientError> {
        let path = query(
            &format!("/api/v1/measurements/{id}/rollups"),
            &[("from", text(from).as_deref()), ("to", text(to).as_deref())],
        );
        self.call(Call::get(path)).await
    }

    /// One task, hop by hop.
    pub async fn task(&self, id: TaskId) -> Result<TaskTrace, ClientError> {
        self.call(Call::get(format!("/api/v1/tasks/{id}"))).await
    }

    /// A page of the vantage points.
    pub async fn vps(&self, after: Option<&str>) -> Result<Page<VpView>, ClientError> {
        self.call(Call::get(query("/api/v1/vps", &[("after", after)]))).await
    }

    /// What a selection means and which vantage points it chooses now.
    pub async fn select(&self, selection: &Selection) -> Result<Selected, ClientError> {
        let request = SelectRequest { select: selection.clone(), ids_only: false };
        self.call(Call { repeatable: true, ..post("/api/v1/select".into(), &request)? }).await
    }

    /// One vantage point, by its id or its name.
    pub async fn vp(&self, vp: &str) -> Result<VpView, ClientError> {
        self.call(Call::get(format!("/api/v1/vps/{}", escaped(vp)))).await
    }

    /// Gives an order to the node of a vantage point, by its id or its name.
    pub async fn order(&self, vp: &str, order: &NodeOrder) -> Result<NodeAnswer, ClientError> {
        self.call(post(format!("/api/v1/vps/{}/modules", escaped(vp)), order)?).await
    }

    /// A page of the instances of modules.
    pub async fn modules(&self, after: Option<&str>) -> Result<Page<ModuleView>, ClientError> {
        self.call(Call::get(query("/api/v1/modules", &[("after", after)]))).await
    }

    /// A page of the kinds that the network offers.
    pub async fn kinds(&self, after: Option<&str>) -> Result<Page<KindView>, ClientError> {
        self.call(Call::get(query("/api/v1/kinds", &[("after", after)]))).await
    }

    /// One kind.
    pub async fn kind(&self, name: &KindName) -> Result<KindView, ClientError> {
        self.call(Call::get(format!("/api/v1/kinds/{name}"))).await
    }

    /// The anchor's limits.
    pub async fn limits(&self) -> Result<Limits, ClientError> {
        self.call(Call::get("/api/v1/limits")).await
    }

    /// Who asks, as the anchor sees it.
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.call(Call::get("/api/v1/whoami")).await
    }

    /// A code that signs a browser in once, on behalf of this client.
    pub async fn sign_in_code(&self) -> Result<SignInCode, ClientError> {
        let path = "/api/v1/session/codes";
        self.call(Call { method: Method::POST, ..Call::get(path) }).await
    }

    /// Whether the API is ready to work; a problem, or a status of failure, says why not.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.exchange(Call { repeatable: false, ..Call::get("/readyz") }).await.map(drop)
    }
}

fn post(path: String, body: &impl Serialize) -> Result<Call, ClientError> {
    let body = serde_json::to_vec(body)
        .map_err(|error| ClientError::Answer(format!("the request can not be written: {error}")))?;
    Ok(Call { method: Method::POST, body: Some(Bytes::from(body)), repeatable: false, ..Call::get(path) })
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn query(path: &str, fields: &[(&str, Option<&str>)]) -> String {
    let mut path = path.to_owned();
    let mut sign = '?';
    for (name, value) in fields {
        if let Some(value) = value {
            let _ = write!(path, "{sign}{name}={}", escaped(value));
            sign = '&';
        }
    }
    path
}

/// The text with everything but unreserved characters (RFC 3986, section 2.3) as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(query("/x", &[("after", None)]), "/x");
        assert_eq!(
            query("/x", &[("select", Some("a+b, !c")), ("after", Some("1.0"))]),
            "/x?select=a%2Bb%2C%20%21c&after=1.0"
        );
    }

    #[test]
    fn keys_differ() {
        assert_ne!(Key::random(), Key::random());
        assert_eq!(Key::random().as_str().len(), 26);
    }
}
