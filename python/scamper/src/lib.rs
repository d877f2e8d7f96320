//! The native half of the Python module `scamper`: records of warts files as Python objects, the files, and the sockets of
//! vantage points.
//!
//! An object of a result holds the record as it was read, and makes what is asked for when it is asked for. Nothing here
//! knows the commands of scamper: those are in the Python half (`python/scamper/_ctrl.py`), as are the classes for
//! numbers that have names (`_enums.py`).
//!
//! The names of classes, attributes and methods are those of CAIDA's module, so that scripts written for it run.
//!
//! Begin with `item.rs`, what every result has; then `ping.rs`, a result; `file.rs` and `wires.rs`.

#![expect(
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "what a class of Python has is a method of an object, and says of itself that it may be None"
)]

mod addr;
mod dealias;
mod enums;
mod file;
mod host;
mod host_rr;
mod http;
mod icmpext;
mod item;
mod list;
mod others;
mod owamp;
mod ping;
mod text;
mod trace;
mod tracelb;
mod udpprobe;
mod wires;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<addr::ScamperAddr>()?;
    module.add_class::<list::ScamperList>()?;
    module.add_class::<list::ScamperCycle>()?;
    module.add_class::<file::ScamperFile>()?;
    module.add_class::<wires::Wires>()?;
    icmpext::add(module)?;
    ping::add(module)?;
    trace::add(module)?;
    tracelb::add(module)?;
    dealias::add(module)?;
    host::add(module)?;
    host_rr::add(module)?;
    http::add(module)?;
    udpprobe::add(module)?;
    owamp::add(module)?;
    others::add(module)
}
