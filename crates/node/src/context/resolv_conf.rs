//! The system's resolver as `/etc/resolv.conf` and `/etc/hosts` have it (`resolv.conf(5)`, `hosts(5)`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::net::network::Network;

/// What `/etc/resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
}

/// The C library uses no more than three.
const MAX_SERVERS: usize = 3;

/// How names are resolved in a network.
pub(super) fn of(network: &Network) -> ResolvConf {
    match network.name_servers() {
        Some(servers) => ResolvConf { servers, ..parse("") },
        None => system(),
    }
}

/// Reads `/etc/resolv.conf`; where there is none, a server on this host is meant.
fn system() -> ResolvConf {
    parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

/// The addresses that `/etc/hosts` has for a name.
pub(super) fn hosts(name: &str) -> Vec<IpAddr> {
    in_hosts(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), name)
}

pub(super) fn parse(text: &str) -> ResolvConf {
    let mut conf = ResolvConf {
        servers: Vec::new(),
        search: Vec::new(),
        ndots: 1,
        timeout: Duration::from_secs(5),
        attempts: 2,
    };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
            Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
            Some("search") => conf.search = words.map(str::to_owned).collect(),
            Some("options") => words.for_each(|word| option(&mut conf, word)),
            _ => {}
        }
    }
    conf.servers.truncate(MAX_SERVERS);
    if conf.servers.is_empty() {
        conf.servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    conf
}

/// A link-local server names its interface: `fe80::1%eth0`.
fn server(text: &str) -> Option<SocketAddr> {
    text.parse::<IpAddr>().ok().map(|address| (address, 53).into())
}

fn option(conf: &mut ResolvConf, word: &str) {
    let Some((name, value)) = word.split_once(':') else { return };
    let Ok(value) = value.parse::<u32>() else { return };
    match name {
        "ndots" => conf.ndots = usize::try_from(value.min(15)).unwrap_or(1),
        "timeout" => conf.timeout = Duration::from_secs(value.clamp(1, 30).into()),
        "attempts" => conf.attempts = value.clamp(1, 5),
        _ => {}
    }
}

pub(super) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_file_is_read() {
        let conf = parse(
            "# made by something\nnameserver 10.0.0.2\nnameserver 2001:db8::1\nsearch a.example b.example\n\
             options ndots:2 timeout:1 attempts:9 rotate\n",
        );
        assert_eq!(conf.servers, ["10.0.0.2:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts), (2, 1, 5));
        assert_eq!(parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn hosts_have_several_names() {
        let text = "127.0.0.1 localhost\n::1 localhost ip6-localhost # both\n10.1.1.1 Box box.example\n";
        assert_eq!(in_hosts(text, "localhost").len(), 2);
        assert_eq!(in_hosts(text, "BOX"), ["10.1.1.1".parse::<IpAddr>().unwrap()]);
        assert!(in_hosts(text, "both").is_empty());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(\\PC|\n){0,200}") {
            let _ = parse(&text);
            let _ = in_hosts(&text, "x");
        }
    }
}
