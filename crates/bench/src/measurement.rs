//! Measurements, asked for and watched through the API.

use std::time::Duration;

use mmn_schema::api::ResultRecord;
use mmn_schema::stream::{FromAnchor, FromClient};
use serde_json::Value;

use crate::clock;
use crate::http::Connection;
use crate::socket::Socket;
use crate::up::Up;

/// Asks for a measurement, and gives its id. One that is declined for now is asked for again when the anchor says.
pub(crate) fn submit(api: &mut Connection, body: &str) -> anyhow::Result<String> {
    let (status, answer) = loop {
        let answered = api.request("POST", "/api/v1/measurements", Some(body))?;
        let wait = api.fields.iter().find_map(|field| {
            let (name, seconds) = field.split_once(':')?;
            name.eq_ignore_ascii_case("retry-after").then(|| seconds.trim().parse().ok())?
        });
        match wait {
            Some(seconds) if answered.0 == 429 => std::thread::sleep(Duration::from_secs(seconds)),
            _ => break answered,
        }
    };
    anyhow::ensure!(
        status == 202,
        "a measurement was answered {status} {}",
        String::from_utf8_lossy(&answer)
    );
    let answer: Value = serde_json::from_slice(&answer)?;
    answer["id"].as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("a measurement without id"))
}

/// Waits until a measurement is done, and gives its ledger.
pub(crate) fn closed(api: &mut Connection, id: &str, patience: Duration) -> anyhow::Result<Value> {
    let begin = clock::now();
    loop {
        let ledger = ledger(api, id)?;
        if ledger["pending"] == 0 {
            return Ok(ledger);
        }
        anyhow::ensure!(clock::now() - begin < patience, "{id} is not done within {patience:?}: {ledger}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The results of a measurement that is done.
pub(crate) fn results(up: &Up, id: &str) -> anyhow::Result<Vec<ResultRecord>> {
    let mut socket = Socket::open(&up.api, &up.token)?;
    socket.say(&FromClient::Subscribe { id: 1, measurement: id.parse()?, after: None, credits: u32::MAX })?;
    socket.flush()?;
    let (mut results, mut done) = (Vec::new(), false);
    while !done {
        let came = socket.read(|answer| match answer.decode() {
            Some(FromAnchor::Results { records, .. }) => results.extend(records),
            Some(FromAnchor::Done { .. } | FromAnchor::Problem { .. }) => done = true,
            _ => {}
        })?;
        anyhow::ensure!(came, "the results of {id} don't come");
    }
    Ok(results)
}

/// How each instance is and what it holds, in words: for whoever looks for what went wrong.
pub(crate) fn state(api: &mut Connection) -> anyhow::Result<String> {
    let (_, body) = api.request("GET", "/api/v1/modules", None)?;
    let modules: Value = serde_json::from_slice(&body)?;
    let items = modules["items"].as_array().map_or(&[][..], Vec::as_slice);
    let words = items.iter().map(|module| {
        let load = &module["heartbeat"]["load"];
        let [instance, health, out, credits] =
            ["instance", "health", "out", "credits"].map(|name| &module[name]);
        format!("{instance} {health}, {out} out of {credits}, it says {load}")
    });
    Ok(words.collect::<Vec<_>>().join("; "))
}

/// The ledger of a measurement.
pub(crate) fn ledger(api: &mut Connection, id: &str) -> anyhow::Result<Value> {
    let (status, answer) = api.request("GET", &format!("/api/v1/measurements/{id}/ledger"), None)?;
    anyhow::ensure!(status == 200, "the ledger of {id}: {status}");
    Ok(serde_json::from_slice(&answer)?)
}
