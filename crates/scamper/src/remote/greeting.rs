//! What a connection begins with, before there is a session.

use super::wire::{self, Frames, Message};
use super::{Magic, MonitorName, RemoteError, Resume};

/// Reads what a new connection begins with. After [`reject`] the same one reads the next attempt.
#[derive(Debug, Default)]
pub struct Greeting {
    frames: Frames,
}

/// Who connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeted {
    /// A daemon without a session.
    New {
        /// What its session is named.
        magic: Magic,
        /// What it calls itself.
        name: Option<MonitorName>,
    },
    /// A daemon that comes back.
    Resume(Resume),
    /// To a daemon: it has a session, and is called this.
    Id(String),
    /// To a daemon: its session goes on, and this number is expected next.
    Ok(u32),
    /// To a daemon: its session is not known. It has to begin anew.
    Rejected,
}

impl Greeting {
    /// Takes what came; `octets` is moved past what it read, and what is left belongs to the session.
    pub fn receive(&mut self, octets: &mut &[u8]) -> Result<Option<Greeted>, RemoteError> {
        let Some(frame) = self.frames.next(octets)? else { return Ok(None) };
        if frame.sequence != 0 {
            return Err(RemoteError::Sequence { wanted: 0, found: frame.sequence });
        }
        if frame.channel != 0 {
            return Err(RemoteError::NotOpen(frame.channel));
        }
        match Message::decode(&frame.octets)? {
            Message::MasterNew { magic, name } => Ok(Some(Greeted::New { magic, name })),
            Message::MasterResume(resume) => Ok(Some(Greeted::Resume(resume))),
            Message::MasterId(id) => Ok(Some(Greeted::Id(id))),
            Message::MasterOk(expects) => Ok(Some(Greeted::Ok(expects))),
            Message::MasterReject => Ok(Some(Greeted::Rejected)),
            _ => Err(RemoteError::Kind(frame.octets.first().copied().unwrap_or(0))),
        }
    }
}

/// What a new daemon sends first.
pub fn greet(magic: &Magic, name: Option<&MonitorName>) -> Vec<u8> {
    of(&Message::MasterNew { magic: magic.clone(), name: name.cloned() })
}

/// What a daemon sends first that comes back.
pub fn resume(resume: &Resume) -> Vec<u8> {
    of(&Message::MasterResume(resume.clone()))
}

/// The answer to a new daemon: what it is called, its address and port.
pub fn accept(id: &str) -> Vec<u8> {
    of(&Message::MasterId(id.to_owned()))
}

/// The answer to a daemon whose session is not known: it begins anew on the same connection.
pub fn reject() -> Vec<u8> {
    of(&Message::MasterReject)
}

/// The answer to a daemon whose session goes on: the number that is expected next.
pub(super) fn go_on(expects: u32) -> Vec<u8> {
    of(&Message::MasterOk(expects))
}

fn of(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    wire::frame(0, 0, &message.encode(), &mut out);
    out
}
