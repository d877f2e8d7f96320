//! Several small measurements in one message of a stream: under load they share its costs.
//!
//! A message holds a list of ids, each with what would otherwise be a message of its own. Its subject is that of the
//! second in which the ids were made, so that one who looks for a measurement reads the messages of a second at most.

use bytes::Bytes;
use mmn_schema::cbor::{Items, put_array, put_bytes, put_text};
use mmn_schema::id::MeasurementId;

/// The most tasks of a measurement that shares messages with others.
pub(crate) const SMALL_TASKS: u64 = 64;

/// Writes a message.
pub(crate) fn write(parts: &[(MeasurementId, Bytes)]) -> Vec<u8> {
    let bytes: usize = parts.iter().map(|(_, part)| part.len() + MeasurementId::LEN + 8).sum();
    let mut to = Vec::with_capacity(bytes + 8);
    put_array(&mut to, parts.len());
    for (id, part) in parts {
        put_array(&mut to, 2);
        put_text(&mut to, &id.to_string());
        put_bytes(&mut to, part);
    }
    to
}

/// Reads a message; `None` where it is none.
pub(crate) fn read(message: &Bytes) -> Option<Vec<(MeasurementId, Bytes)>> {
    let mut items = Items::new(message);
    let mut parts = Vec::new();
    for _ in 0..items.array()? {
        (items.array()? == 2).then_some(())?;
        let id = items.text()?.parse().ok()?;
        parts.push((id, message.slice_ref(items.bytes()?)));
    }
    items.is_at_end().then_some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in prop::collection::vec((0..1u64 << 48, any::<Vec<u8>>()), 0..9)) {
            let part = |(ms, bytes): (u64, Vec<u8>)| (MeasurementId::new(ms, &[5; 10]), Bytes::from(bytes));
            let parts: Vec<_> = parts.into_iter().map(part).collect();
            prop_assert_eq!(read(&write(&parts).into()), Some(parts));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = read(&bytes.into());
        }
    }
}
