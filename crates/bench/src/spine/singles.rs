//! Measurements of one input each: pipelined over one WebSocket, and over 64 HTTP connections that wait.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::Bench;
use super::network::{self, Module, Roles};
use crate::clock;
use crate::ping::RawNats;
use crate::report::{Report, ms, quantile};
use crate::socket::{Answer, Question, Socket, holds};

/// What is asked for.
pub(super) const BODY: &str = r#"{"kind":"noop","inputs":["192.0.2.1"]}"#;
/// `"ok": 1` in CBOR.
pub(super) const OK: &[u8] = b"\x62ok\x01";
/// How many measurements are under way on the one socket.
const OUTSTANDING: u64 = 1000;
/// Between two looks at what has come: it costs this program a fraction, and of what is under way a hundredth is done.
const PAUSE: Duration = Duration::from_micros(200);
const CONNECTIONS: usize = 64;

fn length(bench: &Bench) -> Duration {
    Duration::from_secs(if bench.quick { 3 } else { 10 })
}

/// Over one WebSocket, acceptance, results and account of each on the same.
pub(super) fn socket(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(2, 1024)])?;
    let roles = Roles::of(&up)?;
    let mut socket = Socket::open(&up.api, &up.token)?;
    let question = Question::measure(BODY, 4)?;
    let mut sent = 0;
    for _ in 0..OUTSTANDING {
        sent += 1;
        socket.ask(&question, sent);
    }
    socket.flush()?;
    let mut counts = Counts::default();
    pump(&mut socket, &question, &mut sent, &mut counts, clock::now() + Duration::from_secs(1))?;
    let (cpu, begin, before) = (roles.cpu(), clock::now(), counts.done);
    pump(&mut socket, &question, &mut sent, &mut counts, begin + length(bench))?;
    let took = (clock::now() - begin).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of some 100,000")]
    let rate = (counts.done - before) as f64 / took;
    let words = roles.cpu().since(cpu);
    // The rest comes back too.
    let begin = clock::now();
    while counts.done + counts.problems < sent && clock::now() - begin < Duration::from_secs(10) {
        socket.read(|answer| counts.take(answer))?;
    }
    report.note(&format!("{} done in {took:.1} s, {OUTSTANDING} under way; {words}", counts.done - before));
    let bare = RawNats::start(&up)?.pipelined(200, 64, 100_000)?;
    report.yardstick("bare NATS requests, 64 under way, nothing kept", "/s", bare);
    report.at_least("single inputs over one WebSocket", "/s", rate, 40_000.0);
    let open = u32::try_from(sent - counts.ok)?;
    report.exactly("  of all that were asked for, not accepted and ok", "", f64::from(open), 0.0);
    let results = u32::try_from(counts.done.abs_diff(counts.results))?;
    report.exactly("  of all that were done, without exactly one result", "", f64::from(results), 0.0);
    up.stop()
}

#[derive(Debug, Default)]
struct Counts {
    done: u64,
    ok: u64,
    results: u64,
    problems: u64,
}

impl Counts {
    fn take(&mut self, answer: Answer<'_>) {
        match answer {
            Answer::Done(bytes) => {
                self.done += 1;
                self.ok += u64::from(holds(bytes, OK));
            }
            Answer::Results(_) => self.results += 1,
            Answer::Problem(_) => self.problems += 1,
            Answer::Accepted(_) | Answer::Other(_) => {}
        }
    }
}

/// Asks for one as one is done.
fn pump(
    socket: &mut Socket,
    question: &Question,
    sent: &mut u64,
    counts: &mut Counts,
    until: Instant,
) -> anyhow::Result<()> {
    while clock::now() < until {
        let before = counts.done;
        anyhow::ensure!(socket.read(|answer| counts.take(answer))?, "nothing came for 10 s: {counts:?}");
        anyhow::ensure!(counts.problems == 0, "a measurement was declined: {counts:?}");
        for _ in before..counts.done {
            *sent += 1;
            socket.ask(question, *sent);
        }
        socket.flush()?;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Over 64 connections, each of which asks and waits for the answer.
pub(super) fn http(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let up = network::start(bench, &[Module::noop(2, 1024)])?;
    let roles = Roles::of(&up)?;
    let request = format!(
        "POST /api/v1/measurements?wait=10s HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
        up.api,
        up.token,
        BODY.len()
    );
    let mut waiters = Vec::new();
    for _ in 0..CONNECTIONS {
        waiters.push(Waiter::open(&up.api)?);
    }
    let mut samples = Vec::new();
    answer_all(&mut waiters, &request, clock::now() + Duration::from_secs(1), &mut samples)?;
    samples.clear();
    let (cpu, begin) = (roles.cpu(), clock::now());
    answer_all(&mut waiters, &request, begin + length(bench), &mut samples)?;
    let took = (clock::now() - begin).as_secs_f64();
    let words = roles.cpu().since(cpu);
    let rate = f64::from(u32::try_from(samples.len())?) / took;
    report.note(&format!("{} answered in {took:.1} s, each accepted, kept and ok; {words}", samples.len()));
    report.note("yardstick: the prototype over HTTP with group commit, 20,000/s");
    report.at_least("single inputs over 64 HTTP connections", "/s", rate, 15_000.0);
    report.yardstick("  from request to result, p50", "ms", ms(quantile(&mut samples, 0.5)));
    report.yardstick("  p99", "ms", ms(quantile(&mut samples, 0.99)));
    up.stop()
}

/// Keeps a request under way on each connection, and ends with none.
fn answer_all(
    waiters: &mut [Waiter],
    request: &str,
    until: Instant,
    samples: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    for waiter in waiters.iter_mut() {
        waiter.send(request)?;
    }
    let mut under_way = waiters.len();
    while under_way > 0 {
        let ready: Vec<bool> = {
            let mut polled: Vec<_> =
                waiters.iter().map(|waiter| PollFd::new(&waiter.stream, PollFlags::IN)).collect();
            poll(&mut polled, None)?;
            polled.iter().map(|one| !one.revents().is_empty()).collect()
        };
        let now = clock::now();
        for (waiter, _) in waiters.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            if !waiter.read()? {
                continue;
            }
            samples.push(now - waiter.sent);
            if now < until {
                waiter.send(request)?;
            } else {
                under_way -= 1;
            }
        }
    }
    Ok(())
}

/// A connection with a request under way.
#[derive(Debug)]
struct Waiter {
    stream: TcpStream,
    buffer: Vec<u8>,
    sent: Instant,
}

impl Waiter {
    fn open(host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), sent: clock::now() })
    }

    fn send(&mut self, request: &str) -> anyhow::Result<()> {
        self.buffer.clear();
        self.sent = clock::now();
        Ok(self.stream.write_all(request.as_bytes())?)
    }

    /// Reads what has come; whether it is the whole answer, which must be that of a measurement that went well.
    fn read(&mut self) -> anyhow::Result<bool> {
        let mut room = [0; 16 << 10];
        let read = self.stream.read(&mut room)?;
        anyhow::ensure!(read > 0, "the API closed a connection");
        self.buffer.extend(room.get(..read).unwrap_or_default());
        let Some(head) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(false);
        };
        let (head, body) = self.buffer.split_at(head + 4);
        let text = std::str::from_utf8(head)?;
        let length = text
            .split("\r\n")
            .find_map(|line| {
                line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            })
            .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
        if body.len() < length {
            return Ok(false);
        }
        let ok = text.starts_with("HTTP/1.1 200") && holds(body, br#""ok":1"#);
        anyhow::ensure!(ok, "{text}{}", String::from_utf8_lossy(body));
        Ok(true)
    }
}
