//! What is said between the lab's process and its clients: JSON, a message each, a reply to each request.

use serde::{Deserialize, Serialize};

use crate::namespaces::driver::Status;
use crate::namespaces::{Found, TruthQuery};

/// The version of these messages. Another one is refused.
pub const VERSION: u32 = 1;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// A socket in the network of a vantage point: one descriptor comes with the answer.
    Socket(SocketAsk),
    /// The network of a vantage point: a descriptor of it comes with the answer, and behind it one of the user namespace
    /// that it belongs to, unless root made it.
    Network {
        /// The name of the vantage point.
        vp: String,
    },
    /// What the lab is.
    About,
    /// How it is doing.
    Status,
    /// What happened to packets.
    Truth(TruthQuery),
    /// To end.
    End,
}

/// Which socket is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketAsk {
    /// The name of the vantage point.
    pub vp: String,
    /// Of which family.
    pub family: Family,
    /// Of which type.
    #[serde(rename = "type")]
    pub kind: SocketKind,
    /// The protocol's number (`IPPROTO_ICMP` is 1); 0 for that of the type. For packet sockets: the Ethernet protocol.
    #[serde(default)]
    pub protocol: u16,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
    /// `AF_PACKET`.
    Packet,
}

/// A type of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketKind {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_DGRAM`.
    Datagram,
    /// `SOCK_RAW`.
    Raw,
}

/// The reply to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What was asked for comes with it.
    Here,
    /// What the lab is.
    About(About),
    /// How it is doing.
    Status(Status),
    /// What happened to packets.
    Truth(Told),
    /// It will not be done.
    Refused(Refusal),
}

/// What a lab is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of the messages that it takes.
    pub version: u32,
    /// The path of its file.
    pub file: String,
    /// Its process.
    pub pid: u32,
    /// `namespaces`, or `in-process`.
    pub driver: String,
    /// Why that one, in a sentence.
    pub why: String,
    /// Whether it lives in a user namespace.
    pub user_namespace: bool,
    /// Whether its vantage points have their IPv6 addresses: this kernel has IPv6.
    pub has_ipv6: bool,
    /// The file with the certificate of the authority that its web servers' certificates are from (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// The file that says which of its hosts resolve names, as `resolv.conf(5)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolv_conf: Option<String>,
    /// How many vantage points it has.
    pub vps: u32,
}

/// What happened to packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The packets that fit, the oldest first.
    pub packets: Vec<Found>,
    /// Whether older ones were left out because a message holds no more.
    pub cut: bool,
}

/// Why something will not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// Another version of the messages is spoken.
    #[error("it speaks version {0} of the lab's messages")]
    Version(u32),
    /// It is no message.
    #[error("it did not understand: {0}")]
    Garbled(String),
    /// There is no such vantage point.
    #[error("the lab has no vantage point {0}")]
    NoVp(String),
    /// The system refused.
    #[error("the system refused {what}: {}", std::io::Error::from_raw_os_error(*errno))]
    System {
        /// What was asked of it.
        what: String,
        /// Its answer.
        errno: i32,
    },
    /// Its vantage points have no networks that a program could run in.
    #[error("its vantage points have no networks of their own: only mmn's own measurements run there")]
    NoNetworks,
    /// It is part of a network of vantage points.
    #[error("it ends with the network of vantage points that it belongs to")]
    NotAlone,
    /// There are as many clients as there may be.
    #[error("it has as many clients as it takes")]
    Full,
    /// It is about to end.
    #[error("it is ending")]
    Ending,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_read_as_they_are_documented() {
        let socket =
            SocketAsk { vp: "ams1".into(), family: Family::Inet, kind: SocketKind::Raw, protocol: 1 };
        let request = Request { version: VERSION, ask: Ask::Socket(socket) };
        let text =
            r#"{"version":1,"ask":{"socket":{"vp":"ams1","family":"inet","type":"raw","protocol":1}}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"version":1,"ask":"status","more":1}"#).unwrap().ask,
            Ask::Status
        );
    }

    proptest! {
        #[test]
        fn garbage_is_no_message(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(serde_json::from_slice::<Request>(&bytes).is_err());
        }
    }
}
