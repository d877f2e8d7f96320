//! The inputs of one measurement, packed: each is stored once, however many vantage points measure it.

use bytes::{BufMut, Bytes, BytesMut};
use mmn_schema::cbor;
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::Encoding;

/// Inputs by position. Nothing is ever removed.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    full: Vec<Chunk>,
    tail: BytesMut,
    ends: Vec<u32>,
    len: u64,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    ends: Box<[u32]>,
}

/// How many inputs a chunk has.
const CHUNK: usize = 4096;

/// The form of an input's bytes, in their first byte.
const NOTHING: u8 = 0;
const TARGET: u8 = 1;
const OTHER: u8 = 2;

impl Inputs {
    pub(crate) fn push(&mut self, input: &Input) {
        match input {
            Input::Nothing => self.tail.put_u8(NOTHING),
            Input::Target(target) => {
                self.tail.put_u8(TARGET);
                self.tail.put_slice(target.as_bytes());
            }
            other => {
                self.tail.put_u8(OTHER);
                // A list of texts or an id: there is nothing in it that could not be written.
                self.tail.put_slice(&Encoding::Cbor.encode(other).unwrap_or_default());
            }
        }
        self.ends.push(u32::try_from(self.tail.len()).unwrap_or(u32::MAX));
        self.len += 1;
        if self.ends.len() == CHUNK {
            // A copy of the exact size: the tail keeps its room for the next chunk.
            let bytes = Bytes::copy_from_slice(&self.tail);
            self.full.push(Chunk { bytes, ends: self.ends.as_slice().into() });
            self.tail.clear();
            self.ends.clear();
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn input(&self, position: u64) -> Option<Input> {
        let (form, rest) = self.packed(position)?;
        Some(match form {
            NOTHING => Input::Nothing,
            TARGET => Input::Target(std::str::from_utf8(rest).ok()?.to_owned()),
            _ => Encoding::Cbor.decode(rest).ok()?,
        })
    }

    /// Writes an input as CBOR; null where there is none.
    pub(crate) fn put(&self, position: u64, to: &mut Vec<u8>) {
        match self.packed(position) {
            Some((TARGET, text)) => cbor::put_text(to, std::str::from_utf8(text).unwrap_or_default()),
            Some((OTHER, bytes)) => to.extend_from_slice(bytes),
            _ => cbor::put_null(to),
        }
    }

    /// About how many bytes an input takes.
    pub(crate) fn size(&self, position: u64) -> usize {
        self.packed(position).map_or(1, |(_, bytes)| bytes.len() + 4)
    }

    /// The form of an input, and its bytes.
    fn packed(&self, position: u64) -> Option<(u8, &[u8])> {
        let position = usize::try_from(position).ok()?;
        let (bytes, ends) = match self.full.get(position / CHUNK) {
            Some(chunk) => (&chunk.bytes[..], &chunk.ends[..]),
            None if position / CHUNK == self.full.len() => (&self.tail[..], &self.ends[..]),
            None => return None,
        };
        let at = position % CHUNK;
        let end = *ends.get(at)? as usize;
        let start = at.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |&start| start as usize);
        let (form, rest) = bytes.get(start..end)?.split_first()?;
        Some((*form, rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Nothing),
            "\\PC{0,20}".prop_map(Input::Target),
            prop::collection::vec("[a-z.]{0,9}", 0..4).prop_map(Input::Targets),
            "[a-z2-7]{16}".prop_map(|vp| Input::Peer { vp: vp.parse().unwrap() }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(some in prop::collection::vec(any_input(), 1..40), repeat in 1..300usize) {
            let mut inputs = Inputs::default();
            let all: Vec<_> = some.iter().cycle().take(some.len() * repeat).collect();
            for input in &all {
                inputs.push(input);
            }
            prop_assert_eq!(inputs.len(), all.len() as u64);
            for (position, input) in all.iter().enumerate() {
                prop_assert_eq!(inputs.input(position as u64), Some((*input).clone()));
            }
            prop_assert_eq!(inputs.input(all.len() as u64), None);
        }
    }

    #[test]
    fn a_million_targets_take_little_room() {
        let mut inputs = Inputs::default();
        for n in 0..1_000_000u32 {
            inputs.push(&Input::Target(std::net::Ipv4Addr::from(n.wrapping_mul(2_654_435_761)).to_string()));
        }
        let bytes: usize = inputs.full.iter().map(|chunk| chunk.bytes.len() + chunk.ends.len() * 4).sum();
        assert!(bytes < 20_000_000, "{bytes}");
    }
}
