//! Files of warts, and records of each type.

use mmn_warts::{Reader, Record, Unpack, Writer};

/// A file, packed or not. What is read of it is written, and read again to the same.
pub(crate) fn file(bytes: &[u8]) {
    let Ok(unpacked) = Unpack::new(bytes) else { return };
    let mut reader = Reader::new(unpacked).with_limit(1 << 20);
    let mut writer = Writer::new(Vec::new());
    // A little that is packed may be a lot.
    for _ in 0..1_000 {
        match reader.read() {
            Ok(Some(record)) => {
                let _ = mmn_warts::json::value(&record, reader.tables());
                writer.write(&record).unwrap_or_else(|error| panic!("{record:?}: {error}"));
            }
            Ok(None) => break,
            Err(error) => {
                assert!(error.offset() <= reader.offset());
                if error.is_last() {
                    break;
                }
            }
        }
    }
}

/// A record: an octet for its type, and what it holds.
pub(crate) fn record(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let Ok(length) = u32::try_from(content.len()) else { return };
    let framed = [&[0x12, 0x05, 0, *kind][..], &length.to_be_bytes(), content].concat();
    let Ok(record) = Record::from_octets(&framed) else { return };
    let written = record.to_octets().unwrap_or_else(|error| panic!("{record:?}: {error}"));
    let again = Record::from_octets(&written).unwrap_or_else(|error| panic!("{record:?}: {error}"));
    assert_eq!(again, record);
    let _ = (mmn_warts::json::value(&record, Reader::new(&[][..]).tables()), record.about());
}
