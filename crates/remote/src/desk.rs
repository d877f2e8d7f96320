//! What a daemon is given and what it says: its session, the one channel in it, and the commands under way. Without I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use mmn_scamper::control::{Client, ControlError, Said, Ticket};
use mmn_scamper::remote::{Heard, Magic, RemoteError, Resume, Role, Session};
use mmn_warts::{ReadError, Record};

use crate::ask::Key;

/// What may wait to be acknowledged, in octets: a daemon that takes nothing is given nothing.
const MOST_UNACKNOWLEDGED: usize = 4 << 20;
/// The longest record in characters: some ten times what that of a trace of all paths with thousands of probes has.
const LONGEST_RECORD: usize = 8 << 20;
/// Records that nobody asked for, and channels that end by themselves, until a daemon is taken for broken.
const MOST_STRANGE: u32 = 1_000;
const MOST_CHANNELS: u32 = 100;

/// A daemon, without its connection. What [`take`](Self::take) gives is to be sent.
#[derive(Debug)]
pub(crate) struct Desk {
    session: Session,
    client: Client,
    channel: u32,
    /// Lines whose answer is not there; absent: nobody waits for it any more.
    asked: BTreeMap<Ticket, Option<Key>>,
    /// What runs, by the daemon's number.
    running: BTreeMap<u32, Key>,
    /// All questions whose record is awaited.
    awaited: BTreeSet<Key>,
    /// Those that were called off, whose records come nonetheless.
    off: BTreeSet<Key>,
    told: VecDeque<(Key, Told)>,
    strange: u32,
    channels: u32,
}

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    /// It was measured.
    Record(Box<Record>),
    /// The daemon turned it down.
    Refused(String),
    /// The daemon ended the channel on which it was asked.
    Ended,
}

/// Why a connection, or the whole session, can't go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("it does not speak as a daemon does")]
    Control(#[from] ControlError),
    #[error("a record that can't be read")]
    Record(#[from] ReadError),
    #[error("{MOST_STRANGE} records that nobody asked for")]
    Flood,
    #[error("it ended its channel {MOST_CHANNELS} times")]
    Channels,
}

impl Desk {
    /// A session that begins now.
    pub(crate) fn new(magic: Magic, now: Duration) -> Self {
        let mut session = Session::new(Role::Master, magic, now);
        let channel = session.open(now);
        Self {
            session,
            client: client(),
            channel,
            asked: BTreeMap::new(),
            running: BTreeMap::new(),
            awaited: BTreeSet::new(),
            off: BTreeSet::new(),
            told: VecDeque::new(),
            strange: 0,
            channels: 0,
        }
    }

    /// Asks for a measurement. `false`: there is no room.
    pub(crate) fn ask(&mut self, now: Duration, key: Key, line: &str) -> bool {
        if self.session.unacknowledged() > MOST_UNACKNOWLEDGED {
            return false;
        }
        let ticket = self.client.ask(line);
        self.asked.insert(ticket, Some(key));
        self.awaited.insert(key);
        self.pass_on(now);
        true
    }

    /// Calls a measurement off.
    pub(crate) fn call_off(&mut self, now: Duration, key: Key) {
        if !self.awaited.remove(&key) {
            return;
        }
        self.off.insert(key);
        if let Some(asked) = self.asked.values_mut().find(|asked| **asked == Some(key)) {
            *asked = None;
        } else if let Some(id) = self.running.iter().find(|(_, one)| **one == key).map(|(id, _)| *id) {
            self.running.remove(&id);
            self.halt(now, id);
        }
    }

    /// Goes on over a new connection. An error means that the daemon has to begin anew.
    pub(crate) fn resumed(&mut self, now: Duration, resume: &Resume) -> Result<(), RemoteError> {
        self.session.resumed(now, resume)
    }

    /// The connection is gone.
    pub(crate) fn broken(&mut self) {
        self.session.broken();
    }

    /// Takes what came.
    pub(crate) fn receive(&mut self, now: Duration, octets: &[u8]) -> Result<(), DeskError> {
        let received = self.session.receive(now, octets);
        // What came before the fault counts: it was acknowledged.
        while let Some(heard) = self.session.poll() {
            match heard {
                Heard::Data { channel, octets } if channel == self.channel => self.said(now, &octets)?,
                Heard::Finished(channel) if channel == self.channel => self.begin_again(now)?,
                // Of channels that have ended.
                Heard::Data { .. } | Heard::Finished(_) | Heard::Opened(_) => {}
            }
        }
        Ok(received?)
    }

    /// Does what the time asks for.
    pub(crate) fn tick(&mut self, now: Duration) -> Result<(), RemoteError> {
        self.session.tick(now)
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.session.deadline()
    }

    /// What became of a question.
    pub(crate) fn poll(&mut self) -> Option<(Key, Told)> {
        self.told.pop_front()
    }

    /// What is to be sent.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.session.take()
    }

    fn said(&mut self, now: Duration, octets: &[u8]) -> Result<(), DeskError> {
        self.client.receive(octets)?;
        while let Some(said) = self.client.poll() {
            match said {
                Said::Accepted(ticket, id) => match self.asked.remove(&ticket) {
                    // An old daemon tells its record before it accepts, where the measurement is at its end at once.
                    Some(Some(key)) if self.awaited.contains(&key) => {
                        self.running.insert(id, key);
                    }
                    Some(None) => self.halt(now, id),
                    Some(Some(_)) | None => {}
                },
                Said::Refused(ticket, why) => {
                    if let Some(Some(key)) = self.asked.remove(&ticket) {
                        self.awaited.remove(&key);
                        self.told.push_back((key, Told::Refused(why)));
                    }
                }
                Said::Data { in_progress: false, octets, id } => self.record(id, &octets)?,
                Said::Data { .. } => self.stranger()?,
                Said::Answer(..) | Said::Info(_) | Said::More | Said::Attached => {}
            }
        }
        Ok(())
    }

    fn record(&mut self, id: Option<u32>, octets: &[u8]) -> Result<(), DeskError> {
        let record = Record::from_octets(octets)?;
        let by_id = id.and_then(|id| self.running.remove(&id));
        let Some(key) = user_id(&record).or(by_id) else { return self.stranger() };
        if self.awaited.remove(&key) {
            self.running.retain(|_, one| *one != key);
            self.told.push_back((key, Told::Record(Box::new(record))));
            Ok(())
        } else if self.off.remove(&key) {
            Ok(())
        } else {
            self.stranger()
        }
    }

    fn stranger(&mut self) -> Result<(), DeskError> {
        self.strange += 1;
        if self.strange > MOST_STRANGE { Err(DeskError::Flood) } else { Ok(()) }
    }

    /// The daemon has ended the channel: what was asked on it gets no answer, and the next question another channel.
    fn begin_again(&mut self, now: Duration) -> Result<(), DeskError> {
        self.channels += 1;
        if self.channels > MOST_CHANNELS {
            return Err(DeskError::Channels);
        }
        self.session.finish(now, self.channel);
        self.channel = self.session.open(now);
        self.client = client();
        self.asked.clear();
        self.running.clear();
        self.off.clear();
        self.told.extend(std::mem::take(&mut self.awaited).into_iter().map(|key| (key, Told::Ended)));
        Ok(())
    }

    fn halt(&mut self, now: Duration, id: u32) {
        self.client.halt(id);
        self.pass_on(now);
    }

    fn pass_on(&mut self, now: Duration) {
        let lines = self.client.take();
        self.session.send(now, self.channel, &lines);
    }
}

fn client() -> Client {
    Client::attached().with_limit(LONGEST_RECORD)
}

/// The number that a record's user gave it.
fn user_id(record: &Record) -> Option<Key> {
    match record {
        Record::Ping(one) => one.userid,
        Record::Trace(one) => one.userid,
        Record::Tracelb(one) => one.userid,
        Record::Host(one) => one.userid,
        Record::Http(one) => one.userid,
        Record::Udpprobe(one) => one.userid,
        _ => None,
    }
}
