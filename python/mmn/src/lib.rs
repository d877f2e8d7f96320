//! The native half of the Python module `mmn`: the connection, what waits on it, and results that are decoded when they are
//! looked at.
//!
//! The work is done on a thread of its own, in [`runtime`]; Python's threads wait without the interpreter's lock, and are given
//! whole batches. Nothing here knows a kind: the classes of kinds are generated (`python/mmn/kinds/`), and are made of
//! [`record::Record`], [`record::Part`] and [`field::Field`].
//!
//! Modules of a network are another matter: see [`module`].
//!
//! Begin with `connection.rs`, what is asked; then `stream.rs`, what comes back; `record.rs`, a result.

#![expect(clippy::needless_pass_by_value, reason = "what Python calls is given values of its own")]

mod clock;
mod connection;
mod errors;
mod field;
mod module;
mod pending;
mod record;
mod runtime;
mod stream;
mod value;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<connection::Connection>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<stream::Stream>()?;
    module.add_class::<record::Record>()?;
    module.add_class::<record::Part>()?;
    module.add_class::<field::Field>()?;
    module.add_function(wrap_pyfunction!(record::decode, module)?)?;
    module.add_function(wrap_pyfunction!(record::decode_json, module)?)?;
    module.add_function(wrap_pyfunction!(stream::wait_any, module)?)?;
    module::add(module)
}
