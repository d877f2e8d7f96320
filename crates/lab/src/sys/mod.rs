//! What the driver in network namespaces asks of the system. The only place of this crate with `unsafe`.
//!
//! [`spaces`] makes namespaces and enters them, [`netlink`] and [`ethernet`] set up what is in them, [`packets`] is the
//! socket by which a world hears and speaks, [`children`] are processes and signals.

pub(crate) mod children;
pub(crate) mod ethernet;
pub(crate) mod netlink;
pub(crate) mod packets;
pub(crate) mod spaces;
