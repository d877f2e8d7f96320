//! A client of scamper's at the mux of a simulated Internet.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mmn_scamper::control::{self, Said};
use mmn_scamper::mux::{self, Attribute, Heard, Vp};
use mmn_warts::Record;

const MMN: &str = env!("CARGO_BIN_EXE_mmn");

/// A vantage point before a link of 10 ms, and a host behind it.
const WORLD: &str = r#"
[[router]]
name = "near"
addr = "198.19.0.1"
[[router]]
name = "far"
addr = "198.19.0.2"
[[link]]
a = "near"
b = "far"
delay_ms = 10.0
[[vp]]
name = "one"
addr = "198.18.0.1"
at = "near"
delay_ms = 3.0
[[host]]
name = "www"
addr = "198.18.16.1"
at = "far"
delay_ms = 2.0
"#;

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program and waits for a line that has `word` in it.
fn start(args: &[&str], data: &Path, word: &str) -> Running {
    let mut command = Command::new(MMN);
    command.args(args).env("MMN_DATA", data).env_remove("MMN_NATS_URL");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let running = Running(child);
    let mut lines: Box<dyn BufRead> =
        if word == "try " { Box::new(BufReader::new(out)) } else { Box::new(BufReader::new(err)) };
    let mut told = String::new();
    while !told.lines().next_back().is_some_and(|line| line.contains(word)) {
        assert!(lines.read_line(&mut told).unwrap() > 0, "{told}");
    }
    running
}

/// A connection to the mux with one channel.
struct Client {
    stream: UnixStream,
    mux: mux::Client,
    control: control::Client,
    vps: Vec<Vp>,
    said: VecDeque<Said>,
    closed: bool,
}

impl Client {
    fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        let (mux, control) = (mux::Client::default(), control::Client::attached());
        let mut client = Self { stream, mux, control, vps: Vec::new(), said: VecDeque::new(), closed: false };
        while !client.turn() {}
        client
    }

    /// Sends what waits and takes what comes; whether that was the word to go.
    fn turn(&mut self) -> bool {
        let asked = self.control.take();
        self.mux.send(1, &asked);
        self.stream.write_all(&self.mux.take()).unwrap();
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the mux has closed");
        self.mux.receive(chunk.get(..count).unwrap()).unwrap();
        let mut go = false;
        while let Some(heard) = self.mux.poll() {
            match heard {
                Heard::Vp(vp) => self.vps.push(vp),
                Heard::Go => go = true,
                Heard::Closed(1) => self.closed = true,
                Heard::Data { channel: 1, octets } => self.control.receive(&octets).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        self.said.extend(std::iter::from_fn(|| self.control.poll()));
        go
    }

    /// The answers and records up to the next record of a measurement.
    fn record(&mut self) -> Record {
        loop {
            match self.said.pop_front() {
                Some(Said::Data { id: Some(_), octets, .. }) => return Record::from_octets(&octets).unwrap(),
                Some(_) => {}
                None => drop(self.turn()),
            }
        }
    }

    fn refusal(&mut self) -> String {
        loop {
            match self.said.pop_front() {
                Some(Said::Refused(_, reason)) => return reason,
                Some(_) => {}
                None => drop(self.turn()),
            }
        }
    }
}

#[test]
fn commands_of_scamper_are_measured_from_a_simulated_vantage_point() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("world.toml");
    std::fs::write(&file, WORLD).unwrap();
    let data = dir.path().join("data");
    let lab = file.to_str().unwrap();
    let _up =
        start(&["up", "--listen", "127.0.0.1:0", "--lab", lab, "--lab-driver", "in-process"], &data, "try ");
    let path = dir.path().join("m/s");
    let _mux = start(&["mux", "--socket", path.to_str().unwrap()], &data, "the sockets are there");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    let mut client = Client::connect(&path);
    let [vp] = &client.vps[..] else { panic!("{:?}", client.vps) };
    assert_eq!((vp.get(Attribute::Name), vp.get(Attribute::Tag)), (Some("one"), Some("simulated")));
    assert_eq!(client.mux.open(vp.instance), 1);

    client.control.ask("ping -c 2 -i 0.05s -U 7 198.18.16.1");
    let Record::Ping(ping) = client.record() else { panic!() };
    assert_eq!((ping.ping_sent, ping.userid, ping.replies.len()), (Some(2), Some(7), 2));
    assert_eq!(ping.replies.first().unwrap().rtt.unwrap().0, 30_000);

    client.control.ask("trace -P icmp-paris 198.18.16.1");
    let Record::Trace(trace) = client.record() else { panic!() };
    assert_eq!((trace.hops.len(), trace.stop_reason), (3, Some(1)));

    client.control.ask("ping -c none 198.18.16.1");
    assert!(client.refusal().ends_with("-c takes a number, not 'none'"));
    // A ping that would take a minute is called off with the channel's last word still to come. Its first reply is there when
    // that of a later one is.
    client.control.ask("ping -c 60 198.18.16.1");
    client.control.ask("ping -c 1 -o 1 198.18.16.1");
    let Record::Ping(later) = client.record() else { panic!() };
    assert_eq!(later.stop_reason, Some(1), "{later:?}");
    client.control.halt(3);
    let Record::Ping(ping) = client.record() else { panic!() };
    assert_eq!(ping.stop_reason, Some(3), "{ping:?}");
    assert!(!ping.replies.is_empty(), "what it found until then: {ping:?}");
    client.control.done();
    while !client.closed {
        client.turn();
    }
}
