//! Whether this machine lets its user have a lab of network namespaces; if not, which step it refuses, and the cure.
//!
//! Nothing that can be read says so: a kernel may let a process into a user namespace and then refuse it everything
//! there. [`check`] goes the whole way in a child process and reports where that ended. What can be read then says why.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::namespaces;
use crate::sys;

/// A step on the way to a lab of network namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Starting the process that tries.
    Try,
    /// A user namespace.
    User,
    /// The user's and group's ids in it.
    Ids,
    /// A network namespace.
    Network,
    /// Netlink, in it.
    Netlink,
    /// A pair of Ethernet links.
    Link,
    /// What links leave to each other, switched off.
    Offloads,
    /// An address.
    Address,
    /// A route.
    Route,
    /// A packet socket.
    Packets,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Try,
        Self::User,
        Self::Ids,
        Self::Network,
        Self::Netlink,
        Self::Link,
        Self::Offloads,
        Self::Address,
        Self::Route,
        Self::Packets,
    ];

    /// The system call, or what else is asked for.
    pub const fn call(self) -> &'static str {
        match self {
            Self::Try => "fork",
            Self::User => "unshare(CLONE_NEWUSER)",
            Self::Ids => "writing /proc/self/uid_map",
            Self::Network => "unshare(CLONE_NEWNET)",
            Self::Netlink => "socket(AF_NETLINK)",
            Self::Link => "RTM_NEWLINK veth",
            Self::Offloads => "SIOCETHTOOL",
            Self::Address => "RTM_NEWADDR",
            Self::Route => "RTM_NEWROUTE",
            Self::Packets => "socket(AF_PACKET)",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Try => "a process to try it in",
            Self::User => "a user namespace",
            Self::Ids => "ids in the user namespace",
            Self::Network => "a network namespace",
            Self::Netlink => "netlink in the network namespace",
            Self::Link => "a veth pair",
            Self::Offloads => "a link without offloads",
            Self::Address => "an address",
            Self::Route => "a route",
            Self::Packets => "a packet socket",
        })
    }
}

/// A machine that lets its user have a lab of network namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Able {
    /// Whether that takes a user namespace: the user is not root.
    pub user_namespace: bool,
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the system refuses {step} ({}: {})", step.call(), errno_text(*errno))]
pub struct Obstacle {
    /// The step that failed.
    pub step: Step,
    /// Its error number; absent where it is none of the system's.
    pub errno: Option<i32>,
    /// What of the system's settings bears on it.
    pub findings: Vec<Finding>,
    /// What would mend it, in words; each is enough.
    pub cures: Vec<String>,
}

/// A setting of the system's, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A sysctl, or a file.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}

/// Tries in a child process. Call it while this process has one thread, or at least none that holds a lock.
pub fn check() -> Result<Able, Obstacle> {
    let user_namespace = !sys::spaces::is_privileged();
    let answer = sys::children::in_a_fork(|| match namespaces::try_out() {
        Ok(()) => vec![OK],
        Err(refused) => {
            let step = Step::ALL.iter().position(|step| *step == refused.step);
            let step = step.and_then(|step| u8::try_from(step).ok()).unwrap_or(0);
            let errno = refused.source.raw_os_error().unwrap_or(0).to_ne_bytes();
            let confined = confinement().unwrap_or_default();
            [&[FAILED, step], &errno[..], confined.as_bytes()].concat()
        }
    });
    match answer {
        Err(error) => Err(Obstacle::of(&Refused { step: Step::Try, source: error }, None)),
        Ok(answer) => match answer.as_slice() {
            [OK] => Ok(Able { user_namespace }),
            [FAILED, step, a, b, c, d, confined @ ..] => {
                let step = Step::ALL.get(usize::from(*step)).copied().unwrap_or(Step::Try);
                let source = io::Error::from_raw_os_error(i32::from_ne_bytes([*a, *b, *c, *d]));
                let confined = String::from_utf8_lossy(confined).into_owned();
                Err(Obstacle::of(&Refused { step, source }, Some(confined).filter(|text| !text.is_empty())))
            }
            _ => {
                let source = io::Error::other("the process that tried it died");
                Err(Obstacle::of(&Refused { step: Step::Try, source }, None))
            }
        },
    }
}

const OK: u8 = 1;
const FAILED: u8 = 2;

/// A step that failed, and how.
#[derive(Debug, thiserror::Error)]
#[error("the system refuses {step} ({})", step.call())]
pub struct Refused {
    /// The step.
    pub step: Step,
    /// Its error.
    #[source]
    pub source: io::Error,
}

impl Refused {
    /// Says of an error at which step it came.
    pub(crate) fn at(step: Step) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { step, source }
    }
}

impl From<&Refused> for Obstacle {
    fn from(refused: &Refused) -> Self {
        Self::of(refused, confinement())
    }
}

impl Obstacle {
    fn of(refused: &Refused, confined: Option<String>) -> Self {
        let read = |name: &str| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
        };
        let settings = Settings {
            sysctls: SYSCTLS.iter().filter_map(|name| Some(((*name).to_owned(), read(name)?))).collect(),
            confined,
            in_container: in_container(),
        };
        settings.explain(refused.step, refused.source.raw_os_error())
    }
}

const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
const CLONE: &str = "kernel.unprivileged_userns_clone";
const MAX_USER: &str = "user.max_user_namespaces";
const MAX_NET: &str = "user.max_net_namespaces";
const SYSCTLS: [&str; 4] = [APPARMOR, CLONE, MAX_USER, MAX_NET];

/// What of a system bears on namespaces.
#[derive(Debug, Default)]
struct Settings {
    sysctls: Vec<(String, String)>,
    /// The `AppArmor` profile in which the process that tried ended.
    confined: Option<String>,
    in_container: bool,
}

impl Settings {
    fn is(&self, name: &str, value: &str) -> bool {
        self.sysctls.iter().any(|(known, is)| known == name && is == value)
    }

    fn explain(self, step: Step, errno: Option<i32>) -> Obstacle {
        let mut findings = Vec::new();
        let mut cures = Vec::new();
        let mut found = |name: &str, value: &str| {
            findings.push(Finding { name: name.to_owned(), value: value.to_owned() });
        };
        let no_space = errno == Some(rustix::io::Errno::NOSPC.raw_os_error());
        let forbidden = [rustix::io::Errno::PERM, rustix::io::Errno::ACCESS]
            .iter()
            .any(|refusal| errno == Some(refusal.raw_os_error()));
        let unconfined = self.confined.as_deref().is_none_or(|profile| profile.starts_with("unconfined"));
        if no_space {
            for (name, step_of) in [(MAX_USER, Step::User), (MAX_NET, Step::Network)] {
                if let Some((_, value)) =
                    self.sysctls.iter().find(|(known, _)| known == name && step_of == step)
                {
                    found(name, value);
                    cures.push(format!(
                        "sysctl -w {name}=10000 (as root; the error's own text says disk, it means this)"
                    ));
                }
            }
        }
        if forbidden && (self.is(APPARMOR, "1") || !unconfined) {
            if self.is(APPARMOR, "1") {
                found(APPARMOR, "1");
            }
            if let Some(profile) = &self.confined {
                found("/proc/self/attr/current", profile);
            }
            cures.push(
                "install deploy/apparmor/mmn, a profile that lets mmn make user namespaces: \
                 cp deploy/apparmor/mmn /etc/apparmor.d/mmn && apparmor_parser -r /etc/apparmor.d/mmn (as root)"
                    .to_owned(),
            );
            if self.is(APPARMOR, "1") {
                cures.push(format!("sysctl -w {APPARMOR}=0 (as root; it lifts this for all programs)"));
            }
        }
        if forbidden && self.is(CLONE, "0") {
            found(CLONE, "0");
            cures.push(format!("sysctl -w {CLONE}=1 (as root)"));
        }
        if forbidden && self.in_container && cures.is_empty() {
            found("/run/.containerenv or /.dockerenv", "there");
            cures.push(
                "run the container with leave to make namespaces: docker run --security-opt seccomp=unconfined \
                 --security-opt apparmor=unconfined, or --privileged"
                    .to_owned(),
            );
        }
        if step == Step::Link && cures.is_empty() {
            cures.push("modprobe veth (as root)".to_owned());
        }
        if step == Step::Packets && cures.is_empty() {
            cures.push("modprobe af_packet (as root)".to_owned());
        }
        cures.push("run the lab as root".to_owned());
        Obstacle { step, errno: errno.filter(|errno| *errno != 0), findings, cures }
    }
}

/// The `AppArmor` profile of this process.
fn confinement() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/attr/current").ok()?;
    let text = text.trim_end_matches(['\n', '\0']);
    (!text.is_empty()).then(|| text.to_owned())
}

fn in_container() -> bool {
    ["/run/.containerenv", "/.dockerenv"].iter().any(|path| std::path::Path::new(path).exists())
}

fn errno_text(errno: Option<i32>) -> String {
    errno.map_or_else(|| "no answer".to_owned(), |errno| io::Error::from_raw_os_error(errno).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(sysctls: &[(&str, &str)], confined: Option<&str>) -> Settings {
        Settings {
            sysctls: sysctls.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            confined: confined.map(str::to_owned),
            in_container: false,
        }
    }

    #[test]
    fn a_full_table_of_namespaces_is_no_full_disk() {
        let obstacle = settings(&[(MAX_USER, "0")], None).explain(Step::User, Some(28));
        assert_eq!(obstacle.findings, [Finding { name: MAX_USER.into(), value: "0".into() }]);
        assert!(obstacle.cures[0].contains("sysctl -w user.max_user_namespaces"), "{obstacle:?}");
        assert_eq!(
            obstacle.to_string(),
            "the system refuses a user namespace (unshare(CLONE_NEWUSER): No space left on device (os error 28))"
        );
    }

    #[test]
    fn the_profile_of_apparmor_is_the_cure_where_that_is_the_cause() {
        let system = settings(&[(APPARMOR, "1"), (CLONE, "1")], Some("unprivileged_userns (enforce)"));
        let obstacle = system.explain(Step::Ids, Some(1));
        assert_eq!(obstacle.findings.len(), 2);
        assert!(obstacle.cures[0].contains("deploy/apparmor/mmn"), "{obstacle:?}");
        assert!(obstacle.cures[1].contains("=0"), "{obstacle:?}");
        assert_eq!(obstacle.cures.last().unwrap(), "run the lab as root");
    }

    #[test]
    fn what_has_no_cause_has_a_cure() {
        let obstacle = settings(&[(CLONE, "0")], Some("unconfined")).explain(Step::User, Some(1));
        assert_eq!(
            obstacle.cures,
            ["sysctl -w kernel.unprivileged_userns_clone=1 (as root)", "run the lab as root"]
        );
        let obstacle = settings(&[], None).explain(Step::Link, Some(95));
        assert_eq!(obstacle.cures, ["modprobe veth (as root)", "run the lab as root"]);
        assert_eq!(settings(&[], None).explain(Step::Try, None).errno, None);
    }
}
