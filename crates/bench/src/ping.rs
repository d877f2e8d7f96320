//! One loopback ping through REST against a raw NATS request of the same run, in alternating rounds.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
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
        measured(&ping(&mut connection, body)?)?;
    }
    let (mut pings, mut raws, mut last) = (Vec::new(), Vec::new(), Value::Null);
    for _ in 0..ROUNDS {
        raws.extend(raw.round()?);
        for _ in 0..PINGS {
            let begin = clock::now();
            let answer = ping(&mut connection, body)?;
            pings.push(clock::now() - begin);
            last = measured(&answer)?;
        }
    }
    let rtt_ns = last["results"][0]["summary"]["rtt_min_ns"].as_f64().context("no rtt in the last result")?;
    let raw_p50 = ms(quantile(&mut raws, 0.5));
    let p50 = ms(quantile(&mut pings, 0.5));
    report.yardstick("raw NATS request, p50", "ms", raw_p50);
    report.yardstick("the RTT that the last of the pings measured", "ms", rtt_ns / 1e6);
    report.at_most("one loopback ping through REST, p50", "ms", p50, 1.0);
    report.at_most("  the same against the raw NATS request", "x", p50 / raw_p50, 4.0);
    report.at_most("  p99", "ms", ms(quantile(&mut pings, 0.99)), 5.0);
    report.note(&format!("{} pings, each accepted, kept and closed", pings.len()));
    Ok(())
}

/// From the request to the last byte of the answer.
fn ping(connection: &mut http::Connection, body: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    connection.request("POST", "/api/v1/measurements?wait=10s", Some(body))
}

/// Checks that it is the answer to a ping that was kept, with one reply.
fn measured((status, answer): &(u16, Vec<u8>)) -> anyhow::Result<Value> {
    let answer: Value = serde_json::from_slice(answer)?;
    let ledger = &answer["ledger"];
    anyhow::ensure!(*status == 200 && ledger["ok"] == 1 && ledger["answered"] == 1, "{status} {answer}");
    Ok(answer)
}

/// A requester, and a responder in a process of its own as a module is.
#[derive(Debug)]
pub(crate) struct RawNats {
    runtime: tokio::runtime::Runtime,
    requester: mmn_bus::connect::Bus,
    responder: Child,
}

const SUBJECT: &str = "mmn.v1.evt.bench";

impl RawNats {
    pub(crate) fn start(up: &Up) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let requester = runtime.block_on(nats::as_anchor(up.data()))?;
        let mut responder = Command::new(std::env::current_exe()?)
            .arg(RESPONDER)
            .arg(up.data())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ready = responder.stdout.as_mut().context("no pipe")?.read_exact(&mut [0]);
        ready.context("the responder did not come up")?;
        Ok(Self { runtime, requester, responder })
    }

    /// Requests of so many bytes that are answered with as many, so many of them at a time: answers per second.
    pub(crate) fn pipelined(&self, bytes: usize, at_a_time: usize, requests: u32) -> anyhow::Result<f64> {
        self.runtime.block_on(async {
            let begin = clock::now();
            let client = self.requester.client();
            let ask = |_| client.request(SUBJECT, vec![0x5a; bytes].into());
            let mut answers = futures::stream::iter(0..requests).map(ask).buffer_unordered(at_a_time);
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(f64::from(requests) / (clock::now() - begin).as_secs_f64())
        })
    }

    pub(crate) fn round(&self) -> anyhow::Result<Vec<Duration>> {
        self.runtime.block_on(async {
            let payload = bytes_of_a_task();
            let mut samples = Vec::with_capacity(RAW);
            for _ in 0..RAW {
                let begin = clock::now();
                self.requester.client().request(SUBJECT, payload.clone().into()).await?;
                samples.push(clock::now() - begin);
            }
            Ok(samples)
        })
    }
}

impl Drop for RawNats {
    fn drop(&mut self) {
        drop(self.responder.stdin.take());
        // It was ours, and nobody else waits for it.
        let _ = self.responder.wait();
    }
}

/// The argument that makes this program a responder, until its standard input ends.
pub(crate) const RESPONDER: &str = "--responder";

/// Answers each request with its payload.
pub(crate) fn respond(data: &Path) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        // It ends with whoever started it.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bus = nats::as_anchor(data).await?;
        let mut requests = bus.client().subscribe(SUBJECT).await?;
        bus.barrier().await?;
        std::io::stdout().write_all(b"\n")?;
        std::io::stdout().flush()?;
        while let Some(request) = requests.next().await {
            if let Some(reply) = request.reply {
                bus.client().publish(reply, request.payload).await?;
            }
        }
        Ok(())
    })
}

/// 200 bytes, about what a dispatch of one task has.
fn bytes_of_a_task() -> Vec<u8> {
    vec![0x5a; 200]
}
