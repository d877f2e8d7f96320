//! What each role may publish and subscribe, as templates that the server fills in for each user:
//! `{{name()}}` is the user's name, `{{tag(vp)}}` the value of each of its `vp:` tags,
//! `{{subject()}}` its public NKEY.
//!
//! | role | user name | tags |
//! |---|---|---|
//! | anchor | the anchor's id | none |
//! | node | the node's name | `vp:<id>`, one for each VP |
//! | module | the instance's id | `vp:<id>`, one for each VP it serves |
//!
//! Replies need no permission of their own: who receives a request may answer it (up to
//! [`RESPONSES_MAX`] messages within [`RESPONSES_TTL_S`]). Inboxes are below
//! `_INBOX.<public NKEY>`, so that nobody reads the replies of another. Receipts, of which there are many, go to
//! subjects that an instance may publish anyway: there the server keeps no record of them.

use std::fmt;
use std::str::FromStr;

use mmn_schema::subject::Prefix;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The queue group of the pool subjects. It is the default of ADR-32, so that the micro-service
/// libraries of NATS use it unasked.
///
/// A member outside it gets a second copy of each task. No permission can forbid that: the server
/// leaves out a rule that names a queue group as soon as one rule of the list is a template.
pub const POOL_QUEUE: &str = "q";

/// How many messages may answer one request: a reply in parts and its end.
pub const RESPONSES_MAX: u32 = 16;

/// How long a request may be answered, in seconds.
///
/// The server keeps a record of each reply subject until then, and beyond 4,096 records of one
/// connection it goes through all of them at each request. It counts a reply subject's uses as long as it knows it,
/// whichever request they answer: one that is used again fails once in a while.
pub const RESPONSES_TTL_S: u32 = 30;

/// The most that a module or node may put into one message, in bytes.
pub const PAYLOAD_MAX_BYTES: u32 = 1024 * 1024;

/// What a user of the bus is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The management plane.
    Anchor,
    /// The supervisor of the modules of one or more VPs.
    Node,
    /// One instance of a module.
    Module,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Anchor, Self::Node, Self::Module];

    /// The name in files and in the account's JWT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchor => "anchor",
            Self::Node => "node",
            Self::Module => "module",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// Not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a role: anchor, node or module")]
pub struct UnknownRole;

/// The subjects of one role, with templates in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What it may publish.
    pub publish: Vec<String>,
    /// What it may subscribe.
    pub subscribe: Vec<String>,
    /// The most in one message, in bytes; `None` leaves it to the server.
    pub payload_max_bytes: Option<u32>,
}

/// The rights of `role` in the network with `prefix`.
pub fn template(role: Role, prefix: &Prefix) -> Template {
    let own = |tail: &str| format!("{prefix}.{tail}");
    let mut publish = vec!["_INBOX.{{subject()}}.>".to_owned()];
    let mut subscribe = publish.clone();
    match role {
        Role::Anchor => {
            let all = format!("{prefix}.>");
            publish.extend([all.clone(), "$KV.>".into(), "$SRV.>".into()]);
            publish.extend(["$JS.API.>".into(), "$JS.ACK.>".into(), "$JS.FC.>".into()]);
            subscribe.extend([all, "$KV.>".into(), "$SRV.>".into()]);
            subscribe.push("$JS.EVENT.>".into());
        }
        Role::Node => {
            publish.extend([
                own("modules.announce"),
                own("v1.hb.{{tag(vp)}}.>"),
                // It drains the modules that it stops.
                own("v1.ctl.{{tag(vp)}}.*"),
                own("v1.enrol.{{tag(vp)}}"),
                own("v1.evt.*"),
            ]);
            subscribe.extend([
                own("modules.discover"),
                own("v1.node.{{tag(vp)}}"),
                // It says which of its modules have not been heard.
                own("v1.hb.{{tag(vp)}}.*"),
            ]);
        }
        Role::Module => {
            publish.extend([
                own("modules.announce"),
                own("v1.hb.{{tag(vp)}}.{{name()}}"),
                own("v1.res.{{tag(vp)}}.>"),
                own("v1.rcpt.{{tag(vp)}}.{{name()}}.*.*"),
            ]);
            subscribe.extend([
                own("modules.discover"),
                own("v1.task.{{tag(vp)}}.*.{{name()}}"),
                own("v1.pool.{{tag(vp)}}.*"),
                own("v1.pool.any.*"),
                own("v1.ctl.{{tag(vp)}}.{{name()}}"),
            ]);
            for verb in ["PING", "INFO", "STATS"] {
                subscribe.extend([format!("$SRV.{verb}"), format!("$SRV.{verb}.>")]);
            }
        }
    }
    Template { publish, subscribe, payload_max_bytes: (role != Role::Anchor).then_some(PAYLOAD_MAX_BYTES) }
}

impl Template {
    /// The form it has in an account's JWT.
    pub(super) fn to_claim(&self) -> Value {
        json!({
            "pub": { "allow": self.publish },
            "sub": { "allow": self.subscribe },
            "resp": {
                "max": RESPONSES_MAX,
                "ttl": u64::from(RESPONSES_TTL_S) * 1_000_000_000,
            },
            "subs": -1,
            "data": -1,
            "payload": self.payload_max_bytes.map_or(-1, i64::from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_the_anchors_alone() {
        for role in [Role::Node, Role::Module] {
            let template = template(role, &Prefix::default());
            for subject in template.publish.iter().chain(&template.subscribe) {
                assert!(!subject.starts_with("mmn.>"), "{role}: {subject}");
                assert!(!subject.contains("log"), "{role}: {subject}");
                assert!(!subject.starts_with("$JS"), "{role}: {subject}");
                assert!(!subject.starts_with("$KV"), "{role}: {subject}");
            }
        }
    }

    #[test]
    fn the_prefix_is_everywhere() {
        for role in Role::ALL {
            let template = template(role, &"other".parse().unwrap());
            assert!(
                !template.publish.iter().chain(&template.subscribe).any(|subject| subject.contains("mmn"))
            );
        }
    }
}
