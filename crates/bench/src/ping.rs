//! One loopback ping through REST against a raw NATS request of the same run, in alternating rounds.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use serde_json::Value;

use crate::report::{Report, ms, quantile};
use crate::up::Up;
use crate::{clock, http, nats};

const ROUNDS: usize = 10;
const PINGS: usize = 500;
const RAW: usize = 1000;

/// Total time of one ping with one reply, the acceptance and the result durable; then counts what the ledger says.
pub(crate) fn through_rest(up: &Up, report: &mut Report) -> anyhow::Result<()> {
    let raw = RawNats::start(up)?;
    let mut connection = http::Connection::open(&up.api, &up.token)?;
    let body = r#"{"kind":"ping","params":{"count":1},"inputs":["127.0.0.1"]}"#;
    for _ in 0..200 {
        ping(&mut connection, body)?;
    }
    let (mut pings, mut raws, mut last) = (Vec::new(), Vec::new(), Value::Null);
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raws.extend(raw.round()?);
        writes.extend(raw.writes()?);
        for _ in 0..PINGS {
            let begin = clock::now();
            connection.request("GET", "/api/v1/limits", None)?;
            reads.push(clock::now() - begin);
        }
        for _ in 0..PINGS {
            let begin = clock::now();
            last = ping(&mut connection, body)?;
            pings.push(clock::now() - begin);
        }
    }
    let rtt_ns = last["results"][0]["summary"]["rtt_min_ns"].as_f64().context("no rtt in the last result")?;
    let raw_p50 = ms(quantile(&mut raws, 0.5));
    let p50 = ms(quantile(&mut pings, 0.5));
    report.yardstick("raw NATS request, p50", "ms", raw_p50);
    report.yardstick("raw JetStream write, p50", "ms", ms(quantile(&mut writes, 0.5)));
    report.yardstick("a read through REST, p50", "ms", ms(quantile(&mut reads, 0.5)));
    report.yardstick("the RTT that the last of the pings measured", "ms", rtt_ns / 1e6);
    report.at_most("one loopback ping through REST, p50", "ms", p50, 1.0);
    report.at_most("  the same against the raw NATS request", "x", p50 / raw_p50, 4.0);
    report.at_most("  p99", "ms", ms(quantile(&mut pings, 0.99)), 5.0);
    report.note(&format!("{} pings, each accepted, kept and closed", pings.len()));
    Ok(())
}

fn ping(connection: &mut http::Connection, body: &str) -> anyhow::Result<Value> {
    let (status, answer) = connection.request("POST", "/api/v1/measurements?wait=10s", Some(body))?;
    let answer: Value = serde_json::from_slice(&answer)?;
    anyhow::ensure!(
        status == 200 && answer["ledger"]["ok"] == 1 && answer["ledger"]["answered"] == 1,
        "{status} {answer}"
    );
    Ok(answer)
}

/// A responder in a thread of its own, and a requester.
#[derive(Debug)]
struct RawNats {
    runtime: tokio::runtime::Runtime,
    requester: mmn_bus::connect::Bus,
}

impl RawNats {
    fn start(up: &Up) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let requester = runtime.block_on(nats::as_anchor(up.data()))?;
        let data = up.data().to_path_buf();
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let bus = nats::as_anchor(&data).await?;
                let mut requests = bus.client().subscribe("mmn.v1.evt.bench").await?;
                bus.barrier().await?;
                ready.send(())?;
                while let Some(request) = requests.next().await {
                    if let Some(reply) = request.reply {
                        bus.client().publish(reply, request.payload).await?;
                    }
                }
                Ok(())
            })
        });
        is_ready.recv().context("the responder did not come up")?;
        Ok(Self { runtime, requester })
    }

    fn round(&self) -> anyhow::Result<Vec<Duration>> {
        self.runtime.block_on(async {
            let payload = bytes_of_a_task();
            let mut samples = Vec::with_capacity(RAW);
            for _ in 0..RAW {
                let begin = clock::now();
                self.requester.client().request("mmn.v1.evt.bench", payload.clone().into()).await?;
                samples.push(clock::now() - begin);
            }
            Ok(samples)
        })
    }

    /// Writes to the stream of results, each acknowledged before the next.
    fn writes(&self) -> anyhow::Result<Vec<Duration>> {
        self.runtime.block_on(async {
            let payload = bytes_of_a_task();
            let mut samples = Vec::with_capacity(RAW);
            for n in 0..RAW {
                let begin = clock::now();
                self.requester
                    .publish_kept(
                        "mmn.v1.log.roll.bench",
                        None,
                        payload.clone().into(),
                        &format!("bench-{n}-{:?}", clock::now()),
                    )
                    .await?;
                samples.push(clock::now() - begin);
            }
            Ok(samples)
        })
    }
}

/// 200 bytes, about what a dispatch of one task has.
fn bytes_of_a_task() -> Vec<u8> {
    vec![0x5a; 200]
}
