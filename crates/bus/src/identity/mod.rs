//! Who may do what on the bus: NKEYs, JWTs and the files that carry them.
//!
//! The tree of trust is the one of NATS: an operator signs an account, the account lists one
//! signing key per [`Role`] together with the permissions of that role, and a user's JWT, signed
//! by such a key, carries only a name, tags and an expiry. A stolen signing key therefore can not
//! widen rights: they come from the account.
//!
//! Nothing here reads a clock: instants are arguments, in seconds since 1970 UTC.
//!
//! Begin at [`Keyset`] (what a network owns), then [`Issuer`] (makes users) and [`Trust`]
//! (verifies them). The rights themselves are in [`permissions`].

mod creds;
mod directory;
mod issuer;
mod jwt;
mod keyset;
mod nkey;
pub mod permissions;
mod trust;

pub use creds::{Creds, CredsError};
pub use directory::{CREDS, NodeVps, WriteError, write_anchor, write_module, write_node};
pub use issuer::{IssueError, Issuer, UserRequest};
pub use jwt::{Jwt, JwtError};
pub use keyset::{Keyset, KeysetError, ServerTrust};
pub use nkey::{NkeyError, PublicKey, Seed, verify_signature};
pub use permissions::Role;
pub use trust::{Claims, Trust, TrustError};

/// The prefix of the inboxes of one user: replies to it arrive below, and no other module or node
/// may read there.
///
/// Any NATS client can use it (`inbox_prefix` in nats-py, `--inbox-prefix` in the `nats` tool).
pub fn inbox_prefix(user: &PublicKey) -> String {
    format!("_INBOX.{user}")
}
