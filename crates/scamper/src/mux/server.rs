//! The side that offers vantage points.

use std::collections::{BTreeSet, VecDeque};

use super::{Frames, Message, MuxError, Piece, Vp, frames};

/// The most octets of a control message: the longest that a client has to send takes ten.
const LIMIT: u32 = 4096;

/// A connection of a client, without the connection. What [`take`](Self::take) gives is to be sent.
#[derive(Debug)]
pub struct Server {
    frames: Frames,
    open: BTreeSet<u32>,
    asked: VecDeque<Asked>,
    out: Vec<u8>,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A channel to a vantage point. Whether it is there is for the caller to see; [`Server::close`] turns it down.
    Open {
        /// The channel.
        channel: u32,
        /// The vantage point.
        instance: u32,
    },
    /// Some of what a channel carries.
    Data {
        /// The channel.
        channel: u32,
        /// Some octets.
        octets: Vec<u8>,
    },
}

impl Default for Server {
    fn default() -> Self {
        Self { frames: Frames::new(LIMIT), open: BTreeSet::new(), asked: VecDeque::new(), out: Vec::new() }
    }
}

impl Server {
    /// Takes what came. After an error the connection is to be closed: the client is out of step.
    pub fn receive(&mut self, mut octets: &[u8]) -> Result<(), MuxError> {
        while let Some(piece) = self.frames.next(&mut octets)? {
            match piece {
                Piece::Data { channel, octets } if self.open.contains(&channel) => {
                    self.asked.push_back(Asked::Data { channel, octets });
                }
                // It crossed the message that closed the channel.
                Piece::Data { .. } => {}
                Piece::Control(message) => {
                    if let Message::ChannelOpen { instance, channel } = Message::decode(&message)? {
                        if channel == 0 || !self.open.insert(channel) {
                            return Err(MuxError::Channel(channel));
                        }
                        self.asked.push_back(Asked::Open { channel, instance });
                    }
                }
            }
        }
        Ok(())
    }

    /// The next thing that is asked for.
    pub fn poll(&mut self) -> Option<Asked> {
        self.asked.pop_front()
    }

    /// Tells of a vantage point that is there, or has changed.
    pub fn update(&mut self, vp: Vp) {
        Message::VpUpdate(vp).encode(&mut self.out);
    }

    /// Tells that a vantage point is gone.
    pub fn depart(&mut self, instance: u32) {
        Message::VpDepart(instance).encode(&mut self.out);
    }

    /// Tells that all vantage points that are there now have been told of.
    pub fn go(&mut self) {
        Message::Go.encode(&mut self.out);
    }

    /// Sends octets on a channel, if it is open.
    pub fn send(&mut self, channel: u32, octets: &[u8]) {
        if self.open.contains(&channel) {
            frames::write(channel, octets, &mut self.out);
        }
    }

    /// Closes a channel.
    pub fn close(&mut self, channel: u32) {
        if self.open.remove(&channel) {
            Message::ChannelClose(channel).encode(&mut self.out);
        }
    }

    /// How many octets wait to be sent.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }

    /// What is to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mux::{Attribute, Client, Heard};

    #[test]
    fn both_sides_understand_each_other() {
        let (mut server, mut client) = (Server::default(), Client::default());
        let vp = Vp::new(3).with(Attribute::Name, "x".repeat(5_000));
        server.update(vp.clone());
        server.go();
        for octet in server.take() {
            client.receive(&[octet]).unwrap();
        }
        assert_eq!(client.poll(), Some(Heard::Vp(vp)));
        assert_eq!(client.poll(), Some(Heard::Go));
        let channel = client.open(3);
        client.send(channel, b"ping 192.0.2.1\n");
        server.receive(&client.take()).unwrap();
        assert_eq!(server.poll(), Some(Asked::Open { channel, instance: 3 }));
        assert_eq!(server.poll(), Some(Asked::Data { channel, octets: b"ping 192.0.2.1\n".to_vec() }));
        server.send(channel, b"OK id-1\n");
        server.depart(3);
        server.close(channel);
        server.send(channel, b"too late");
        client.receive(&server.take()).unwrap();
        assert_eq!(client.poll(), Some(Heard::Data { channel, octets: b"OK id-1\n".to_vec() }));
        assert_eq!(client.poll(), Some(Heard::Departed(3)));
        assert_eq!(client.poll(), Some(Heard::Closed(channel)));
        assert_eq!(client.poll(), None);
        assert_eq!(client.open(3), channel + 1);
    }

    #[test]
    fn a_channel_is_opened_once() {
        let mut open = Vec::new();
        Message::ChannelOpen { instance: 1, channel: 1 }.encode(&mut open);
        let mut server = Server::default();
        server.receive(&open).unwrap();
        assert_eq!(server.receive(&open), Err(MuxError::Channel(1)));
    }
}
