//! The connections of a `ScamperCtrl`: to muxes, control sockets and remote daemons, each with its lanes.
//!
//! A lane is one vantage point that commands go to: a channel of a mux, or a whole connection. Bytes are taken apart by
//! the machines of `mmn-scamper`; what they say becomes events, which the Python half takes from [`Wires::wait`]. While it
//! waits Python runs on, and a signal ends the waiting. No clock is read here: how long to wait is an argument.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mmn_scamper::control::{self, Attach, Said, Ticket};
use mmn_scamper::mux::{self, Attribute, Heard, Vp};
use mmn_warts::Record;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::file::Known;

/// How much is read at a time, in octets.
const CHUNK: usize = 256 << 10;

/// The longest wait: a signal that came just before it is seen after that.
const SLICE: Duration = Duration::from_millis(500);

/// The socket of a connection.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(octets),
            Self::Tcp(stream) => stream.read(octets),
        }
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(octets),
            Self::Tcp(stream) => stream.write(octets),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

/// A connection.
struct Wire {
    stream: Stream,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    carries: Carries,
}

enum Carries {
    Mux(Box<Mux>),
    Lane(u64),
}

#[derive(Default)]
struct Mux {
    client: mux::Client,
    vps: BTreeMap<u32, Vp>,
    /// Lanes by their channels.
    lanes: HashMap<u32, u64>,
    /// Whether all vantage points that are there have been told of.
    told: bool,
}

/// A vantage point that commands go to.
struct Lane {
    wire: u64,
    /// Its channel and its number, where it is a mux's.
    channel: Option<(u32, u32)>,
    control: control::Client,
    attaching: Option<Ticket>,
    /// Commands without an answer, by their tokens.
    asked: HashMap<Ticket, u64>,
    /// Commands whose records are to come, by their tokens.
    running: HashMap<u32, u64>,
    /// What is to be halted once it has a number.
    halted: Vec<u64>,
    known: Known,
    instance: Option<Py<PyAny>>,
    done: bool,
}

/// Something that happened on a lane: what, of which command, and what came.
type Event = (u64, &'static str, Option<u64>, Py<PyAny>);

/// All connections of a `ScamperCtrl`.
#[pyclass(module = "scamper", name = "_Wires")]
pub(crate) struct Wires {
    process: u32,
    next: u64,
    open: BTreeMap<u64, Wire>,
    lanes: BTreeMap<u64, Lane>,
    events: VecDeque<Event>,
    octets: Vec<u8>,
}

#[pymethods]
impl Wires {
    #[new]
    fn new() -> Self {
        Self {
            process: std::process::id(),
            next: 0,
            open: BTreeMap::new(),
            lanes: BTreeMap::new(),
            events: VecDeque::new(),
            octets: vec![0; CHUNK],
        }
    }

    /// Connects to a mux; its vantage points are known when `told` says so.
    fn mux(&mut self, py: Python<'_>, path: PathBuf) -> PyResult<u64> {
        let stream = unix(py, &path)?;
        Ok(self.wire(stream, Carries::Mux(Box::default())))
    }

    /// Whether a mux has told of all vantage points; an error when it is gone.
    fn told(&self, wire: u64) -> PyResult<bool> {
        match self.open.get(&wire).map(|wire| &wire.carries) {
            Some(Carries::Mux(mux)) => Ok(mux.told),
            _ => Err(PyRuntimeError::new_err("the mux closed the connection")),
        }
    }

    /// The vantage points of a mux: number and attributes, each by its number in the protocol.
    fn vps(&self, wire: u64) -> Vec<(u32, Vec<(u16, String)>)> {
        let Some(Carries::Mux(mux)) = self.open.get(&wire).map(|wire| &wire.carries) else {
            return Vec::new();
        };
        mux.vps.values().map(|vp| (vp.instance, attributes(vp))).collect()
    }

    /// A lane to a vantage point of a mux; `None` when it is gone.
    fn vp(&mut self, wire: u64, instance: u32) -> PyResult<Option<u64>> {
        self.check()?;
        let lane = self.number();
        let Some(Carries::Mux(mux)) = self.open.get_mut(&wire).map(|wire| &mut wire.carries) else {
            return Ok(None);
        };
        if !mux.vps.contains_key(&instance) {
            return Ok(None);
        }
        let channel = mux.client.open(instance);
        mux.lanes.insert(channel, lane);
        self.lanes.insert(lane, Lane::new(wire, Some((channel, instance)), control::Client::attached()));
        self.flush(wire);
        Ok(Some(lane))
    }

    /// A lane to a socket of a remote daemon, which is attached already.
    fn remote(&mut self, py: Python<'_>, path: PathBuf) -> PyResult<u64> {
        let stream = unix(py, &path)?;
        Ok(self.lane(stream, control::Client::attached(), false))
    }

    /// A lane to a control socket.
    fn unix(&mut self, py: Python<'_>, path: PathBuf) -> PyResult<u64> {
        let stream = unix(py, &path)?;
        Ok(self.lane(stream, control::Client::interactive(), true))
    }

    /// A lane to a control socket over TCP.
    fn inet(&mut self, py: Python<'_>, address: &str, port: u16) -> PyResult<u64> {
        let connected = py.detach(|| {
            let stream = TcpStream::connect((address, port))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok::<_, io::Error>(stream)
        });
        let stream = connected.map_err(|error| {
            PyRuntimeError::new_err(format!("could not connect to {address}:{port}: {error}"))
        })?;
        Ok(self.lane(Stream::Tcp(stream), control::Client::interactive(), true))
    }

    /// Whom results of a lane are from.
    fn results_from(&mut self, lane: u64, instance: Py<PyAny>) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.instance = Some(instance);
        }
    }

    /// Sends a command, and gives the token by which its events are told.
    fn ask(&mut self, lane: u64, command: &str) -> PyResult<u64> {
        self.check()?;
        if !command.bytes().all(|octet| matches!(octet, b' '..=b'~')) {
            return Err(PyRuntimeError::new_err("a command has printable characters of ASCII alone"));
        }
        let token = self.number();
        let asked = self.at(lane)?;
        if asked.done {
            return Err(PyRuntimeError::new_err("nothing more can be asked after done"));
        }
        let ticket = asked.control.ask(command);
        asked.asked.insert(ticket, token);
        self.speak(lane);
        Ok(token)
    }

    /// Calls a command off. Its record comes nonetheless.
    fn halt(&mut self, lane: u64, token: u64) -> PyResult<()> {
        self.check()?;
        let Ok(asked) = self.at(lane) else { return Ok(()) };
        let id = asked.running.iter().find(|(_, other)| **other == token).map(|(id, _)| *id);
        if let Some(id) = id {
            asked.control.halt(id);
        } else if asked.asked.values().any(|other| *other == token) {
            asked.halted.push(token);
        }
        self.speak(lane);
        Ok(())
    }

    /// Says that nothing more is asked of a lane: it ends when its results are here.
    fn done(&mut self, lane: u64) -> PyResult<()> {
        self.check()?;
        let Ok(asked) = self.at(lane) else { return Ok(()) };
        if !std::mem::replace(&mut asked.done, true) {
            asked.control.done();
        }
        self.speak(lane);
        Ok(())
    }

    /// Forgets a lane. Of a mux the channel is ended, else the connection.
    fn forget(&mut self, lane: u64) -> PyResult<()> {
        self.check()?;
        match self.lanes.get(&lane) {
            Some(Lane { wire, channel: None, .. }) => drop(self.open.remove(wire)),
            _ => self.done(lane)?,
        }
        self.lanes.remove(&lane);
        Ok(())
    }

    /// Waits until something happens, or so many seconds but half a second at most, and gives what has happened: lane,
    /// what, token, and what came.
    ///
    /// `more`: there is room for another command. `data`: a record, of a command or of the lane. `refused`: a command was,
    /// for a reason. `eof`: the lane has ended, for a reason or as it was asked to.
    #[pyo3(signature = (seconds = None))]
    fn wait(&mut self, py: Python<'_>, seconds: Option<f64>) -> PyResult<Vec<Event>> {
        self.check()?;
        if self.events.is_empty() {
            // What is too long is for ever.
            let wanted = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
            let timeout = Timespec::try_from(wanted.map_or(SLICE, |wanted| wanted.min(SLICE))).ok();
            let ready = match py.detach(|| self.poll(timeout.as_ref())) {
                Ok(ready) => ready,
                Err(rustix::io::Errno::INTR) => Vec::new(),
                Err(error) => return Err(PyRuntimeError::new_err(format!("waiting failed: {error}"))),
            };
            py.check_signals()?;
            for (wire, readable) in ready {
                if readable {
                    self.receive(py, wire)?;
                }
                self.flush(wire);
            }
        }
        Ok(self.events.drain(..).collect())
    }

    /// An instance holds its control, which holds these: Python's collector is to see it.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.lanes.values().try_for_each(|lane| visit.call(&lane.instance))?;
        self.events.iter().try_for_each(|(.., came)| visit.call(came))
    }

    fn __clear__(&mut self) {
        self.lanes.clear();
        self.open.clear();
        self.events.clear();
    }
}

impl Lane {
    fn new(wire: u64, channel: Option<(u32, u32)>, control: control::Client) -> Self {
        Self {
            wire,
            channel,
            control,
            attaching: None,
            asked: HashMap::new(),
            running: HashMap::new(),
            halted: Vec::new(),
            known: Known::default(),
            instance: None,
            done: false,
        }
    }
}

impl Wires {
    fn check(&self) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let why = "a ScamperCtrl can't be used in a child of the process that made it: make one there";
        Err(PyRuntimeError::new_err(why))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn wire(&mut self, stream: Stream, carries: Carries) -> u64 {
        let number = self.number();
        self.open.insert(number, Wire { stream, out: Vec::new(), sent: 0, carries });
        number
    }

    fn lane(&mut self, stream: Stream, control: control::Client, attach: bool) -> u64 {
        let number = self.number();
        let wire = self.wire(stream, Carries::Lane(number));
        let mut lane = Lane::new(wire, None, control);
        if attach {
            lane.attaching = Some(lane.control.attach(&Attach::default()));
        }
        self.lanes.insert(number, lane);
        self.speak(number);
        number
    }

    fn at(&mut self, lane: u64) -> PyResult<&mut Lane> {
        self.lanes.get_mut(&lane).ok_or_else(|| PyRuntimeError::new_err("the instance is closed"))
    }

    /// Which connections have something to be read, or room to be written.
    fn poll(&self, timeout: Option<&Timespec>) -> Result<Vec<(u64, bool)>, rustix::io::Errno> {
        let mut sockets: Vec<PollFd<'_>> = Vec::with_capacity(self.open.len());
        for wire in self.open.values() {
            let flags =
                if wire.sent < wire.out.len() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            sockets.push(PollFd::from_borrowed_fd(wire.stream.as_fd(), flags));
        }
        poll(&mut sockets, timeout)?;
        let events = sockets.iter().map(PollFd::revents);
        let ready = self.open.keys().copied().zip(events).filter(|(_, events)| !events.is_empty());
        Ok(ready.map(|(wire, events)| (wire, events.intersects(!PollFlags::OUT))).collect())
    }

    /// Sends what a lane has to say.
    fn speak(&mut self, number: u64) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let Some(wire) = self.open.get_mut(&lane.wire) else { return };
        let mut octets = lane.control.take();
        match (&mut wire.carries, lane.channel) {
            (Carries::Mux(mux), Some((channel, _))) if !octets.is_empty() => {
                mux.client.send(channel, &octets);
            }
            _ => wire.out.append(&mut octets),
        }
        let number = lane.wire;
        self.flush(number);
    }

    /// Sends as much as goes of what waits on a connection.
    fn flush(&mut self, number: u64) {
        let Some(wire) = self.open.get_mut(&number) else { return };
        if let Carries::Mux(mux) = &mut wire.carries {
            wire.out.append(&mut mux.client.take());
        }
        while let Some(rest) = wire.out.get(wire.sent..).filter(|rest| !rest.is_empty()) {
            match wire.stream.write(rest) {
                Ok(sent) => wire.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Later; and that it is gone is seen in reading.
                Err(_) => return,
            }
        }
        wire.out.clear();
        wire.sent = 0;
    }

    /// Reads what has come on a connection.
    fn receive(&mut self, py: Python<'_>, number: u64) -> PyResult<()> {
        let mut octets = std::mem::take(&mut self.octets);
        let mut ended = None;
        let read = self.open.get_mut(&number).map(|wire| wire.stream.read(&mut octets));
        match read {
            None => {}
            Some(Ok(0)) => ended = Some(None),
            Some(Ok(len)) => {
                let came = octets.get(..len).unwrap_or_default();
                if let Err(reason) = self.take(py, number, came)? {
                    ended = Some(Some(reason));
                }
            }
            Some(Err(error))
                if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Some(Err(error)) => ended = Some(Some(error.to_string())),
        }
        self.octets = octets;
        let Some(reason) = ended else { return Ok(()) };
        self.open.remove(&number);
        for lane in self.lanes_of(|lane| lane.wire == number) {
            self.end(py, lane, reason.as_deref())?;
        }
        Ok(())
    }

    fn lanes_of(&self, wanted: impl Fn(&Lane) -> bool) -> Vec<u64> {
        self.lanes.iter().filter(|(_, lane)| wanted(lane)).map(|(number, _)| *number).collect()
    }

    /// Takes what came apart; a reason, when the connection is of no more use.
    fn take(&mut self, py: Python<'_>, number: u64, octets: &[u8]) -> PyResult<Result<(), String>> {
        let Some(wire) = self.open.get_mut(&number) else { return Ok(Ok(())) };
        let mux = match &mut wire.carries {
            Carries::Mux(mux) => mux,
            Carries::Lane(lane) => {
                let lane = *lane;
                return self.lane_takes(py, lane, octets);
            }
        };
        let received = mux.client.receive(octets);
        let mut heard = Vec::new();
        while let Some(what) = mux.client.poll() {
            let lane = match &what {
                Heard::Data { channel, .. } => mux.lanes.get(channel).copied(),
                Heard::Closed(channel) => mux.lanes.remove(channel),
                _ => None,
            };
            match what {
                Heard::Go => mux.told = true,
                Heard::Vp(vp) => {
                    mux.vps.insert(vp.instance, vp);
                }
                Heard::Departed(instance) => {
                    mux.vps.remove(&instance);
                    heard.push((None, what));
                }
                Heard::Data { .. } | Heard::Closed(_) => heard.push((lane, what)),
            }
        }
        for (lane, what) in heard {
            match (lane, what) {
                (Some(lane), Heard::Data { octets, .. }) => {
                    if let Err(reason) = self.lane_takes(py, lane, &octets)? {
                        self.end(py, lane, Some(&reason))?;
                    }
                }
                (Some(lane), _) => self.end(py, lane, None)?,
                (None, Heard::Departed(instance)) => {
                    let of_vp = |lane: &Lane| {
                        lane.wire == number && lane.channel.is_some_and(|(_, other)| other == instance)
                    };
                    for lane in self.lanes_of(of_vp) {
                        self.end(py, lane, Some("the vantage point is gone"))?;
                    }
                }
                (None, _) => {}
            }
        }
        Ok(received.map_err(|error| error.to_string()))
    }

    /// Takes what came on a lane apart; a reason, when the lane is of no more use.
    fn lane_takes(&mut self, py: Python<'_>, number: u64, octets: &[u8]) -> PyResult<Result<(), String>> {
        let Some(lane) = self.lanes.get_mut(&number) else { return Ok(Ok(())) };
        let mut halts = false;
        // What came before something went wrong counts.
        let received = lane.control.receive(octets);
        while let Some(said) = lane.control.poll() {
            let event = match said {
                Said::Attached | Said::Answer(..) | Said::Info(_) => continue,
                Said::Accepted(ticket, id) => {
                    if let Some(token) = lane.asked.remove(&ticket) {
                        lane.running.insert(id, token);
                        if let Some(at) = lane.halted.iter().position(|halted| *halted == token) {
                            lane.halted.swap_remove(at);
                            lane.control.halt(id);
                            halts = true;
                        }
                    }
                    continue;
                }
                Said::Refused(ticket, reason) if lane.attaching == Some(ticket) => return Ok(Err(reason)),
                Said::Refused(ticket, reason) => match lane.asked.remove(&ticket) {
                    Some(token) => (number, "refused", Some(token), object(py, reason)?),
                    None => continue,
                },
                Said::More => (number, "more", None, py.None()),
                Said::Data { id, in_progress, octets } => {
                    let mut record = Record::from_octets(&octets).map_err(|error| error.to_string());
                    let measured = record.as_mut().is_ok_and(|record| record.membership().is_some());
                    // Before 2022 scamper didn't say of which command a record is: of the oldest, as far as it can be known.
                    let id = id.or_else(|| lane.running.keys().min().copied().filter(|_| measured));
                    let token = match id {
                        Some(id) if in_progress => lane.running.get(&id).copied(),
                        Some(id) => lane.running.remove(&id),
                        None => None,
                    };
                    match record {
                        Ok(record) => match lane.known.object(py, record, lane.instance.as_ref())? {
                            Some(result) => (number, "data", token, result),
                            None => (number, "refused", token, unreadable(py, "its type is not known")?),
                        },
                        Err(error) => (number, "refused", token, unreadable(py, &error)?),
                    }
                }
            };
            self.events.push_back(event);
        }
        if halts {
            self.speak(number);
        }
        Ok(received.map_err(|error| error.to_string()))
    }

    /// A lane has ended. What was asked of it and has no answer is for the Python half to tell.
    fn end(&mut self, py: Python<'_>, number: u64, reason: Option<&str>) -> PyResult<()> {
        let Some(lane) = self.lanes.remove(&number) else { return Ok(()) };
        if let (Some((channel, _)), Some(Wire { carries: Carries::Mux(mux), .. })) =
            (lane.channel, self.open.get_mut(&lane.wire))
        {
            mux.lanes.remove(&channel);
        }
        let cut = !(lane.asked.is_empty() && lane.running.is_empty());
        let reason = reason.or_else(|| cut.then_some("the connection was closed"));
        let reason = reason.map(|reason| object(py, reason.to_owned())).transpose()?;
        self.events.push_back((number, "eof", None, reason.unwrap_or_else(|| py.None())));
        Ok(())
    }
}

fn object(py: Python<'_>, text: String) -> PyResult<Py<PyAny>> {
    Ok(text.into_pyobject(py)?.into_any().unbind())
}

fn unreadable(py: Python<'_>, why: &str) -> PyResult<Py<PyAny>> {
    object(py, format!("the record that came can not be read: {why}"))
}

/// The attributes of a vantage point by their numbers.
fn attributes(vp: &Vp) -> Vec<(u16, String)> {
    let all = (1..).map_while(Attribute::of);
    all.flat_map(|attribute| vp.all(attribute).map(move |text| (attribute.number(), text.to_owned())))
        .collect()
}

fn unix(py: Python<'_>, path: &Path) -> PyResult<Stream> {
    let connected = py.detach(|| {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>(stream)
    });
    connected
        .map(Stream::Unix)
        .map_err(|error| PyRuntimeError::new_err(format!("could not connect to {}: {error}", path.display())))
}
