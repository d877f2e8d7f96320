//! A session: numbered messages, kept until they are acknowledged, over any number of connections.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::greeting::go_on;
use super::wire::{self, Frames, Message, PART};
use super::{KEEPALIVE, Magic, RemoteError, Resume, SILENCE};

/// Which side of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that commands, and opens channels.
    Master,
    /// The one that measures.
    Daemon,
}

/// What the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A channel was opened: to a daemon alone.
    Opened(u32),
    /// Octets of a channel.
    Data {
        /// The channel.
        channel: u32,
        /// Some octets.
        octets: Vec<u8>,
    },
    /// The other side says nothing more on a channel.
    Finished(u32),
}

/// One side of a session. Instants are counted from an origin that stays the same.
///
/// After an error, or when the connection breaks, call [`broken`](Self::broken), and the session waits for the next
/// connection. What [`take`](Self::take) gives is to be sent.
#[derive(Debug)]
pub struct Session {
    role: Role,
    magic: Magic,
    frames: Frames,
    /// The number of the next message that is kept.
    next: u32,
    /// The number that is expected.
    expects: u32,
    kept: VecDeque<Kept>,
    kept_octets: usize,
    channels: BTreeMap<u32, Channel>,
    last_channel: u32,
    heard: VecDeque<Heard>,
    connected: bool,
    sent_at: Duration,
    heard_at: Duration,
    out: Vec<u8>,
}

#[derive(Debug)]
struct Kept {
    sequence: u32,
    channel: u32,
    octets: Vec<u8>,
}

/// Which side has said that it says nothing more.
#[derive(Debug, Default, Clone, Copy)]
struct Channel {
    ours: bool,
    theirs: bool,
}

impl Session {
    /// A session that begins now, after its greeting.
    pub fn new(role: Role, magic: Magic, now: Duration) -> Self {
        Self {
            role,
            magic,
            frames: Frames::default(),
            next: 0,
            expects: 0,
            kept: VecDeque::new(),
            kept_octets: 0,
            channels: BTreeMap::new(),
            last_channel: 0,
            heard: VecDeque::new(),
            connected: true,
            sent_at: now,
            heard_at: now,
            out: Vec::new(),
        }
    }

    /// Goes on over a new connection, as the one that commands: `resume` is what the daemon began with. It answers, and
    /// sends again what the daemon has not got. An error means that the daemon is to be rejected.
    pub fn resumed(&mut self, now: Duration, resume: &Resume) -> Result<(), RemoteError> {
        let known = resume.expects == self.next || self.kept.iter().any(|one| one.sequence == resume.expects);
        // Numbers wrap around: the distance from what is acknowledged says what lies between.
        let between = self.expects.wrapping_sub(resume.unacknowledged)
            <= resume.next.wrapping_sub(resume.unacknowledged);
        if resume.magic != self.magic || !known || !between {
            return Err(RemoteError::Resume);
        }
        self.connect(now);
        self.out = go_on(self.expects);
        self.send_again(resume.expects);
        Ok(())
    }

    /// Where this side stands, to come back with, as a daemon.
    pub fn resume(&self) -> Resume {
        Resume {
            magic: self.magic.clone(),
            expects: self.expects,
            unacknowledged: self.kept.front().map_or(self.next, |one| one.sequence),
            next: self.next,
        }
    }

    /// Goes on over a new connection, as a daemon: `expects` is what the other side expects.
    pub fn accepted(&mut self, now: Duration, expects: u32) -> Result<(), RemoteError> {
        if expects != self.next && !self.kept.iter().any(|one| one.sequence == expects) {
            return Err(RemoteError::Resume);
        }
        self.connect(now);
        self.send_again(expects);
        Ok(())
    }

    /// The connection is gone. What is said meanwhile waits for the next one.
    pub fn broken(&mut self) {
        self.connected = false;
        self.frames = Frames::default();
        self.out.clear();
    }

    /// Takes what came.
    pub fn receive(&mut self, now: Duration, mut octets: &[u8]) -> Result<(), RemoteError> {
        while let Some(frame) = self.frames.next(&mut octets)? {
            self.heard_at = now;
            if frame.sequence != self.expects {
                return Err(RemoteError::Sequence { wanted: self.expects, found: frame.sequence });
            }
            if frame.channel == 0 {
                self.control(now, &frame.octets)?;
                continue;
            }
            self.acknowledge(now);
            match self.channels.get(&frame.channel) {
                Some(Channel { theirs: false, .. }) => {
                    self.heard.push_back(Heard::Data { channel: frame.channel, octets: frame.octets });
                }
                // A master's channel may have been forgotten before the last words on it came.
                _ if self.role == Role::Master => {}
                _ => return Err(RemoteError::NotOpen(frame.channel)),
            }
        }
        Ok(())
    }

    /// The next thing that was said.
    pub fn poll(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Opens a channel, as the one that commands.
    pub fn open(&mut self, now: Duration) -> u32 {
        let mut channel = self.last_channel;
        loop {
            channel = channel.wrapping_add(1).max(1);
            if !self.channels.contains_key(&channel) {
                break;
            }
        }
        self.last_channel = channel;
        self.channels.insert(channel, Channel::default());
        self.keep(now, 0, Message::ChannelNew(channel).encode());
        channel
    }

    /// Sends octets on a channel, while it is open.
    pub fn send(&mut self, now: Duration, channel: u32, octets: &[u8]) {
        if self.channels.get(&channel).is_some_and(|one| !one.ours && !one.theirs) {
            for part in octets.chunks(PART) {
                self.keep(now, channel, part.to_vec());
            }
        }
    }

    /// Says that nothing more comes on a channel. Once the other side has said so, there is no such channel any more.
    pub fn finish(&mut self, now: Duration, channel: u32) {
        let Some(one) = self.channels.get_mut(&channel) else { return };
        let theirs = one.theirs;
        if !std::mem::replace(&mut one.ours, true) {
            // Where a daemon has finished it has forgotten the channel: it takes a message about it for an error.
            if !(theirs && self.role == Role::Master) {
                self.keep(now, 0, Message::ChannelFin(channel).encode());
            }
        }
        if theirs {
            self.channels.remove(&channel);
        }
    }

    /// Does what the time asks for: a keepalive, or the end of a connection on which nothing is heard.
    pub fn tick(&mut self, now: Duration) -> Result<(), RemoteError> {
        if self.connected && now >= self.heard_at + SILENCE {
            return Err(RemoteError::Silent);
        }
        if self.connected && now >= self.sent_at + KEEPALIVE {
            self.unkept(now, &Message::Keepalive);
        }
        Ok(())
    }

    /// When [`tick`](Self::tick) has something to do; absent: not before there is a connection.
    pub fn deadline(&self) -> Option<Duration> {
        self.connected.then(|| (self.sent_at + KEEPALIVE).min(self.heard_at + SILENCE))
    }

    /// How many octets are kept until they are acknowledged: a bound on them is for the caller to hold.
    pub fn unacknowledged(&self) -> usize {
        self.kept_octets
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn control(&mut self, now: Duration, octets: &[u8]) -> Result<(), RemoteError> {
        match Message::decode(octets)? {
            Message::Keepalive => Ok(()),
            Message::Ack(sequence) => match self.kept.pop_front() {
                Some(one) if one.sequence == sequence => {
                    self.kept_octets -= one.octets.len();
                    Ok(())
                }
                _ => Err(RemoteError::Acknowledgement(sequence)),
            },
            Message::ChannelNew(channel) if self.role == Role::Daemon => {
                if channel == 0 || self.channels.contains_key(&channel) {
                    return Err(RemoteError::Channel(channel));
                }
                self.acknowledge(now);
                self.channels.insert(channel, Channel::default());
                self.heard.push_back(Heard::Opened(channel));
                Ok(())
            }
            Message::ChannelFin(channel) => {
                self.acknowledge(now);
                let Some(one) = self.channels.get_mut(&channel) else {
                    return if self.role == Role::Master {
                        Ok(())
                    } else {
                        Err(RemoteError::NotOpen(channel))
                    };
                };
                if !std::mem::replace(&mut one.theirs, true) {
                    self.heard.push_back(Heard::Finished(channel));
                }
                if one.ours {
                    self.channels.remove(&channel);
                }
                Ok(())
            }
            _ => Err(RemoteError::Kind(octets.first().copied().unwrap_or(0))),
        }
    }

    fn connect(&mut self, now: Duration) {
        self.frames = Frames::default();
        self.out.clear();
        self.connected = true;
        self.sent_at = now;
        self.heard_at = now;
    }

    /// Forgets what the other side has got, and sends the rest.
    fn send_again(&mut self, from: u32) {
        while self.kept.front().is_some_and(|one| one.sequence != from) {
            if let Some(one) = self.kept.pop_front() {
                self.kept_octets -= one.octets.len();
            }
        }
        for one in &self.kept {
            wire::frame(one.sequence, one.channel, &one.octets, &mut self.out);
        }
    }

    /// Sends a message that is numbered and kept.
    fn keep(&mut self, now: Duration, channel: u32, octets: Vec<u8>) {
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        if self.connected {
            wire::frame(sequence, channel, &octets, &mut self.out);
            self.sent_at = now;
        }
        self.kept_octets += octets.len();
        self.kept.push_back(Kept { sequence, channel, octets });
    }

    /// Acknowledges the frame that is expected, which is here.
    fn acknowledge(&mut self, now: Duration) {
        self.unkept(now, &Message::Ack(self.expects));
        self.expects = self.expects.wrapping_add(1);
    }

    fn unkept(&mut self, now: Duration, message: &Message) {
        wire::frame(self.next, 0, &message.encode(), &mut self.out);
        self.sent_at = now;
    }
}
