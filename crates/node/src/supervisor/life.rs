//! One life of an instance: a process, or a task of this one.

use std::time::Duration;

use mmn_schema::id::InstanceId;

use super::Shared;
use super::child::{Child, Plan, StartError};
use super::here::Here;
use crate::policy::Policy;

/// What runs.
#[derive(Debug)]
pub(super) enum Life {
    /// A process without privileges.
    Child(Box<Child>),
    /// A task for a vantage point elsewhere.
    Here(Here),
}

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Whether of its own will, in order.
    pub(super) well: bool,
    /// In words.
    pub(super) how: String,
}

impl Life {
    /// Begins one, where the vantage point is.
    pub(super) fn start(shared: &Shared, plan: Plan<'_>) -> Result<Self, StartError> {
        match &shared.config.elsewhere {
            Some(at) => Here::start(shared, at, plan).map(Self::Here),
            None => Child::start(shared, plan).map(|child| Self::Child(Box::new(child))),
        }
    }

    /// Its process id; none where it has no process of its own.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Child(child) => Some(child.pid()),
            Self::Here(_) => None,
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) -> End {
        match self {
            Self::Child(child) => {
                let status = child.ended().await;
                End { well: status.success(), how: status.to_string() }
            }
            Self::Here(here) => here.ended().await,
        }
    }

    /// Clears away what it may have left behind.
    pub(super) fn bury(&self) {
        if let Self::Child(child) = self {
            child.bury();
        }
    }

    /// How it ended, with its last words.
    pub(super) async fn epitaph(&mut self, end: &End) -> String {
        match self {
            Self::Child(child) => child.epitaph(&end.how).await,
            Self::Here(_) => end.how.clone(),
        }
    }

    /// What it said last.
    pub(super) fn last_words(&self) -> Option<String> {
        match self {
            Self::Child(child) => child.last_words(),
            Self::Here(_) => None,
        }
    }

    /// Waits until it says more than is let through; once in its life.
    pub(super) async fn flooded(&self) {
        match self {
            Self::Child(child) => child.flooded().await,
            Self::Here(_) => std::future::pending().await,
        }
    }

    /// How long it has lived.
    pub(super) fn lived(&self) -> Duration {
        match self {
            Self::Child(child) => child.lived(),
            Self::Here(here) => here.lived(),
        }
    }

    /// The site's policy has changed.
    pub(super) fn tell_policy(&mut self, shared: &Shared, policy: &Policy) {
        match self {
            Self::Child(child) => child.tell_policy(shared, policy),
            Self::Here(here) => here.tell_policy(policy),
        }
    }

    /// Whether it wants sockets that the system did not let the node open.
    pub(super) const fn lacks_sockets(&self) -> bool {
        match self {
            Self::Child(child) => child.lacks_sockets(),
            Self::Here(_) => false,
        }
    }

    /// Tries again to open what it lacks.
    pub(super) fn hand_over_sockets(&mut self) {
        if let Self::Child(child) = self {
            child.hand_over_sockets();
        }
    }

    /// Asks it to finish and end, waits, then uses force. It is gone afterwards.
    pub(super) async fn drain(&self, shared: &Shared, instance: &InstanceId) {
        match self {
            Self::Child(child) => child.drain(shared, instance).await,
            Self::Here(here) => here.drain(shared).await,
        }
    }
}
