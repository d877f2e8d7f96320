//! The subjects of NATS, both ways: [`Subject`] is written by [`Subject::on`] and read by [`Subject::parse`], and
//! nowhere else.
//!
//! `mmn.modules.announce` and `mmn.modules.discover` are kept for ever. All others carry the major version.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{AnchorId, IdError, InstanceId, KindName, MeasurementId, VpId, is_token};

/// The first token of every subject of one network of vantage points: `mmn`, unless two networks share a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(String);

impl Prefix {
    /// The prefix as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("mmn".to_owned())
    }
}

impl FromStr for Prefix {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        if is_token(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SubjectError::Token(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Prefix {
    type Error = SubjectError;
    fn try_from(text: String) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a message travels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A module or node says that it is there ([`crate::announce::Announcement`]).
    Announce,
    /// An anchor asks who is there; everybody announces.
    Discover,
    /// Work for one instance ([`crate::dispatch::ToInstance`]).
    Task(VpId, KindName, InstanceId),
    /// Work for any instance of a kind at a vantage point (queue group).
    Pool(VpId, KindName),
    /// Work for any instance of a kind anywhere (queue group).
    PoolAny(KindName),
    /// What an instance says to a batch of that number ([`crate::dispatch::Receipt`]): the reply subject of
    /// [`Self::Task`].
    Receipt(VpId, InstanceId, AnchorId, u64),
    /// Orders to one instance ([`crate::control::Control`]).
    Ctl(VpId, InstanceId),
    /// A heartbeat ([`crate::announce::Heartbeat`]).
    Hb(VpId, InstanceId),
    /// Results of one measurement ([`crate::dispatch::ResultBatch`]).
    Res(VpId, KindName, MeasurementId),
    /// Answers to a sync, in line with the results ([`crate::dispatch::Synced`]).
    Synced(VpId, InstanceId),
    /// Something happened ([`crate::event::Event`]).
    Evt(String),
    /// Orders to the node of a vantage point ([`crate::control::NodeOrder`]).
    Node(VpId),
    /// A node asks an anchor for the credentials of a module ([`crate::enrol::EnrolRequest`]).
    Enrol(VpId),
    /// What anchors keep of one measurement.
    Log(Log, MeasurementId),
    /// What anchors keep of several measurements whose ids are of this second (Unix time).
    Logs(Log, u64),
}

/// What anchors keep in JetStream. No module may publish here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Log {
    /// A measurement, or more inputs for it, was accepted.
    Accept,
    /// Results, kept.
    Res,
    /// A measurement ended, with its sums.
    Done,
    /// Sums of the records' summaries over an interval.
    Roll,
}

impl Log {
    const ALL: [Self; 4] = [Self::Accept, Self::Res, Self::Done, Self::Roll];

    const fn token(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Res => "res",
            Self::Done => "done",
            Self::Roll => "roll",
        }
    }

    /// The filter that matches this log of every measurement.
    pub fn all(self, prefix: &Prefix) -> String {
        format!("{prefix}.v1.log.{}.*", self.token())
    }
}

/// Why a text is none of our subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// It does not begin with the prefix, or has no such form.
    #[error("{0:?} is no subject of ours")]
    Form(String),
    /// It carries another major version.
    #[error("{0:?} is of another major version")]
    Version(String),
    /// A token has characters that may not stand in one.
    #[error("{0:?} is no token of a subject: it has 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
    Token(String),
    /// A token is not the id that should stand there.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// The token that stands where an instance's answers concern no single kind.
const SYNC: &str = "_sync";
/// What stands before a second where a log is of several measurements. No id begins with it and is so short.
const SECOND: &str = "s";

impl Subject {
    /// The subject as text, below `prefix`.
    pub fn on(&self, prefix: &Prefix) -> String {
        match self {
            Self::Announce => format!("{prefix}.modules.announce"),
            Self::Discover => format!("{prefix}.modules.discover"),
            Self::Task(vp, kind, instance) => format!("{prefix}.v1.task.{vp}.{kind}.{instance}"),
            Self::Pool(vp, kind) => format!("{prefix}.v1.pool.{vp}.{kind}"),
            Self::PoolAny(kind) => format!("{prefix}.v1.pool.any.{kind}"),
            Self::Receipt(vp, instance, anchor, batch) => {
                format!("{prefix}.v1.rcpt.{vp}.{instance}.{anchor}.{batch}")
            }
            Self::Ctl(vp, instance) => format!("{prefix}.v1.ctl.{vp}.{instance}"),
            Self::Hb(vp, instance) => format!("{prefix}.v1.hb.{vp}.{instance}"),
            Self::Res(vp, kind, msm) => format!("{prefix}.v1.res.{vp}.{kind}.{msm}"),
            Self::Synced(vp, instance) => format!("{prefix}.v1.res.{vp}.{SYNC}.{instance}"),
            Self::Evt(kind) => format!("{prefix}.v1.evt.{kind}"),
            Self::Node(vp) => format!("{prefix}.v1.node.{vp}"),
            Self::Enrol(vp) => format!("{prefix}.v1.enrol.{vp}"),
            Self::Log(log, msm) => format!("{prefix}.v1.log.{}.{msm}", log.token()),
            Self::Logs(log, second) => format!("{prefix}.v1.log.{}.{SECOND}{second}", log.token()),
        }
    }

    /// Reads a subject below `prefix`.
    pub fn parse(prefix: &Prefix, text: &str) -> Result<Self, SubjectError> {
        let form = || SubjectError::Form(text.chars().take(200).collect());
        let rest =
            text.strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('.')).ok_or_else(form)?;
        let mut tokens = [""; 6];
        let mut count = 0;
        for token in rest.split('.') {
            *tokens.get_mut(count).ok_or_else(form)? = token;
            count += 1;
        }
        Ok(match tokens {
            ["modules", "announce", "", ..] if count == 2 => Self::Announce,
            ["modules", "discover", "", ..] if count == 2 => Self::Discover,
            ["v1", "task", vp, kind, instance, ""] if count == 5 => {
                Self::Task(vp.parse()?, kind.parse()?, instance.parse()?)
            }
            ["v1", "pool", "any", kind, ..] if count == 4 => Self::PoolAny(kind.parse()?),
            ["v1", "pool", vp, kind, ..] if count == 4 => Self::Pool(vp.parse()?, kind.parse()?),
            ["v1", "rcpt", vp, instance, anchor, batch] => {
                let number = whole_number(batch).ok_or_else(form)?;
                Self::Receipt(vp.parse()?, instance.parse()?, anchor.parse()?, number)
            }
            ["v1", "ctl", vp, instance, ..] if count == 4 => Self::Ctl(vp.parse()?, instance.parse()?),
            ["v1", "hb", vp, instance, ..] if count == 4 => Self::Hb(vp.parse()?, instance.parse()?),
            ["v1", "res", vp, SYNC, instance, ""] if count == 5 => {
                Self::Synced(vp.parse()?, instance.parse()?)
            }
            ["v1", "res", vp, kind, msm, ""] if count == 5 => {
                Self::Res(vp.parse()?, kind.parse()?, msm.parse()?)
            }
            ["v1", "evt", kind, ..] if count == 3 => {
                if !is_token(kind) {
                    return Err(SubjectError::Token(kind.chars().take(80).collect()));
                }
                Self::Evt(kind.to_owned())
            }
            ["v1", "node", vp, ..] if count == 3 => Self::Node(vp.parse()?),
            ["v1", "enrol", vp, ..] if count == 3 => Self::Enrol(vp.parse()?),
            ["v1", "log", log, msm, ..] if count == 4 => {
                let log = Log::ALL.into_iter().find(|known| known.token() == log).ok_or_else(form)?;
                match msm.strip_prefix(SECOND).filter(|_| msm.len() < MeasurementId::LEN) {
                    Some(text) => Self::Logs(log, whole_number(text).ok_or_else(form)?),
                    None => Self::Log(log, msm.parse()?),
                }
            }
            [version, ..] if is_other_version(version) => {
                return Err(SubjectError::Version(text.chars().take(200).collect()));
            }
            _ => return Err(form()),
        })
    }
}

/// A number as it is written, and in no other way.
fn whole_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

fn is_other_version(token: &str) -> bool {
    token
        .strip_prefix('v')
        .is_some_and(|n| !n.is_empty() && n != "1" && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The filters that anchors and instances subscribe to.
pub mod filter {
    use super::{AnchorId, InstanceId, Prefix, SYNC, VpId};

    /// All results and sync answers, in the order in which each instance sent them.
    pub fn results(prefix: &Prefix) -> String {
        format!("{prefix}.v1.res.*.*.*")
    }

    /// All receipts for an anchor.
    pub fn receipts(prefix: &Prefix, anchor: &AnchorId) -> String {
        format!("{prefix}.v1.rcpt.*.*.{anchor}.*")
    }

    /// All heartbeats.
    pub fn heartbeats(prefix: &Prefix) -> String {
        format!("{prefix}.v1.hb.*.*")
    }

    /// The heartbeats of one vantage point: of its node and of its instances.
    pub fn heartbeats_of(prefix: &Prefix, vp: &VpId) -> String {
        format!("{prefix}.v1.hb.{vp}.*")
    }

    /// All events.
    pub fn events(prefix: &Prefix) -> String {
        format!("{prefix}.v1.evt.*")
    }

    /// All requests for a module's credentials.
    pub fn enrolments(prefix: &Prefix) -> String {
        format!("{prefix}.v1.enrol.*")
    }

    /// The work of one instance, whatever its kinds.
    pub fn tasks(prefix: &Prefix, vp: &VpId, instance: &InstanceId) -> String {
        format!("{prefix}.v1.task.{vp}.*.{instance}")
    }

    /// The token that stands for a kind where an instance answers a sync.
    pub const fn sync_token() -> &'static str {
        SYNC
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_subject() -> impl Strategy<Value = Subject> {
        let vp = "[a-z2-7]{16}".prop_map(|text| text.parse::<VpId>().unwrap());
        let kind = "[a-z][a-z0-9-]{0,31}".prop_map(|text| text.parse::<KindName>().unwrap());
        let instance = "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse::<InstanceId>().unwrap());
        let msm = (0u64..1 << 48, any::<[u8; 10]>()).prop_map(|(ms, bits)| MeasurementId::new(ms, &bits));
        let log = proptest::sample::select(Log::ALL.to_vec());
        (0..15u8, vp, kind, instance, msm, log, any::<u64>()).prop_map(
            |(which, vp, kind, instance, msm, log, batch)| match which {
                0 => Subject::Announce,
                1 => Subject::Discover,
                2 => Subject::Task(vp, kind, instance),
                3 => Subject::Pool(vp, kind),
                4 => Subject::PoolAny(kind),
                5 => Subject::Ctl(vp, instance),
                6 => Subject::Hb(vp, instance),
                7 => Subject::Res(vp, kind, msm),
                8 => Subject::Synced(vp, instance),
                9 => Subject::Evt(instance.to_string()),
                10 => Subject::Node(vp),
                11 => Subject::Enrol(vp),
                13 => Subject::Logs(log, batch),
                12 => Subject::Receipt(vp, instance, "anchor-1".parse().unwrap(), batch),
                _ => Subject::Log(log, msm),
            },
        )
    }

    proptest! {
        #[test]
        fn subjects_survive_the_round_trip(subject in any_subject(), prefix in "[a-z]{1,8}") {
            let prefix: Prefix = prefix.parse().unwrap();
            prop_assert_eq!(Subject::parse(&prefix, &subject.on(&prefix)).unwrap(), subject);
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,120}", tokens in prop::collection::vec("[a-z0-9_.]{0,9}", 0..8)) {
            let prefix = Prefix::default();
            let _ = Subject::parse(&prefix, &text);
            let _ = Subject::parse(&prefix, &format!("mmn.v1.{}", tokens.join(".")));
        }
    }

    #[test]
    fn another_major_version_is_named() {
        let error = Subject::parse(&Prefix::default(), "mmn.v2.hb.a.b").unwrap_err();
        assert!(matches!(error, SubjectError::Version(_)), "{error}");
    }
}
