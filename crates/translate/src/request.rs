//! A command of scamper as a request of mmn: a kind, its parameters and an input.
//!
//! What a command leaves out is what scamper takes then, where results depend on it; what only decides how fast it is
//! done is the kind's own. `docs/reference/scamper.md` says where each option is here. An option that has no place is
//! refused, and never passed over, but for those that concern scamper's sockets alone.
//!
//! Begin with [`Wanted::of`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

pub use mmn_kit::Cost;
use mmn_kit::Kind;
use mmn_modules::{dns, http, multipath, ping, trace, udp};
use mmn_scamper::Command;
use mmn_scamper::command::{
    Host, HostOption, HostType, Http, HttpOption, IpTimestamp, Ping, PingMethod, PingOption, Trace,
    TraceMethod, TraceOption, Tracelb, TracelbMethod, TracelbOption, UdpProbe, UdpProbeOption,
};
use mmn_schema::dispatch::Input;
use mmn_schema::id::KindName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::results::Asked;

/// What a command asks of a vantage point.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The kind.
    pub kind: KindName,
    /// Its parameters, those that differ from its own.
    pub params: BTreeMap<String, Value>,
    /// On what.
    pub input: Input,
    /// The parameters, all of them, which results are translated by.
    pub asked: Asked,
    /// What it may cost at most. Its time is from the first packet to the end of the last wait.
    pub cost: Cost,
}

/// What a site allows of what scamper's commands may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Packet sockets, which a router of one's own choice (`-r`) takes.
    pub packet_sockets: bool,
}

/// Why a command is none that mmn performs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unserved {
    /// There is no kind for it.
    #[error("there is no kind of measurement for {0}")]
    Kind(&'static str),
    /// An option that has no place.
    #[error("{option}: {why}")]
    Option {
        /// The option as it is written.
        option: &'static str,
        /// Why it has no place.
        why: &'static str,
    },
    /// The site's policy does not allow it.
    #[error("{option}: the policy of the site does not allow {what}")]
    Policy {
        /// The option as it is written.
        option: &'static str,
        /// What it would take.
        what: &'static str,
    },
    /// The kind does not take such parameters.
    #[error("{0}")]
    Params(String),
}

impl Wanted {
    /// What `command` asks for, of a site that allows so much.
    pub fn of(command: &Command, allowed: Allowed) -> Result<Self, Unserved> {
        match command {
            Command::Ping(one) => of_ping(one, allowed),
            Command::Trace(one) => of_trace(one, allowed),
            Command::Tracelb(one) => of_tracelb(one, allowed),
            Command::Host(one) => of_host(one),
            Command::Http(one) => of_http(one),
            Command::UdpProbe(one) => of_udp(one),
            other => Err(Unserved::Kind(other.word())),
        }
    }
}

/// Parameters as they are given.
#[derive(Debug, Default)]
struct Given(BTreeMap<String, Value>);

impl Given {
    fn set(&mut self, name: &str, value: impl Serialize) {
        // Numbers, texts and lists of them are always written.
        self.0.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
    }

    fn maybe(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.set(name, true);
        }
    }

    fn span(&mut self, name: &str, span: Duration) {
        self.set(name, format!("{}us", span.as_micros()));
    }

    fn wanted<K: Kind>(
        self,
        input: String,
        asked: impl Fn(Box<K::Params>) -> Asked,
    ) -> Result<Wanted, Unserved>
    where
        K::Params: DeserializeOwned,
    {
        let object = Value::Object(self.0.clone().into_iter().collect());
        let wrong = |error: String| Unserved::Params(error);
        let params: K::Params = serde_json::from_value(object).map_err(|error| wrong(error.to_string()))?;
        K::check(&params).map_err(wrong)?;
        let cost = K::cost(&params);
        let kind = K::NAME.parse().map_err(|_| Unserved::Kind(K::NAME))?;
        Ok(Wanted { kind, params: self.0, input: Input::Target(input), asked: asked(Box::new(params)), cost })
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn of_ping(ping: &Ping, allowed: Allowed) -> Result<Wanted, Unserved> {
    let mut given = Given::default();
    let method = ping.method.unwrap_or(PingMethod::IcmpEcho);
    let icmp = matches!(method, PingMethod::IcmpEcho | PingMethod::IcmpTime);
    for option in &ping.options {
        match option {
            PingOption::Mss(mss) => given.set("mss", mss),
            PingOption::Spoof => {
                return Err(Unserved::Policy {
                    option: "-O spoof",
                    what: "a source that is not the vantage point's own",
                });
            }
            // How its sockets are read and written; and the message of the too-big trick is sent anyway.
            PingOption::Link
            | PingOption::LinkSend
            | PingOption::NoSource
            | PingOption::Raw
            | PingOption::SocketReceive
            | PingOption::TooBigTrick => {}
        }
    }
    if icmp && ping.dport.is_some() {
        return Err(Unserved::Option {
            option: "-d",
            why: "requests are told apart by ICMP sequence numbers",
        });
    }
    stream(ping.stream)?;
    if method != PingMethod::IcmpEcho {
        given.set("method", ping_method(method));
    }
    given.set("count", ping.count.unwrap_or(4));
    let interval = ping.wait_probe.unwrap_or(SECOND);
    given.span("interval", interval.max(Duration::from_millis(10)));
    // Where no wait is asked for, the last probe is waited for as long as another would have been.
    given.span("timeout", ping.wait_timeout.unwrap_or(SECOND.max(interval)));
    given.maybe("size", payload_bytes(ping, method)?);
    given.maybe("pattern", ping.pattern.as_deref().map(hex));
    given.maybe("payload", ping.payload.as_deref().map(hex));
    given.maybe("ttl", ping.ttl);
    given.maybe("tos", ping.tos);
    given.maybe("port", ping.dport);
    given.maybe(if icmp { "icmp_id" } else { "source_port" }, ping.sport);
    given.maybe("icmp_checksum", ping.icmp_sum);
    let sequence = matches!(method, PingMethod::TcpSyn | PingMethod::TcpSynSport | PingMethod::TcpRst);
    given.maybe(if sequence { "tcp_seq" } else { "tcp_ack" }, ping.tcp_ack);
    given.maybe("pseudo_mtu", ping.reply_pmtu.filter(|mtu| *mtu > 0));
    given.maybe("router", router(ping.router, allowed)?);
    given.maybe("source", ping.source);
    given.flag("record_route", ping.record_route);
    given.maybe("ip_timestamp", ping.timestamp.as_ref().map(ip_timestamp));
    given.maybe("stop_after", ping.stop_count.filter(|count| *count > 0));
    given.wanted::<ping::Ping>(ping.target.to_string(), Asked::Ping)
}

fn ping_method(method: PingMethod) -> ping::Method {
    match method {
        PingMethod::IcmpEcho => ping::Method::Icmp,
        PingMethod::IcmpTime => ping::Method::IcmpTimestamp,
        PingMethod::TcpSyn => ping::Method::TcpSyn,
        PingMethod::TcpAck => ping::Method::TcpAck,
        PingMethod::TcpAckSport => ping::Method::TcpAckSport,
        PingMethod::TcpSynAck => ping::Method::TcpSynack,
        PingMethod::TcpRst => ping::Method::TcpRst,
        PingMethod::TcpSynSport => ping::Method::TcpSynSport,
        PingMethod::Udp => ping::Method::Udp,
        PingMethod::UdpDport => ping::Method::UdpDport,
        PingMethod::UdpSport => ping::Method::UdpSport,
    }
}

/// The length of the payload: it is given as such, or with the headers. A request of ICMP has 56, a datagram 12.
fn payload_bytes(ping: &Ping, method: PingMethod) -> Result<Option<u16>, Unserved> {
    if ping.payload.is_some() {
        return Ok(None);
    }
    let udp = matches!(method, PingMethod::Udp | PingMethod::UdpDport | PingMethod::UdpSport);
    let usual = if udp { Some(12) } else { None };
    let Some(size) = ping.size.filter(|size| *size > 0) else { return Ok(ping.payload_size.or(usual)) };
    let ip = if ping.target.is_ipv6() { 40 } else { 20 };
    let transport = match method {
        PingMethod::IcmpEcho => 8,
        PingMethod::IcmpTime => 20,
        _ if udp => 8,
        _ => 20,
    };
    let wrong = || Unserved::Option { option: "-s", why: "the packet has no room for its headers" };
    let left = size.checked_sub(ip + transport).ok_or_else(wrong)?;
    match method {
        PingMethod::IcmpEcho => Ok(Some(left)),
        _ if udp => Ok(Some(left)),
        _ if left == 0 => Ok(None),
        _ => Err(Unserved::Option { option: "-s", why: "such a probe has a payload by -B alone" }),
    }
}

fn ip_timestamp(timestamp: &IpTimestamp) -> String {
    match timestamp {
        IpTimestamp::Only => "tsonly".into(),
        IpTimestamp::WithAddresses => "tsandaddr".into(),
        IpTimestamp::Of(routers) => {
            let routers: Vec<_> = routers.iter().map(ToString::to_string).collect();
            format!("tsprespec={}", routers.join(","))
        }
    }
}

fn of_trace(trace: &Trace, allowed: Allowed) -> Result<Wanted, Unserved> {
    let mut given = Given::default();
    let (method, paris) = match trace.method.unwrap_or(TraceMethod::UdpParis) {
        TraceMethod::Udp => (trace::Method::Udp, false),
        TraceMethod::UdpParis => (trace::Method::Udp, true),
        TraceMethod::Icmp => (trace::Method::Icmp, false),
        TraceMethod::IcmpParis => (trace::Method::Icmp, true),
        TraceMethod::Tcp => (trace::Method::Tcp, true),
        TraceMethod::TcpAck => (trace::Method::TcpAck, true),
    };
    for option in &trace.options {
        match option {
            TraceOption::ConstantPayload => given.set("constant_payload", true),
            TraceOption::NoBackward => given.set("no_backward", true),
            TraceOption::Names => given.set("names", true),
            TraceOption::Back => {
                let why = "a trace goes from its first hop onward, and back by a stop set alone (-Z)";
                return Err(Unserved::Option { option: "-O back", why });
            }
            TraceOption::Link | TraceOption::Raw => {}
        }
    }
    stream(trace.stream)?;
    let icmp = method == trace::Method::Icmp;
    given.set("method", method);
    given.set("paris", paris);
    given.maybe("first_hop", trace.first_hop);
    given.set("max_ttl", trace.hop_limit.filter(|limit| *limit > 0).unwrap_or(255));
    given.set("gap_limit", trace.gap_limit.unwrap_or(5));
    given.flag("last_ditch", trace.gap_action == Some(2));
    given.set("attempts", trace.attempts.unwrap_or(2));
    given.flag("all_attempts", trace.all_attempts);
    given.maybe("confidence", trace.confidence);
    given.span("timeout", trace.wait_timeout.unwrap_or(Duration::from_secs(5)));
    if let Some(wait) = trace.wait_probe {
        given.span("wait", wait);
    }
    if let Some(wait) = trace.wait_probe_hop {
        given.span("wait_hop", wait);
    }
    given.set("parallel", trace.parallel.unwrap_or(1));
    given.set("loops", trace.loops.unwrap_or(1));
    if icmp {
        given.maybe("icmp_id", trace.sport);
        given.maybe("icmp_checksum", trace.dport.filter(|_| paris));
    } else {
        given.maybe("source_port", trace.sport.filter(|port| *port > 0));
        given.set("port", trace.dport.unwrap_or(33_435));
    }
    given.maybe("payload", trace.payload.as_deref().map(hex));
    given.maybe("tos", trace.tos);
    given.maybe("fragment_offset", trace.offset.filter(|offset| *offset > 0));
    given.flag("pmtud", trace.pmtud);
    given.flag("doubletree", !trace.global_stop_set.is_empty() || trace.local_stop_set.is_some());
    if !trace.global_stop_set.is_empty() {
        given.set("global_stop_set", &trace.global_stop_set);
    }
    given.maybe("local_stop_set", trace.local_stop_set.as_ref());
    given.maybe("router", router(trace.router, allowed)?);
    given.maybe("source", trace.source);
    given.wanted::<trace::Trace>(trace.target.to_string(), Asked::Trace)
}

fn of_tracelb(trace: &Tracelb, allowed: Allowed) -> Result<Wanted, Unserved> {
    let mut given = Given::default();
    for option in &trace.options {
        match option {
            TracelbOption::Names => given.set("names", true),
        }
    }
    let method = match trace.method.unwrap_or(TracelbMethod::UdpDport) {
        TracelbMethod::UdpDport => multipath::Method::UdpDport,
        TracelbMethod::UdpSport => multipath::Method::UdpSport,
        TracelbMethod::IcmpEcho => multipath::Method::Icmp,
        TracelbMethod::TcpSport => multipath::Method::Tcp,
        TracelbMethod::TcpAckSport => multipath::Method::TcpAck,
    };
    given.set("method", method);
    given.set("confidence", trace.confidence.unwrap_or(95));
    given.maybe("first_hop", trace.first_hop);
    given.set("max_ttl", 255);
    given.set("gap_limit", trace.gap_limit.unwrap_or(3));
    given.set("attempts", trace.attempts.unwrap_or(2));
    given.set("max_probes", trace.max_probes.unwrap_or(3_000));
    given.span("timeout", trace.wait_timeout.unwrap_or(Duration::from_secs(5)));
    if let Some(wait) = trace.wait_probe {
        given.span("wait", wait);
    }
    if method == multipath::Method::Icmp {
        given.maybe("icmp_id", trace.sport);
    } else {
        given.set("port", trace.dport.unwrap_or(33_435));
        given.maybe("source_port", trace.sport);
    }
    given.maybe("tos", trace.tos);
    given.maybe("router", router(trace.router, allowed)?);
    given.wanted::<multipath::Multipath>(trace.target.to_string(), Asked::Multipath)
}

fn of_host(host: &Host) -> Result<Wanted, Unserved> {
    let mut given = Given::default();
    let mut extended = false;
    for option in &host.options {
        match option {
            HostOption::Nsid => given.set("nsid", true),
            HostOption::Subnet(address, length) => given.set("subnet", format!("{address}/{length}")),
            HostOption::MoreTypes(_) => {
                return Err(Unserved::Option { option: "-O mqtypes", why: "ask for each type by itself" });
            }
        }
        extended = true;
    }
    let address = host.target.parse::<IpAddr>().is_ok();
    let qtype = host.qtype.unwrap_or(if address { HostType::Ptr } else { HostType::A });
    given.set("type", qtype.name());
    if host.class == Some(mmn_scamper::command::HostClass::Ch) {
        given.set("class", "CH");
    }
    given.maybe("server", host.server.map(|server| server.to_string()));
    if host.tcp {
        given.set("protocol", dns::Transport::Tcp);
    }
    if host.no_recurse {
        given.set("rd", false);
    }
    given.set("edns", extended);
    given.set("retries", host.retries.unwrap_or(0));
    given.span("timeout", host.wait.unwrap_or(Duration::from_secs(5)));
    given.wanted::<dns::Dns>(host.target.clone(), Asked::Dns)
}

fn of_http(http: &Http) -> Result<Wanted, Unserved> {
    let mut given = Given::default();
    for option in &http.options {
        match option {
            HttpOption::Insecure => given.set("verify", false),
            HttpOption::Grease => given.set("ech_grease", true),
            HttpOption::EchConfigs(configs) => {
                let octets = data_encoding::BASE64.decode(configs.as_bytes());
                let octets = octets.map_err(|error| Unserved::Params(format!("-O ecl: {error}")))?;
                given.set("ech_config_list", mmn_kit::Octets(octets));
            }
        }
    }
    let url = http.url.clone().unwrap_or_default();
    let (host, port) =
        authority(&url).ok_or_else(|| Unserved::Params(format!("'{url}' is no URL with a host")))?;
    let address = match http.target {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    given.set("resolve", [format!("{host}:{port}:{address}")]);
    given.set("follow_redirects", false);
    given.set("keep_body", true);
    given.span("timeout", http.max_time.unwrap_or(Duration::from_secs(60)));
    if !http.headers.is_empty() {
        given.set("headers", &http.headers);
    }
    given.wanted::<http::Http>(url, Asked::Http)
}

/// The host and the port of a URL of http or https.
fn authority(url: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, usual),
    };
    (!host.is_empty()).then_some((host, port))
}

fn of_udp(udp: &UdpProbe) -> Result<Wanted, Unserved> {
    let mut given = Given::default();
    given.maybe("port", udp.dport);
    given.maybe("payload", udp.payload.as_deref().map(hex));
    given.set("count", udp.count.unwrap_or(1));
    given.span("interval", udp.wait_probe.unwrap_or(SECOND));
    given.span("timeout", udp.wait_timeout.unwrap_or(2 * SECOND));
    given.set("stop_after", udp.stop_count.unwrap_or(1));
    given.flag("exit_first", udp.options.contains(&UdpProbeOption::ExitFirst));
    given.maybe("source", udp.source);
    given.wanted::<udp::Udp>(udp.target.to_string(), Asked::Udp)
}

fn router(router: Option<IpAddr>, allowed: Allowed) -> Result<Option<IpAddr>, Unserved> {
    match router {
        Some(_) if !allowed.packet_sockets => Err(Unserved::Policy {
            option: "-r",
            what: "packet sockets, which a router of one's own choice takes",
        }),
        router => Ok(router),
    }
}

fn stream(packets: Option<u8>) -> Result<(), Unserved> {
    match packets {
        Some(1..) => Err(Unserved::Option { option: "-y", why: "a result comes whole" }),
        _ => Ok(()),
    }
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(octets)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(text: &str) -> Result<Wanted, Unserved> {
        Wanted::of(&Command::parse(text).unwrap(), Allowed::default())
    }

    fn params(text: &str) -> Value {
        let wanted = wanted(text).unwrap();
        json!({ wanted.kind.to_string(): wanted.params, "input": wanted.input })
    }

    #[test]
    fn commands_become_requests() {
        assert_eq!(
            params("ping 192.0.2.1"),
            json!({"ping": {"count": 4, "interval": "1000000us", "timeout": "1000000us"}, "input": "192.0.2.1"})
        );
        assert_eq!(
            params("ping -c 1 -o 1 -P tcp-syn -d 443 -F 5000 -A 7 -s 40 -W 2s -m 9 192.0.2.1"),
            json!({"ping": {
                "method": "tcp_syn", "count": 1, "interval": "1000000us", "timeout": "2000000us", "port": 443,
                "source_port": 5000, "tcp_seq": 7, "ttl": 9, "stop_after": 1,
            }, "input": "192.0.2.1"})
        );
        assert_eq!(params("ping -s 84 192.0.2.1")["ping"]["size"], 56);
        assert_eq!(params("ping -s 104 2001:db8::1")["ping"]["size"], 56);
        assert_eq!(
            params("trace -P icmp-paris -d 5 -s 6 -q 1 192.0.2.1"),
            json!({"trace": {
                "method": "icmp", "paris": true, "max_ttl": 255, "gap_limit": 5, "attempts": 1,
                "timeout": "5000000us", "parallel": 1, "loops": 1, "icmp_id": 6, "icmp_checksum": 5,
            }, "input": "192.0.2.1"})
        );
        assert_eq!(params("trace -z 192.0.2.9 -Z x 192.0.2.1")["trace"]["doubletree"], true);
        assert_eq!(params("tracelb -P icmp-echo 192.0.2.1")["multipath"]["method"], "icmp");
        assert_eq!(params("trace -O ptr 192.0.2.1")["trace"]["names"], true);
        assert_eq!(params("tracelb -O ptr 192.0.2.1")["multipath"]["names"], true);
        assert_eq!(params("host -W 0.25 example.net")["dns"]["timeout"], "250000us");
        let greased = params("http -O grease -u https://example.net 192.0.2.80");
        assert_eq!(greased["http"]["ech_grease"], true);
        assert_eq!(
            params("host -r -t NS -s 192.0.2.53 example.net"),
            json!({"dns": {
                "type": "NS", "server": "192.0.2.53", "rd": false, "edns": false, "retries": 0,
                "timeout": "5000000us",
            }, "input": "example.net"})
        );
        assert_eq!(params("host 192.0.2.1")["dns"]["type"], "PTR");
        assert_eq!(
            params("http -H 'A: b' -O insecure -u https://example.net/x 192.0.2.80"),
            json!({"http": {
                "verify": false, "resolve": ["example.net:443:192.0.2.80"], "follow_redirects": false,
                "keep_body": true, "timeout": "60000000us", "headers": ["A: b"],
            }, "input": "https://example.net/x"})
        );
        assert_eq!(
            params("udpprobe -d 53 -p 00ff 192.0.2.1"),
            json!({"udp": {
                "port": 53, "payload": "00ff", "count": 1, "interval": "1000000us", "timeout": "2000000us",
                "stop_after": 1,
            }, "input": "192.0.2.1"})
        );
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for (text, reason) in [
            ("dealias 192.0.2.1", "there is no kind of measurement for dealias"),
            (
                "ping -O spoof -S 192.0.2.9 192.0.2.1",
                "-O spoof: the policy of the site does not allow a source that is not the vantage point's own",
            ),
            (
                "trace -r 192.0.2.9 192.0.2.1",
                "-r: the policy of the site does not allow packet sockets, which a router of one's own choice takes",
            ),
            (
                "trace -O back 192.0.2.1",
                "-O back: a trace goes from its first hop onward, and back by a stop set alone (-Z)",
            ),
            ("ping -d 7 192.0.2.1", "-d: requests are told apart by ICMP sequence numbers"),
            ("host -O mqtypes=A,AAAA example.net", "-O mqtypes: ask for each type by itself"),
            ("http -O ecl=! -u https://example.net 192.0.2.1", "-O ecl: invalid length at 0"),
            ("ping -y 1 192.0.2.1", "-y: a result comes whole"),
        ] {
            assert_eq!(wanted(text).unwrap_err().to_string(), reason, "{text}");
        }
        let routed = Command::parse("ping -r 192.0.2.9 192.0.2.1").unwrap();
        let allowed = Allowed { packet_sockets: true };
        assert_eq!(Wanted::of(&routed, allowed).unwrap().params["router"], "192.0.2.9");
    }
}
