//! The messages of channel 0: a type (u16) and what belongs to it.

use super::{MuxError, Vp, frames};

/// A message of channel 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// 0, from the server: a vantage point is there, or has changed.
    VpUpdate(Vp),
    /// 1, from the server: a vantage point is gone, by its instance.
    VpDepart(u32),
    /// 2, from the server: all vantage points that are there now have been told of.
    Go,
    /// 3, from the client: a channel is opened.
    ChannelOpen {
        /// The vantage point.
        instance: u32,
        /// The client's number of the channel, not 0.
        channel: u32,
    },
    /// 4, from the server: a channel is closed. A client ends a channel with the line `done`.
    ChannelClose(u32),
    /// A type that is not known.
    Unknown(u16),
}

impl Message {
    /// Reads a message, which is what a frame of channel 0 carries.
    pub fn decode(octets: &[u8]) -> Result<Self, MuxError> {
        let (kind, body) = octets.split_first_chunk::<2>().ok_or(MuxError::NoType(octets.len()))?;
        let kind = u16::from_be_bytes(*kind);
        let wrong = MuxError::Length { kind, length: octets.len() };
        match kind {
            0 => match body.split_first_chunk::<4>() {
                Some((instance, attributes)) => {
                    Vp::read(u32::from_be_bytes(*instance), attributes).map(Self::VpUpdate)
                }
                None => Err(wrong),
            },
            1 => number(body).map(Self::VpDepart).ok_or(wrong),
            2 => Ok(Self::Go),
            3 => match body.split_first_chunk::<4>() {
                Some((instance, channel)) => {
                    let (instance, channel) = (u32::from_be_bytes(*instance), number(channel).ok_or(wrong)?);
                    Ok(Self::ChannelOpen { instance, channel })
                }
                None => Err(wrong),
            },
            4 => number(body).map(Self::ChannelClose).ok_or(wrong),
            other => Ok(Self::Unknown(other)),
        }
    }

    /// Writes the message as a frame of channel 0, behind what stands in `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let (kind, numbers): (u16, &[u32]) = match self {
            Self::VpUpdate(_) => (0, &[]),
            Self::VpDepart(instance) => (1, &[*instance]),
            Self::Go => (2, &[]),
            Self::ChannelOpen { instance, channel } => (3, &[*instance, *channel]),
            Self::ChannelClose(channel) => (4, &[*channel]),
            Self::Unknown(kind) => (*kind, &[]),
        };
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        if let Self::VpUpdate(vp) = self {
            vp.write(&mut body);
        }
        frames::write(0, &body, out);
    }
}

fn number(octets: &[u8]) -> Option<u32> {
    octets.first_chunk::<4>().filter(|_| octets.len() == 4).map(|octets| u32::from_be_bytes(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mux::Attribute;

    fn body(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out.get(..4), Some(&[0, 0, 0, 0][..]));
        out.split_off(8)
    }

    #[test]
    fn messages_come_back() {
        let vp = Vp::new(7)
            .with(Attribute::Name, "ams-nl")
            .with(Attribute::Tag, "a")
            .with(Attribute::Tag, "b")
            .with(Attribute::AsnOfIpv6, "64500");
        for message in [
            Message::VpUpdate(vp.clone()),
            Message::VpDepart(7),
            Message::Go,
            Message::ChannelOpen { instance: 7, channel: 1 },
            Message::ChannelClose(1),
            Message::Unknown(9),
        ] {
            assert_eq!(Message::decode(&body(&message)).unwrap(), message);
        }
        assert_eq!(vp.all(Attribute::Tag).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn bytes_are_those_of_the_wire() {
        let vp = Vp::new(1).with(Attribute::Name, "a").with(Attribute::Iata, "AMS");
        assert_eq!(body(&Message::VpUpdate(vp)), b"\0\0\0\0\0\x01\0\x01a\0\0\x0bAMS\0");
        assert_eq!(body(&Message::ChannelOpen { instance: 1, channel: 2 }), b"\0\x03\0\0\0\x01\0\0\0\x02");
    }

    #[test]
    fn unknown_attributes_are_passed_over() {
        let read = Message::decode(b"\0\0\0\0\0\x01\0\x63what\0\0\x01a\0").unwrap();
        assert_eq!(read, Message::VpUpdate(Vp::new(1).with(Attribute::Name, "a")));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        assert_eq!(Message::decode(b"\0"), Err(MuxError::NoType(1)));
        assert_eq!(Message::decode(b"\0\x01\0"), Err(MuxError::Length { kind: 1, length: 3 }));
        assert_eq!(Message::decode(b"\0\0\0\0\0\x01\0\x01a"), Err(MuxError::NoEnd(1)));
    }
}
