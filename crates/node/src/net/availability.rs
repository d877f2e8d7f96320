//! What this host lets this process open, and the command that mends it where it does not.

use mmn_probe::wire::icmp::Family;

use super::icmp::{EchoSocket, IdRange, Mode, OpenError};

/// Whether echo can be measured over an address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It can, with a socket of this mode.
    Available(Mode),
    /// It cannot.
    Missing(Missing),
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What it is, as a sentence without its full stop.
    pub what: String,
    /// The command that mends it until the next boot, where one does.
    pub command: Option<String>,
    /// The command that mends it for good, where one does.
    pub persist: Option<String>,
}

/// Finds out by opening a socket and closing it again.
pub fn availability(family: Family) -> Availability {
    // Any identifiers will do: the socket is closed at once.
    let Ok(ids) = IdRange::new(0, 1) else { return Availability::Missing(other("no identifiers".into())) };
    match EchoSocket::open_best(family, ids) {
        Ok(socket) => Availability::Available(socket.mode()),
        Err(OpenError::NotPermitted { .. }) => Availability::Missing(closed_group_range()),
        Err(OpenError::NoFamily { family }) => {
            Availability::Missing(other(format!("the kernel does not speak {}", name(family))))
        }
        Err(OpenError::System { step, source }) => {
            Availability::Missing(other(format!("cannot {step} for {}: {source}", name(family))))
        }
    }
}

/// IPv6 obeys the same setting in spite of its name.
fn closed_group_range() -> Missing {
    Missing {
        what: "ping sockets are closed to this user (net.ipv4.ping_group_range), \
               and raw sockets need CAP_NET_RAW"
            .into(),
        command: Some(r#"sudo sysctl -w net.ipv4.ping_group_range="0 2147483647""#.into()),
        persist: Some(
            "echo 'net.ipv4.ping_group_range = 0 2147483647' | sudo tee /etc/sysctl.d/60-mmn-ping.conf"
                .into(),
        ),
    }
}

fn other(what: String) -> Missing {
    Missing { what, command: None, persist: None }
}

const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{as_nobody, in_namespace, open_ping_group_range, require_root};

    #[test]
    fn root_may_open_raw_sockets() {
        require_root("root_may_open_raw_sockets");
        for family in [Family::V4, Family::V6] {
            assert_eq!(availability(family), Availability::Available(Mode::Raw));
        }
    }

    #[test]
    fn an_ordinary_user_is_told_the_command() {
        require_root("an_ordinary_user_is_told_the_command");
        // A new namespace has the kernel's default: closed.
        let found = in_namespace(|| as_nobody(|| availability(Family::V4)));
        let Availability::Missing(missing) = found else { panic!("{found:?}") };
        assert!(missing.command.unwrap().contains("sysctl -w net.ipv4.ping_group_range="));
        assert!(missing.persist.unwrap().contains("/etc/sysctl.d/"));
    }

    #[test]
    fn the_command_mends_it() {
        require_root("the_command_mends_it");
        let found = in_namespace(|| {
            open_ping_group_range();
            as_nobody(|| [Family::V4, Family::V6].map(availability))
        });
        assert_eq!(found, [const { Availability::Available(Mode::Datagram) }; 2]);
    }
}
