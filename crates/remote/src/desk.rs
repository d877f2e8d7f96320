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
    /// All questions whose record is awaited; of those to name servers with the name, since daemons of before 2022 say nothing
    /// else of which question a record is for.
    awaited: BTreeMap<Key, Option<String>>,
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
            awaited: BTreeMap::new(),
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
        self.awaited.insert(key, asked_name(line));
        self.pass_on(now);
        true
    }

    /// Calls a measurement off.
    pub(crate) fn call_off(&mut self, now: Duration, key: Key) {
        if self.awaited.remove(&key).is_none() {
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
                    Some(Some(key)) if self.awaited.contains_key(&key) => {
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
        let key = user_id(&record).filter(|key| *key > 0).or(by_id).or_else(|| self.by_name(&record));
        let Some(key) = key else { return self.stranger() };
        if self.awaited.remove(&key).is_some() {
            self.running.retain(|_, one| *one != key);
            self.told.push_back((key, Told::Record(Box::new(record))));
            Ok(())
        } else if self.off.remove(&key) {
            Ok(())
        } else {
            self.stranger()
        }
    }

    /// The oldest question for the name of a record.
    fn by_name(&self, record: &Record) -> Option<Key> {
        let Record::Host(host) = record else { return None };
        let name = host.qname.as_ref()?.to_string();
        let asks =
            |asked: &Option<String>| asked.as_ref().is_some_and(|asked| asked.eq_ignore_ascii_case(&name));
        self.awaited.iter().find(|(_, asked)| asks(asked)).map(|(key, _)| *key)
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
        self.told.extend(std::mem::take(&mut self.awaited).into_keys().map(|key| (key, Told::Ended)));
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

/// The name in a question to a name server, with its type.
fn asked_name(line: &str) -> Option<String> {
    line.strip_prefix("host ")?.rsplit(' ').next().map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use mmn_scamper::control::{Request, Server};
    use mmn_warts::records::host::Host;
    use mmn_warts::records::ping::Ping;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    /// A daemon at the other end of the session.
    struct Daemon {
        session: Session,
        control: Server,
    }

    impl Daemon {
        fn pair() -> (Desk, Self) {
            let magic = Magic::new(*b"01234567");
            let session = Session::new(Role::Daemon, magic.clone(), NOW);
            (Desk::new(magic, NOW), Self { session, control: Server::attached() })
        }

        /// The lines that have come.
        fn lines(&mut self, desk: &mut Desk) -> Vec<Request> {
            self.session.receive(NOW, &desk.take()).unwrap();
            let mut lines = Vec::new();
            while let Some(heard) = self.session.poll() {
                if let Heard::Data { octets, .. } = heard {
                    let mut octets = octets.as_slice();
                    lines.extend(std::iter::from_fn(|| self.control.next(&mut octets)));
                }
            }
            lines
        }

        fn says(&mut self, desk: &mut Desk) -> Result<(), DeskError> {
            self.session.send(NOW, 1, &self.control.take());
            desk.receive(NOW, &self.session.take())
        }

        fn records(&mut self, desk: &mut Desk, record: impl Into<Record>) -> Result<(), DeskError> {
            self.control.data(None, &record.into().to_octets().unwrap());
            self.says(desk)
        }
    }

    fn ping(key: Key) -> Ping {
        Ping { userid: Some(key), ..Ping::default() }
    }

    #[test]
    fn a_question_has_its_own_record() {
        let (mut desk, mut daemon) = Daemon::pair();
        for key in [1, 2, 3] {
            assert!(desk.ask(NOW, key, &format!("ping -U {key} 192.0.2.1")));
        }
        assert_eq!(daemon.lines(&mut desk).len(), 3);
        daemon.control.accept();
        daemon.control.refuse("no");
        daemon.control.accept();
        daemon.records(&mut desk, ping(3)).unwrap();
        daemon.records(&mut desk, ping(1)).unwrap();
        let told: Vec<_> = std::iter::from_fn(|| desk.poll()).collect();
        let of = |key| Told::Record(Box::new(ping(key).into()));
        let refused = Told::Refused("command not accepted: no".to_owned());
        assert_eq!(told, [(2, refused), (3, of(3)), (1, of(1))]);
    }

    #[test]
    fn what_is_called_off_is_halted_once_it_has_a_number() {
        let (mut desk, mut daemon) = Daemon::pair();
        desk.ask(NOW, 1, "ping -U 1 192.0.2.1");
        desk.call_off(NOW, 1);
        assert_eq!(daemon.lines(&mut desk).len(), 1);
        daemon.control.accept();
        daemon.says(&mut desk).unwrap();
        assert_eq!(daemon.lines(&mut desk), [Request::Halt(1)]);
        // Its record comes nonetheless, and is nobody's.
        daemon.records(&mut desk, ping(1)).unwrap();
        assert_eq!(desk.poll(), None);
    }

    #[test]
    fn an_old_daemon_tells_hosts_by_their_names() {
        let (mut desk, mut daemon) = Daemon::pair();
        desk.ask(NOW, 1, "host -U 1 a.example");
        desk.ask(NOW, 2, "host -U 2 b.example");
        let host = Host { userid: Some(0), qname: Some("b.example".into()), ..Host::default() };
        daemon.lines(&mut desk);
        daemon.records(&mut desk, host).unwrap();
        assert!(matches!(desk.poll(), Some((2, Told::Record(_)))));
        assert_eq!(desk.poll(), None);
    }

    #[test]
    fn a_flood_of_records_ends_it() {
        let (mut desk, mut daemon) = Daemon::pair();
        daemon.lines(&mut desk);
        let ended = (0..=MOST_STRANGE).find_map(|_| daemon.records(&mut desk, ping(9)).err());
        assert!(matches!(ended, Some(DeskError::Flood)), "{ended:?}");
    }
}
