//! Daemons of scamper as vantage points: scripted ones, over real sockets, at an `mmn remote` beside an `mmn up`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may panic"
)]

mod remote {
    pub(crate) mod daemon;
    pub(crate) mod network;
}

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use mmn_scamper::Command;
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, IsCa, Issuer, KeyPair};
use remote::daemon::{Daemon, answer};
use remote::network::{Network, shown};
use rustls::pki_types::CertificateDer;
use serde_json::json;

/// A daemon does what an mmn of its own would be asked for.
#[test]
fn tasks_become_commands_and_records_results() {
    let network = Network::start(&[]);
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");

    // Addresses, and what nobody gave, as scamper takes it.
    let ping = network.measure(&[
        "ping",
        "192.0.2.1",
        "--from",
        "ams-nl",
        "--count",
        "2",
        "--interval",
        "20ms",
        "--json",
    ]);
    let asked = daemon.command();
    let Command::Ping(command) = &asked else { panic!("{asked:?}") };
    assert_eq!(
        (command.count, command.target.to_string().as_str(), command.size),
        (Some(2), "192.0.2.1", Some(84))
    );
    daemon.record(&answer(&asked));
    let record = &shown(ping)[0];
    assert_eq!(
        (&record["outcome"], &record["answered"], &record["vp_name"]),
        (&json!("ok"), &json!(true), &json!("ams-nl"))
    );
    assert_eq!(record["summary"]["rtt_min_ns"], 1_500_000, "{record}");
    assert_eq!(record["body"]["replies"][1]["ttl"], 60, "{record}");

    let trace = network.measure(&["trace", "192.0.2.9", "--from", "ams-nl", "--json"]);
    let asked = daemon.command();
    let Command::Trace(command) = &asked else { panic!("{asked:?}") };
    assert_eq!(command.hop_limit, Some(30));
    daemon.record(&answer(&asked));
    let record = &shown(trace)[0];
    assert_eq!(record["summary"]["hops"], 3, "{record}");
    assert_eq!(record["body"]["stop"]["reason"], "completed");
    assert_eq!(record["body"]["hops"][0]["probes"][0]["reply"]["name"], "ttl_exceeded");

    let dns =
        network.measure(&["dns", "www.example.net", "--from", "ams-nl", "--server", "192.0.2.53", "--json"]);
    let asked = daemon.command();
    let Command::Host(command) = &asked else { panic!("{asked:?}") };
    assert_eq!((command.target.as_str(), command.server), ("www.example.net", "192.0.2.53".parse().ok()));
    daemon.record(&answer(&asked));
    let record = &shown(dns)[0];
    assert_eq!(record["body"]["response"]["answer"][0]["rdata"], "192.0.2.80", "{record}");
    assert_eq!((&record["summary"]["rcode"], &record["summary"]["answers"]), (&json!(0), &json!(1)));

    // A target by its name: the daemon's own resolver tells, and the policy judges what it told.
    let named = network.measure(&["ping", "www.example.net", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = daemon.command();
    assert!(matches!(&asked, Command::Host(host) if host.server.is_none()), "{asked:?}");
    daemon.record(&answer(&asked));
    let asked = daemon.command();
    assert!(matches!(&asked, Command::Ping(ping) if ping.target.to_string() == "192.0.2.80"), "{asked:?}");
    daemon.record(&answer(&asked));
    assert_eq!(shown(named)[0]["body"]["target"], "www.example.net");
}

/// What scamper can't do, what the policy forbids and what the daemon turns down is refused, each with its reason.
#[test]
fn what_can_not_be_is_refused() {
    let network = Network::start(&[]);
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");
    for (args, reason) in [
        (&["ping", "192.0.2.1", "--df"][..], "df: scamper leaves that to the system"),
        (&["trace", "192.0.2.1", "--timeout", "500ms"][..], "timeout: scamper takes 1000 to 10000 ms"),
        (&["dns", "example.net", "--cookie"][..], "cookie: scamper sends no cookie"),
        (&["ping", "127.0.0.1"][..], "127.0.0.1"),
    ] {
        let record = shown(network.measure(&[args, &["--from", "ams-nl", "--json"]].concat())).remove(0);
        assert_eq!(record["outcome"], "refused", "{record}");
        let detail = record["reason"]["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{detail}");
    }
    let refused = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--json"]);
    daemon.refuse("not today");
    let record = shown(refused).remove(0);
    assert_eq!(
        (&record["outcome"], &record["reason"]["detail"]),
        (&json!("refused"), &json!("scamper: not today"))
    );
}

/// A connection that breaks costs nothing: what the daemon holds comes over the next one, once.
#[test]
fn a_daemon_that_comes_back_has_lost_nothing() {
    let network = Network::start(&[]);
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");
    let targets = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    let pings =
        network.measure(&[&["ping"], &targets[..], &["--from", "ams-nl", "--count", "1", "--json"]].concat());
    let asked: Vec<_> = targets.iter().map(|_| daemon.command()).collect();
    daemon.record(&answer(&asked[0]));
    // One was measured while there was no connection, and one after it.
    daemon.cut();
    daemon.record(&answer(&asked[1]));
    daemon.resume(network.listens);
    daemon.record(&answer(&asked[2]));
    let records = shown(pings);
    let mut found: Vec<_> = records
        .iter()
        .map(|record| (record["input"].as_str().unwrap(), record["outcome"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, targets.map(|target| (target, "ok")));
    // It is as it was.
    let ping = network.measure(&["ping", "192.0.2.4", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = daemon.command();
    daemon.record(&answer(&asked));
    assert_eq!(shown(ping)[0]["outcome"], "ok");
}

/// A daemon that does not come back is lost, and what it held is closed with that.
#[test]
fn a_daemon_that_is_gone_is_lost() {
    let network = Network::start(&["--away", "500ms"]);
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--json"]);
    daemon.command();
    daemon.cut();
    let record = shown(ping).remove(0);
    assert_eq!(
        (&record["outcome"], &record["reason"]["code"]),
        (&json!("lost"), &json!("instance-lost")),
        "{record}"
    );
    let detail = record["reason"]["detail"].as_str().unwrap();
    assert!(detail.contains("scamper ams-nl is gone"), "{detail}");
    network.vp_is("ams-nl", "lost");
    // It is the same vantage point when it comes again.
    let before = network.vp("ams-nl");
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");
    assert_eq!(network.vp("ams-nl")["vantage_point"]["id"], before["vantage_point"]["id"]);
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = daemon.command();
    daemon.record(&answer(&asked));
    assert_eq!(shown(ping)[0]["outcome"], "ok");
}

/// One that is started anew has forgotten what it was asked; a second one of a name is turned away.
#[test]
fn a_name_has_one_daemon() {
    let network = Network::start(&[]);
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");
    assert!(Daemon::try_connect(network.listens, "ams-nl").is_none());
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--json"]);
    daemon.command();
    drop(daemon);
    let mut anew = Daemon::connect(network.listens, "ams-nl");
    let record = shown(ping).remove(0);
    assert_eq!(record["outcome"], "lost", "{record}");
    assert!(record["reason"]["detail"].as_str().unwrap().contains("was started anew"), "{record}");
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = anew.command();
    anew.record(&answer(&asked));
    assert_eq!(shown(ping)[0]["outcome"], "ok");
}

/// Garbage, sessions that nobody knows and floods end a connection, and nothing else.
#[test]
fn strangers_are_turned_away() {
    let network = Network::start(&[]);
    let mut daemon = Daemon::connect(network.listens, "ams-nl");
    network.vp_is("ams-nl", "healthy");
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 10], &[0xff; 4096]] {
        let mut stream = TcpStream::connect(network.listens).unwrap();
        stream.write_all(garbage).unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
    }
    // A session that nobody knows is told to begin anew, and does so on the same connection.
    let mut stranger = Daemon::resume_unknown(network.listens, "lhr-uk");
    network.vp_is("lhr-uk", "healthy");
    // Records that nobody asked for.
    for _ in 0..1_001 {
        stranger.stray();
    }
    stranger.is_closed();
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = daemon.command();
    daemon.record(&answer(&asked));
    assert_eq!(shown(ping)[0]["outcome"], "ok");
}

/// The connection is TLS from its first octet, where a certificate is given.
#[test]
fn daemons_speak_tls() {
    let dir = tempfile::tempdir().unwrap();
    let (trusted, options) = certificate(dir.path());
    let network = Network::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(Daemon::try_connect(network.listens, "ams-nl").is_none());
    let mut daemon = Daemon::try_connect_tls(network.listens, "ams-nl", trusted, None).unwrap();
    network.vp_is("ams-nl", "healthy");
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = daemon.command();
    daemon.record(&answer(&asked));
    assert_eq!(shown(ping)[0]["outcome"], "ok");
}

/// Where an authority for daemons is given, each has to show a certificate of its own name.
#[test]
fn daemons_show_who_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (trusted, mut options) = certificate(dir.path());
    let (ca_file, ca) = (dir.path().join("ca.pem"), Authority::new());
    std::fs::write(&ca_file, &ca.pem).unwrap();
    options.extend(["--tls-client-ca".to_owned(), ca_file.to_str().unwrap().to_owned()]);
    let network = Network::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let connect = |name: &str, shown: Option<&_>| {
        Daemon::try_connect_tls(network.listens, name, trusted.clone(), shown)
    };
    let (own, of_another) = (ca.certify("ams-nl"), Authority::new().certify("ams-nl"));
    assert!(connect("ams-nl", None).is_none());
    assert!(connect("ams-nl", Some(&of_another)).is_none());
    assert!(connect("lhr-uk", Some(&own)).is_none());
    let mut daemon = connect("ams-nl", Some(&own)).unwrap();
    network.vp_is("ams-nl", "healthy");
    let ping = network.measure(&["ping", "192.0.2.1", "--from", "ams-nl", "--count", "1", "--json"]);
    let asked = daemon.command();
    daemon.record(&answer(&asked));
    assert_eq!(shown(ping)[0]["outcome"], "ok");
}

/// A certificate of `mmn remote` for `localhost`, and the options that say where it lies.
fn certificate(dir: &Path) -> (CertificateDer<'static>, Vec<String>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pems = [("--tls-cert", made.cert.pem()), ("--tls-key", made.signing_key.serialize_pem())];
    let mut options = Vec::new();
    for (option, pem) in pems {
        let file = dir.join(format!("{}.pem", option.trim_start_matches('-')));
        std::fs::write(&file, pem).unwrap();
        options.extend([option.to_owned(), file.to_str().unwrap().to_owned()]);
    }
    (made.cert.der().clone(), options)
}

/// Who signs certificates of daemons.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn certify(&self, name: &str) -> CertifiedKey<KeyPair> {
        let signing_key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        CertifiedKey { cert: params.signed_by(&signing_key, &self.issuer).unwrap(), signing_key }
    }
}
