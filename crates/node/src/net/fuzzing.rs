//! What comes beside packets and over the socket to the node, for fuzzing. A panic is a broken promise.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::{bulk, control, pass};

/// Control messages as the kernel writes them beside a packet.
pub fn control_messages(bytes: &[u8]) {
    let _ = control::decode(bytes);
}

/// A block of a receive ring.
pub fn bulk_ring(bytes: &[u8]) {
    bulk::ring::frames(bytes, &mut |frame| assert!(frame.bytes.len() <= bytes.len()));
}

/// What the kernel says of routes, neighbours and links.
pub fn rtnetlink(bytes: &[u8]) {
    bulk::netlink::read(bytes);
}

/// Messages over the socket between node and module. What was received can be sent, and arrives as the same.
pub fn parcels(bytes: &[u8]) {
    // More would wait for a reader.
    let Some(bytes) = bytes.get(..bytes.len().min(16 << 10)) else { return };
    let pairs = (UnixStream::pair(), UnixStream::pair());
    let (Ok((mut writer, reader)), Ok((here, there))) = pairs else {
        panic!("the system has no sockets left")
    };
    assert!(writer.write_all(bytes).is_ok(), "the socket took less than 16 KiB");
    drop(writer);
    while let Ok(Some(parcel)) = pass::receive(&reader) {
        assert!(parcel.descriptors.is_empty(), "descriptors out of nowhere");
        let sent = pass::send(&here, &parcel.bytes, &[]);
        let Ok(Some(again)) = sent.and_then(|()| pass::receive(&there)) else {
            panic!("{parcel:?} is stuck")
        };
        assert_eq!(again.bytes, parcel.bytes);
    }
}
