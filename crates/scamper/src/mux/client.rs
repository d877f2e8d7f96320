//! The side that measures by way of a mux.

use std::collections::{BTreeSet, VecDeque};

use super::{Frames, Message, MuxError, Piece, Vp, frames};

/// The most octets of a control message: what is said of a vantage point has no other bound.
const LIMIT: u32 = 16 << 20;

/// A connection to a mux, without the connection. What [`take`](Self::take) gives is to be sent.
#[derive(Debug)]
pub struct Client {
    frames: Frames,
    open: BTreeSet<u32>,
    next: u32,
    heard: VecDeque<Heard>,
    out: Vec<u8>,
}

/// What a mux said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A vantage point is there, or has changed.
    Vp(Vp),
    /// A vantage point is gone, by its instance.
    Departed(u32),
    /// All vantage points that are there now have been told of. It comes once.
    Go,
    /// Some of what a channel carries.
    Data {
        /// The channel.
        channel: u32,
        /// Some octets.
        octets: Vec<u8>,
    },
    /// A channel was closed by the mux, and may be opened anew.
    Closed(u32),
}

impl Default for Client {
    fn default() -> Self {
        Self {
            frames: Frames::new(LIMIT),
            open: BTreeSet::new(),
            next: 1,
            heard: VecDeque::new(),
            out: Vec::new(),
        }
    }
}

impl Client {
    /// Takes what came. After an error the connection is of no more use.
    pub fn receive(&mut self, mut octets: &[u8]) -> Result<(), MuxError> {
        while let Some(piece) = self.frames.next(&mut octets)? {
            match piece {
                Piece::Data { channel, octets } => self.heard.push_back(Heard::Data { channel, octets }),
                Piece::Control(message) => match Message::decode(&message)? {
                    Message::VpUpdate(vp) => self.heard.push_back(Heard::Vp(vp)),
                    Message::VpDepart(instance) => self.heard.push_back(Heard::Departed(instance)),
                    Message::Go => self.heard.push_back(Heard::Go),
                    Message::ChannelClose(channel) => {
                        if self.open.remove(&channel) {
                            self.heard.push_back(Heard::Closed(channel));
                        }
                    }
                    Message::ChannelOpen { .. } | Message::Unknown(_) => {}
                },
            }
        }
        Ok(())
    }

    /// The next thing that was said.
    pub fn poll(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Opens a channel to a vantage point and gives its number.
    pub fn open(&mut self, instance: u32) -> u32 {
        let mut channel = self.next.max(1);
        while self.open.contains(&channel) {
            channel = channel.wrapping_add(1).max(1);
        }
        self.next = channel.wrapping_add(1);
        self.open.insert(channel);
        Message::ChannelOpen { instance, channel }.encode(&mut self.out);
        channel
    }

    /// Sends octets on a channel.
    pub fn send(&mut self, channel: u32, octets: &[u8]) {
        frames::write(channel, octets, &mut self.out);
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}
