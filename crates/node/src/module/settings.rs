//! What a node hands to a module's process, over the socket pair that is its standard input: settings with
//! descriptors first, then changes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use mmn_schema::id::KindName;
use serde::{Deserialize, Serialize};

use crate::net::icmp::Description;
use crate::net::pass::Parcel;
use crate::policy::Policy;

/// A message from the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FromNode {
    /// The first message. The descriptors: the page of the limits, then the sockets in their order.
    Settings(Box<Settings>),
    /// The site's policy has changed.
    Policy(Box<Policy>),
    /// Sockets that could not be opened before. They come along as descriptors, in their order.
    Sockets(Vec<Description>),
    /// Finish what is held, then end.
    Drain,
}

/// What a module starts with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The kinds to offer; empty for all that the program has for this module.
    pub(crate) kinds: Vec<KindName>,
    /// Tasks at a time, where they differ from the defaults.
    pub(crate) concurrency: BTreeMap<KindName, u32>,
    /// The site's policy.
    pub(crate) policy: Policy,
    /// The sockets that come along.
    pub(crate) sockets: Vec<Description>,
    /// Why there are no sockets for echo, and the command that mends it.
    pub(crate) no_sockets: Option<NoSockets>,
}

/// Why there are no sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoSockets {
    pub(crate) what: String,
    pub(crate) command: Option<String>,
}

/// Settings with the descriptors that came along.
#[derive(Debug, Default)]
pub(crate) struct Endowment {
    pub(crate) settings: Settings,
    pub(crate) page: Option<OwnedFd>,
    pub(crate) sockets: Vec<OwnedFd>,
}

/// A later message with what came along.
#[derive(Debug)]
pub(crate) enum Change {
    Policy(Box<Policy>),
    Sockets(Vec<(OwnedFd, Description)>),
    Drain,
}

/// Why a message from the node is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FromNodeError {
    #[error("not a message of a node: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{sockets} sockets were promised, and {descriptors} descriptors came")]
    Descriptors { sockets: usize, descriptors: usize },
    #[error("the first message has no settings")]
    NotFirst,
    #[error("settings twice")]
    Twice,
}

/// Reads the first message.
pub(crate) fn endowment(parcel: Parcel) -> Result<Endowment, FromNodeError> {
    let FromNode::Settings(settings) = serde_json::from_slice(&parcel.bytes)? else {
        return Err(FromNodeError::NotFirst);
    };
    let mut descriptors = parcel.descriptors;
    if descriptors.len() != settings.sockets.len() + 1 {
        return Err(FromNodeError::Descriptors {
            sockets: settings.sockets.len(),
            descriptors: descriptors.len(),
        });
    }
    let sockets = descriptors.split_off(1);
    Ok(Endowment { settings: *settings, page: descriptors.pop(), sockets })
}

/// Reads a later message, and takes what came along.
pub(crate) fn taken(parcel: Parcel) -> Result<Change, FromNodeError> {
    match change(&parcel)? {
        FromNode::Settings(_) => Err(FromNodeError::Twice),
        FromNode::Policy(policy) => Ok(Change::Policy(policy)),
        FromNode::Drain => Ok(Change::Drain),
        FromNode::Sockets(sockets) if sockets.len() == parcel.descriptors.len() => {
            Ok(Change::Sockets(parcel.descriptors.into_iter().zip(sockets).collect()))
        }
        FromNode::Sockets(sockets) => {
            Err(FromNodeError::Descriptors { sockets: sockets.len(), descriptors: parcel.descriptors.len() })
        }
    }
}

/// Reads the bytes of a later message.
pub(crate) fn change(parcel: &Parcel) -> Result<FromNode, FromNodeError> {
    Ok(serde_json::from_slice(&parcel.bytes)?)
}
