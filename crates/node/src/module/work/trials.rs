//! The self-tests of an instance's kinds: which have passed, and when they are tried again.
//!
//! Sockets for echo are tested before they are used: as long as they are here nobody else reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use mmn_kit::Registered;
use mmn_schema::id::KindName;
use mmn_schema::outcome::{Reason, code};

use super::PACKET;
use crate::context::Site;
use crate::module::Kind;
use crate::module::infos::info;
use crate::module::self_test::{hosts, test};
use crate::module::settings::Gift;
use crate::net::icmp::IdRange;

/// How soon what failed is tried again, at first and at last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The verdicts, and what waits for one.
pub(super) struct Trials {
    kinds: BTreeMap<KindName, Verdict>,
    /// Those that have passed with nothing but what every process may open itself.
    ordinary: BTreeSet<KindName>,
    sockets: Vec<Gift>,
    /// Source ports for sockets of this process's own.
    ports: Option<IdRange>,
    /// Whether they are in this host's own network. What a simulated world has is not tested: the tests are of a host, and
    /// its programs are those of this one.
    real: bool,
    running: Option<LocalBoxFuture<'static, Findings>>,
    /// Something has changed since the running ones were begun.
    again: bool,
    pause: Duration,
}

#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    Pending,
    Passed,
    Failed(Reason),
}

/// What tests found: of each kind that needs no socket, and of each socket that was there the kinds that pass with it.
pub(super) struct Findings {
    kinds: Vec<(KindName, Result<(), Reason>)>,
    sockets: Vec<Result<Vec<KindName>, Reason>>,
}

/// What follows.
pub(super) struct Judged {
    /// Sockets that have passed.
    pub(super) sockets: Vec<Gift>,
    /// Whether a kind's state has changed.
    pub(super) changed: bool,
    /// When to test again.
    pub(super) again_in: Option<Duration>,
}

impl Trials {
    pub(super) fn new(
        kinds: impl Iterator<Item = KindName>,
        sockets: Vec<Gift>,
        ports: Option<IdRange>,
        real: bool,
    ) -> Self {
        let kinds = kinds.map(|kind| (kind, Verdict::Pending)).collect();
        Self {
            kinds,
            ordinary: BTreeSet::new(),
            sockets,
            ports,
            real,
            running: None,
            again: false,
            pause: FIRST_PAUSE,
        }
    }

    /// Tests all kinds that need no socket, and all sockets that wait.
    pub(super) fn begin(&mut self, kinds: &BTreeMap<KindName, Kind>) {
        if self.running.is_some() {
            self.again = true;
            return;
        }
        if !self.real {
            self.running = Some(std::future::ready(self.all_well(kinds)).boxed_local());
            return;
        }
        let (packet, session): (Vec<_>, Vec<_>) = kinds
            .iter()
            .map(|(name, kind)| (name.clone(), kind.clone()))
            .partition(|(_, kind)| needs_socket(&**kind));
        let packet: Rc<[Kind]> = packet.into_iter().map(|(_, kind)| kind).collect();
        let ports = self.ports;
        let clones = self.sockets.iter().map(Gift::try_clone);
        let sockets = clones.map(|socket| {
            let packet = Rc::clone(&packet);
            async move {
                let socket = socket.map_err(|error| failed(&error))?;
                test_socket(&packet, socket, ports).await
            }
        });
        let sockets = join_all(sockets);
        self.running = Some(
            async move {
                let (kinds, sockets) = futures::join!(test_sessions(session), sockets);
                Findings { kinds, sockets }
            }
            .boxed_local(),
        );
    }

    fn all_well(&self, kinds: &BTreeMap<KindName, Kind>) -> Findings {
        let names = |packet: bool| {
            let of_module = kinds.iter().filter(move |(_, kind)| needs_socket(&***kind) == packet);
            of_module.map(|(name, _)| name.clone())
        };
        Findings {
            kinds: names(false).map(|name| (name, Ok(()))).collect(),
            sockets: self.sockets.iter().map(|_| Ok(names(true).collect())).collect(),
        }
    }

    /// Waits for what is being tested.
    pub(super) async fn finished(&mut self) -> Findings {
        super::wait(&mut self.running).await
    }

    /// A socket has come.
    pub(super) fn add(&mut self, sockets: Vec<Gift>) {
        self.sockets.extend(sockets);
        self.pause = FIRST_PAUSE;
    }

    /// Takes note of what was found.
    pub(super) fn judge(
        &mut self,
        findings: Findings,
        kinds: &BTreeMap<KindName, Kind>,
        has_sockets: bool,
    ) -> Judged {
        let before = (self.kinds.clone(), self.ordinary.clone());
        let mut failure = None;
        let mut passed = Vec::new();
        // Those that came meanwhile stand behind.
        let later = self.sockets.split_off(findings.sockets.len().min(self.sockets.len()));
        for (socket, found) in std::mem::replace(&mut self.sockets, later).into_iter().zip(findings.sockets) {
            match found {
                Ok(kinds) => {
                    if !socket.is_whole() {
                        self.ordinary.extend(kinds);
                    }
                    passed.push(socket);
                }
                Err(reason) => {
                    if socket.is_whole() {
                        tracing::warn!(v6 = socket.v6(), %reason, "a socket for echo is not used");
                        failure.get_or_insert(reason);
                    }
                    self.sockets.push(socket);
                }
            }
        }
        let of_sockets = match failure {
            Some(reason) if passed.is_empty() && !has_sockets => Verdict::Failed(reason),
            _ => Verdict::Passed,
        };
        for (name, _) in kinds.iter().filter(|(_, kind)| needs_socket(&***kind)) {
            self.kinds.insert(name.clone(), of_sockets.clone());
        }
        for (name, found) in findings.kinds {
            if let Err(reason) = &found {
                tracing::warn!(kind = %name, %reason, "not offered");
            }
            self.kinds.insert(name, found.map_or_else(Verdict::Failed, |()| Verdict::Passed));
        }
        let all_well =
            self.sockets.is_empty() && self.kinds.values().all(|verdict| *verdict == Verdict::Passed);
        let again_in = if std::mem::take(&mut self.again) {
            Some(Duration::ZERO)
        } else if all_well {
            self.pause = FIRST_PAUSE;
            None
        } else {
            let pause = self.pause.mul_f64(rand::random_range(0.9..1.1));
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            Some(pause)
        };
        Judged { sockets: passed, changed: before != (self.kinds.clone(), self.ordinary.clone()), again_in }
    }

    /// Why a kind is not to be offered yet, or any more.
    pub(super) fn reason(&self, kind: &KindName) -> Option<Reason> {
        match self.kinds.get(kind)? {
            Verdict::Passed => None,
            Verdict::Pending => Some(Reason::with(code::SELF_TEST, "its self-test is under way")),
            Verdict::Failed(reason) => Some(reason.clone()),
        }
    }

    /// Whether a kind has passed with nothing but what every process may open itself.
    pub(super) fn does_without_sockets(&self, kind: &KindName) -> bool {
        self.ordinary.contains(kind)
    }

    /// Whether no kind has passed so far.
    pub(super) fn is_starting(&self) -> bool {
        self.kinds.values().all(|verdict| *verdict != Verdict::Passed)
    }
}

fn needs_socket(kind: &dyn Registered) -> bool {
    kind.module() == PACKET
}

fn failed(error: &dyn std::fmt::Display) -> Reason {
    Reason::with(code::SELF_TEST, format_args!("the self-test could not be done: {error}"))
}

async fn test_sessions(kinds: Vec<(KindName, Kind)>) -> Vec<(KindName, Result<(), Reason>)> {
    let site = Site::loopback(Vec::new(), None).map(Rc::new).map_err(|error| failed(&error));
    let host = hosts().next();
    let tests = kinds.into_iter().map(|(name, kind)| {
        let site = site.clone();
        async move {
            let result = match (site, host) {
                (Ok(site), Some(host)) => test(&*kind, &site, host).await,
                (Err(reason), _) => Err(reason),
                (_, None) => Ok(()),
            };
            (name, result)
        }
    });
    join_all(tests).await
}

/// Sockets pass when every kind that uses it does; what every process may open itself whichever kinds do with it.
async fn test_socket(kinds: &[Kind], socket: Gift, ports: Option<IdRange>) -> Result<Vec<KindName>, Reason> {
    let (v6, whole) = (socket.v6(), socket.is_whole());
    let Some(host) = hosts().find(|host: &IpAddr| host.is_ipv6() == v6) else {
        // Of the node's sockets that says nothing.
        let all = || kinds.iter().map(|kind| info(&**kind).name).collect();
        return if whole { Ok(all()) } else { Err(failed(&"no loopback interface")) };
    };
    let site = Rc::new(Site::loopback(vec![socket], ports).map_err(|error| failed(&error))?);
    let mut passed = Vec::new();
    let mut none = failed(&"no kinds");
    for kind in kinds {
        match test(&**kind, &site, host).await {
            Ok(()) => passed.push(info(&**kind).name),
            Err(reason) if whole => return Err(reason),
            Err(reason) => {
                tracing::debug!(v6, %reason, "a kind needs sockets of the node's");
                none = reason;
            }
        }
    }
    if passed.is_empty() { Err(none) } else { Ok(passed) }
}
