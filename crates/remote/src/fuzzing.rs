//! What a daemon may say, for the fuzz targets.

use std::time::Duration;

use mmn_scamper::remote::Magic;
use mmn_warts::Record;

use crate::desk::Desk;
use crate::kinds;

/// A daemon that says anything, to one that asked it for something.
pub fn desk(octets: &[u8]) {
    let mut desk = Desk::new(Magic::new([7; 8]), Duration::ZERO);
    desk.ask(Duration::ZERO, 1, "ping -U 1 192.0.2.1");
    for piece in octets.chunks(1 + octets.len() / 3) {
        if desk.receive(Duration::ZERO, piece).is_err() {
            break;
        }
        desk.call_off(Duration::ZERO, 1);
        while desk.poll().is_some() {}
        desk.take();
    }
}

/// Whatever record comes for whatever question becomes a result or none.
pub fn record(octets: &[u8]) {
    if let Ok(record) = Record::from_octets(octets) {
        kinds::any(&record);
    }
}
