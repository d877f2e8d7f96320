//! The server as a child process: its end, its restart, its store, its configuration.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mmn_bus::connect::{Connect, Link};
use mmn_bus::identity::{self, Keyset};
use mmn_bus::launch::{Confinement, DeathSignal, Launcher, Watched};
use mmn_bus::server::{Server, ServerOptions, ServerTls, StartError, StoreError};
use mmn_bus::testing::{self, TestServer};
use mmn_schema::subject::Prefix;

const HANG: Duration = Duration::from_secs(30);
const PARENT_ROLE: &str = "MMN_BUS_TEST_PARENT";

/// The launcher that cargo has built beside the tests.
fn launcher() -> Launcher {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let program = path.join("examples/launch");
    assert!(program.exists(), "{} is missing", program.display());
    Launcher::new([program])
}

fn options(dir: &Path) -> ServerOptions {
    let keys = Keyset::generate(&Prefix::default());
    let trust = keys.server_trust(testing::now_s()).unwrap();
    let mut options = ServerOptions::new(testing::binary(), dir.join("nats"), trust);
    options.launcher = launcher();
    options
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until(condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(HANG, poll).await.expect("no hang");
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(options(temp.path())).await.unwrap();
    let pid = server.pid();
    assert!(is_alive(pid));
    drop(server);
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn it_holds_no_capability_and_its_own_process_group() {
    let temp = tempfile::tempdir().unwrap();
    let server = Server::start(options(temp.path())).await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        // As root the bounding set is emptied too; others can not, and have nothing to lose.
        if set == "CapBnd" && !rustix::process::geteuid().is_root() {
            continue;
        }
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{set}: {status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let pid = i32::try_from(server.pid()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    assert_eq!(rustix::process::getpgid(Some(pid)), Ok(pid));
    server.stop().await.unwrap();
}

/// No test: the process that `dies_with_its_parent` kills. It starts a server, says its process
/// id, and waits for its end.
#[tokio::test]
async fn parent_role() {
    let Some(dir) = std::env::var_os(PARENT_ROLE) else {
        return;
    };
    let server = Server::start(options(Path::new(&dir))).await.unwrap();
    std::fs::write(Path::new(&dir).join("pid.new"), server.pid().to_string()).unwrap();
    std::fs::rename(Path::new(&dir).join("pid.new"), Path::new(&dir).join("pid")).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn dies_with_its_parent() {
    let temp = tempfile::tempdir().unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "parent_role", "--nocapture"])
        .env(PARENT_ROLE, temp.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = temp.path().join("pid");
    until(|| file.exists()).await;
    let pid: u32 = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    assert!(is_alive(pid));
    // SIGKILL: the parent can not do anything about it.
    parent.kill().unwrap();
    parent.wait().unwrap();
    until(|| !is_alive(pid)).await;
}

#[tokio::test]
async fn a_child_is_confined_as_asked() {
    let temp = tempfile::tempdir().unwrap();
    let confinement = Confinement {
        death_signal: Some(DeathSignal::Term),
        rlimits: vec![("nofile".into(), 123), ("core".into(), 0)],
        no_new_privs: true,
        drop_capabilities: true,
    };
    let mut command = launcher().command("/bin/cat".as_ref(), &confinement);
    command.args(["/proc/self/limits", "/proc/self/status"]);
    let file = temp.path().join("out");
    command.stdout(std::fs::File::create(&file).unwrap());
    let child = Watched::spawn(command).unwrap();
    assert!(child.ended().await.success());
    let text = std::fs::read_to_string(&file).unwrap();
    let limit = text.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = limit.unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["123", "123"]);
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1"), "{text}");
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "trap '' TERM; while :; do :; done"]);
    let child = Watched::spawn(command).unwrap();
    let status = child.stop(Duration::from_millis(50)).await;
    assert!(!status.success());
    assert!(!is_alive(child.pid()));
}

#[test]
fn a_program_that_is_missing_is_an_error() {
    assert!(Watched::spawn(Command::new("/nonexistent")).is_err());
}

#[tokio::test]
async fn a_store_of_a_newer_server_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = options(temp.path());
    let server = Server::start(options.clone()).await.unwrap();
    server.stop().await.unwrap();
    // The same and a newer server may.
    options.binary.version.minor += 1;
    let server = Server::start(options.clone()).await.unwrap();
    server.stop().await.unwrap();
    options.binary.version.minor -= 1;
    let refused = Server::start(options).await.unwrap_err();
    assert!(matches!(&refused, StartError::Store(StoreError::Newer { .. })), "{refused}");
}

#[tokio::test]
async fn a_wrong_configuration_is_told_in_the_servers_words() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = options(temp.path());
    options.tls = Some(ServerTls {
        certificate: "/nonexistent.pem".into(),
        key: "/nonexistent.key".into(),
        client_ca: None,
    });
    let refused = Server::start(options).await.unwrap_err();
    let StartError::Config(words) = &refused else {
        panic!("{refused}");
    };
    assert!(words.contains("nonexistent.pem"), "{words}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_in_the_servers_words() {
    let temp = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = options(temp.path());
    options.port = Some(taken.local_addr().unwrap().port());
    let refused = Server::start(options).await.unwrap_err();
    let StartError::Ended { words, .. } = &refused else {
        panic!("{refused}");
    };
    assert!(words.contains("address already in use"), "{words}");
}

#[tokio::test]
async fn it_is_restarted_when_it_dies_and_ends_when_told() {
    let temp = tempfile::tempdir().unwrap();
    let keys = Keyset::generate(&Prefix::default());
    let mut options = options(temp.path());
    options.trust = keys.server_trust(testing::now_s()).unwrap();
    let server = Server::start(options).await.unwrap();
    let (url, pid, reloader) = (server.url(), server.pid(), server.reloader());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async move { drop(stopped.await) }));

    let dir = temp.path().join("anchor");
    identity::write_anchor(&dir, &keys, "a1", testing::now_s()).unwrap();
    let connect = Connect::new(url, dir.join(identity::CREDS), "a1");
    let bus = connect.open().await.unwrap();
    let mut link = bus.link();
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    let back = link.wait_for(|link| matches!(link, Link::Up { generation: 2.. }));
    tokio::time::timeout(HANG, back).await.unwrap().unwrap();
    bus.barrier().await.unwrap();
    reloader.reload();
    let log = temp.path().join("nats/nats-server.log");
    until(|| std::fs::read_to_string(&log).is_ok_and(|log| log.contains("Reloaded server"))).await;
    bus.close().await;
    assert_eq!(*bus.link().borrow(), Link::Closed);
    stop.send(()).unwrap();
    tokio::time::timeout(HANG, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn it_reads_its_configuration_again_and_keeps_its_port() {
    let mut server = TestServer::start_with(|options| options.monitoring = true).await;
    let anchor = server.anchor("a1").await;
    let log = server.dir().join("nats/nats-server.log");
    assert!(server.server().monitoring_url().is_some());
    server.server().reload().unwrap();
    until(|| std::fs::read_to_string(&log).is_ok_and(|log| log.contains("Reloaded server"))).await;
    anchor.barrier().await.unwrap();
    assert!(TestServer::start().await.url() != server.url());
    server.anchor("a2").await.barrier().await.unwrap();
}

#[tokio::test]
async fn over_tls_both_sides_know_each_other() {
    let temp = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(temp.path(), "server");
    let identity = self::certificate(temp.path(), "client");
    let server = TestServer::start_with(|options| {
        let client_ca = Some(identity.0.clone());
        options.tls = Some(ServerTls { certificate: certificate.clone(), key, client_ca });
    })
    .await;
    let dir = server.anchor_dir("a1");
    let mut connect = Connect::new(server.url(), dir.join(identity::CREDS), "a1");
    connect.tls.identity = Some(identity);
    assert!(connect.clone().open().await.is_err(), "an unknown authority");
    connect.tls.ca = Some(certificate);
    connect.clone().open().await.unwrap().barrier().await.unwrap();
    connect.tls.identity = None;
    assert!(connect.open().await.is_err(), "a client without a certificate");
}

/// A certificate for 127.0.0.1 that nobody else has signed.
fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let (certificate, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}
