//! What a module reads, for fuzzing. A panic is a broken promise.
#![expect(clippy::missing_panics_doc, reason = "a panic is how a finding is told")]

use std::fs::File;

use super::orders;
use super::settings::{FromNode, change, endowment};
use crate::net::pass::Parcel;

/// A message of the node to a module; its first octet says how many descriptors come along.
pub fn from_node(bytes: &[u8]) {
    let Some((count, bytes)) = bytes.split_first() else { return };
    let descriptors = (0..count % 4).filter_map(|_| File::open("/dev/null").ok()).map(Into::into).collect();
    let parcel = Parcel { bytes: bytes.to_vec(), descriptors };
    if let Ok(message) = change(&parcel) {
        let Ok(written) = serde_json::to_vec(&message) else { panic!("{message:?} can't be written") };
        let again = change(&Parcel { bytes: written, descriptors: Vec::new() });
        assert!(again.is_ok_and(|again| again == message), "{message:?} reads as another");
    }
    let sockets = match change(&parcel) {
        Ok(FromNode::Settings(settings)) => Some(settings.sockets.len()),
        _ => None,
    };
    let fits = sockets.is_some_and(|sockets| sockets + 1 == parcel.descriptors.len());
    let taken = endowment(parcel);
    assert_eq!(taken.is_ok(), fits);
    assert!(taken.is_ok_and(|taken| taken.page.is_some() && Some(taken.sockets.len()) == sockets) == fits);
}

/// A target, as one that may hold an address.
pub fn literal(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = orders::literal(text);
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        assert_eq!(orders::literal(&format!("https://[{address}]:443/a")), Some(address));
    }
}
