//! What this process and this host say of themselves, from `/proc`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;

use async_nats::Client;
use mmn_schema::announce::Load;

/// What this process uses, as a heartbeat tells it; what can't be read is absent.
pub(crate) fn load(client: &Client) -> Load {
    let Vitals { rss_bytes, cpu_ns } = vitals();
    let statistics = client.statistics();
    Load {
        rss_bytes,
        cpu_ns,
        process: Some(process()),
        nats_received_bytes: Some(statistics.in_bytes.load(Relaxed)),
        nats_sent_bytes: Some(statistics.out_bytes.load(Relaxed)),
        ..Load::default()
    }
}

/// The number of this process. It is small enough for whoever has no integers but reals.
fn process() -> u64 {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| rand::random_range(1..1 << 53));
    *PROCESS
}

/// Bytes that the interfaces of this network have got and sent, loopback left out.
pub(crate) fn interface_bytes() -> Option<(u64, u64)> {
    net_dev(&std::fs::read_to_string("/proc/self/net/dev").ok()?)
}

/// The sums of a table of interfaces (`proc_pid_net(5)`): after the name bytes that were received, seven other counters,
/// and bytes that were sent.
fn net_dev(text: &str) -> Option<(u64, u64)> {
    let mut sums = None;
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':').filter(|(name, _)| name.trim() != "lo") else {
            continue;
        };
        let mut counters = counters.split_ascii_whitespace().map(str::parse::<u64>);
        let (Some(Ok(received)), Some(Ok(sent))) = (counters.next(), counters.nth(7)) else {
            tracing::debug!(name, "an interface's counters can't be read");
            continue;
        };
        let (all_received, all_sent) = sums.unwrap_or((0_u64, 0_u64));
        sums = Some((all_received.saturating_add(received), all_sent.saturating_add(sent)));
    }
    sums
}

/// Resident memory and processor time of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Vitals {
    rss_bytes: Option<u64>,
    cpu_ns: Option<u64>,
}

/// Reads the vitals; what can't be read is absent.
fn vitals() -> Vitals {
    let rss_bytes = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok())
        .map(|pages| pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096)));
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_ns = u64::try_from(cpu.tv_sec)
        .ok()
        .zip(u64::try_from(cpu.tv_nsec).ok())
        .map(|(seconds, nanos)| seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
    Vitals { rss_bytes, cpu_ns }
}

/// The host's addresses, the ones that default routes use first; loopback and link-local ones left out.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let fib = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut rest: BTreeSet<IpAddr> =
        fib_trie(&fib).into_iter().map(IpAddr::V4).chain(if_inet6(&v6).into_iter().map(IpAddr::V6)).collect();
    rest.retain(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    });
    // Connecting a datagram socket sends nothing; it asks for the route.
    let source = |bind: &str, to: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    let first = [source("0.0.0.0:0", "192.0.2.1:9"), source("[::]:0", "[2001:db8::1]:9")];
    let mut addresses: Vec<IpAddr> = first.into_iter().flatten().filter(|a| rest.remove(a)).collect();
    addresses.extend(rest);
    addresses
}

/// The host's name.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Local addresses of a routing table: each stands on the line above its `/32 host LOCAL`.
fn fib_trie(text: &str) -> BTreeSet<Ipv4Addr> {
    let mut last: Option<Ipv4Addr> = None;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found
}

/// Addresses as 32 hexadecimal digits at the beginning of each line.
fn if_inet6(text: &str) -> BTreeSet<Ipv6Addr> {
    text.lines()
        .filter_map(|line| u128::from_str_radix(line.split_ascii_whitespace().next()?, 16).ok())
        .map(Ipv6Addr::from_bits)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let fib = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.0\n        /24 link UNICAST\n     \
                   |-- 10.1.2.3\n        /32 host LOCAL\nLocal:\n     |-- 10.1.2.3\n        /32 host LOCAL\n";
        assert_eq!(fib_trie(fib), BTreeSet::from([Ipv4Addr::new(10, 1, 2, 3)]));
        let v6 = "20010db8000000000000000000000005 02 40 00 80 eth0\ngarbage\n";
        assert_eq!(if_inet6(v6), BTreeSet::from(["2001:db8::5".parse().unwrap()]));
    }

    #[test]
    fn bytes_of_interfaces_are_summed_without_loopback() {
        let text = "Inter-|   Receive      |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes\n    \
                    lo:     900       9    0    0    0     0          0         0      900       9    0    0    0     0       0          0\n  \
                    eth0: 1000 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0\nwg0:7 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\nbad: x\n";
        assert_eq!(net_dev(text), Some((1007, 52)));
        assert_eq!(net_dev("no table"), None);
    }

    #[test]
    fn this_process_has_vitals() {
        let vitals = vitals();
        assert!(vitals.rss_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(vitals.cpu_ns.is_some_and(|ns| ns > 0));
    }
}
