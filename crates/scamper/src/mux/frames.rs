//! Frames out of a row of octets that is cut anywhere.

use super::MuxError;

/// Octets of a frame's header.
const HEADER: usize = 8;

/// A part of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A message on channel 0, whole.
    Control(Vec<u8>),
    /// Data of a channel. A frame may come in several pieces: where it ends means nothing.
    Data {
        /// The channel, never 0.
        channel: u32,
        /// Some of what it carries, never empty.
        octets: Vec<u8>,
    },
}

/// Takes a row of octets apart. It keeps a header, or a control message, and never a frame of data.
#[derive(Debug)]
pub struct Frames {
    /// The most octets of a control message.
    limit: u32,
    header: Vec<u8>,
    /// The frame that is being read.
    frame: Option<Frame>,
}

#[derive(Debug)]
struct Frame {
    channel: u32,
    left: u32,
    control: Vec<u8>,
}

impl Frames {
    /// Reads control messages of up to `limit` octets.
    pub fn new(limit: u32) -> Self {
        Self { limit, header: Vec::with_capacity(HEADER), frame: None }
    }

    /// The next piece of what comes, which `octets` is moved past; absent: more must come.
    pub fn next(&mut self, octets: &mut &[u8]) -> Result<Option<Piece>, MuxError> {
        loop {
            if self.frame.is_none() && !self.begin(octets)? {
                return Ok(None);
            }
            let Some(frame) = &mut self.frame else { return Ok(None) };
            let wanted = usize::try_from(frame.left).unwrap_or(usize::MAX);
            let (taken, rest) = octets.split_at(wanted.min(octets.len()));
            *octets = rest;
            frame.left -= u32::try_from(taken.len()).unwrap_or(frame.left);
            let (channel, left) = (frame.channel, frame.left);
            if channel == 0 {
                frame.control.extend_from_slice(taken);
            }
            let ended = if left == 0 { self.frame.take() } else { None };
            match ended {
                Some(frame) if channel == 0 => return Ok(Some(Piece::Control(frame.control))),
                _ if channel != 0 && !taken.is_empty() => {
                    return Ok(Some(Piece::Data { channel, octets: taken.to_vec() }));
                }
                // A frame of data without any.
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Reads a header; whether a frame has begun.
    fn begin(&mut self, octets: &mut &[u8]) -> Result<bool, MuxError> {
        let wanted = HEADER.saturating_sub(self.header.len()).min(octets.len());
        let (taken, rest) = octets.split_at(wanted);
        self.header.extend_from_slice(taken);
        *octets = rest;
        let &[c0, c1, c2, c3, l0, l1, l2, l3] = self.header.as_slice() else { return Ok(false) };
        self.header.clear();
        let channel = u32::from_be_bytes([c0, c1, c2, c3]);
        let left = u32::from_be_bytes([l0, l1, l2, l3]);
        if channel == 0 && left > self.limit {
            return Err(MuxError::TooLong { length: left, limit: self.limit });
        }
        self.frame = Some(Frame { channel, left, control: Vec::new() });
        Ok(true)
    }
}

/// Writes a frame behind what stands in `out`.
pub(super) fn write(channel: u32, octets: &[u8], out: &mut Vec<u8>) {
    // A length beyond 32 bits is cut into frames: where they end means nothing on a channel.
    for part in octets.chunks(1 << 30) {
        out.extend_from_slice(&channel.to_be_bytes());
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The control messages, and what each channel carried.
    fn read(frames: &mut Frames, mut octets: &[u8], out: &mut (Vec<Vec<u8>>, Vec<(u32, u8)>)) {
        while let Some(piece) = frames.next(&mut octets).unwrap() {
            match piece {
                Piece::Control(message) => out.0.push(message),
                Piece::Data { channel, octets } => out.1.extend(octets.into_iter().map(|o| (channel, o))),
            }
        }
        assert!(octets.is_empty());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            sent in proptest::collection::vec((0_u32..4, proptest::collection::vec(any::<u8>(), 1..40)), 0..20),
            cuts in proptest::collection::vec(1_usize..30, 1..60),
        ) {
            let mut wire = Vec::new();
            for (channel, octets) in &sent {
                write(*channel, octets, &mut wire);
            }
            let (mut frames, mut out) = (Frames::new(64), (Vec::new(), Vec::new()));
            let mut rest = wire.as_slice();
            for cut in cuts.iter().cycle().take(wire.len()) {
                let (piece, later) = rest.split_at((*cut).min(rest.len()));
                read(&mut frames, piece, &mut out);
                rest = later;
            }
            let control: Vec<_> = sent.iter().filter(|(channel, _)| *channel == 0).map(|(_, o)| o.clone()).collect();
            let data: Vec<_> = sent.iter().filter(|(channel, _)| *channel != 0)
                .flat_map(|(channel, o)| o.iter().map(|o| (*channel, *o))).collect();
            prop_assert_eq!(out, (control, data));
        }
    }

    #[test]
    fn a_long_message_is_refused_before_it_comes() {
        let mut wire: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 65];
        assert_eq!(Frames::new(64).next(&mut wire), Err(MuxError::TooLong { length: 65, limit: 64 }));
    }

    #[test]
    fn empty_frames_mean_nothing() {
        let mut wire: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 7];
        let piece = Frames::new(64).next(&mut wire).unwrap();
        assert_eq!(piece, Some(Piece::Data { channel: 2, octets: vec![7] }));
    }
}
