//! A node with real children: what comes and goes in `modules.d/`, what children may, what outlives whom.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::large_futures,
    reason = "what fails here fails the test, with its reason; a test's future lives once"
)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use common::place::{Node, children, config, directories, is, module, start, start_with};
use common::{Anchor, enrol, plain, soon};
use mmn_bus::identity::Creds;
use mmn_bus::testing::TestServer;
use mmn_node::{Config, NodeError};
use mmn_schema::announce::{ModuleState, ModuleStatus, Role};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::dispatch::Receipt;
use mmn_schema::id::InstanceId;
use mmn_schema::outcome::{Outcome, code};
use mmn_schema::subject::Subject;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// What a stray child runs: long enough to be seen, and gone by itself if all else fails.
const SLEEP: &str = "command = [\"sleep\", \"100\"]\ndrain_seconds = 0\n";

/// Waits until the module is in the state; returns it.
async fn until(anchor: &mut Anchor, name: &str, state: ModuleState) -> ModuleStatus {
    let info = anchor.node_that(|info| is(info, name, state)).await;
    module(&info, name).unwrap().clone()
}

#[tokio::test]
async fn a_module_that_is_not_heard_is_told_with_its_last_words() {
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let silence = |config: &mut Config| config.silence = std::time::Duration::from_millis(50);
    let (node, _) = start_with(&server, silence).await;
    let mute = "command = [\"sh\", \"-c\", \"echo no way to NATS; exec sleep 100\"]\ndrain_seconds = 0\n";
    node.drop_manifest("mute", mute);
    let told = |info: &mmn_schema::announce::NodeInfo| {
        module(info, "mute").is_some_and(|mute| {
            let detail = mute.detail.as_deref().unwrap_or_default();
            mute.state == ModuleState::Starting
                && detail.starts_with("not announced for ")
                && detail.ends_with(": no way to NATS")
        })
    };
    anchor.node_that(told).await;
    // What is heard is at work, even if it took its time.
    let info = anchor.node_that(|info| is(info, "notes", ModuleState::Running)).await;
    assert_eq!(module(&info, "mute").unwrap().restarts, 0);
    node.end().await;
}

async fn scene(test: impl AsyncFnOnce(&mut TestServer, &mut Anchor, Node)) {
    let mut server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (node, _) = start(&server).await;
    test(&mut server, &mut anchor, node).await;
}

/// The process of an instance, found by what it was told, once the launcher has become it.
async fn pid_of(instance: &InstanceId) -> u32 {
    let wanted = format!("MMN_INSTANCE={instance}");
    let has = |pid: u32, file: &str, what: &[u8]| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|text| text.split(|byte| *byte == 0).any(|word| word == what))
    };
    let find = || {
        std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .find(|pid| {
                has(*pid, "environ", wanted.as_bytes())
                    && has(*pid, "cmdline", b"")
                    && !has(*pid, "cmdline", b"launch")
            })
    };
    soon(async {
        loop {
            match find() {
                Some(pid) => return pid,
                // While a process becomes another program it has neither words nor variables.
                None => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

/// Waits until a process is gone, without polling.
async fn gone(pid: u32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => {
            let ended = tokio::task::spawn_blocking(move || {
                let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
                poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout)).unwrap()
            });
            assert_eq!(ended.await.unwrap(), 1, "{pid:?} is still there");
        }
        Err(rustix::io::Errno::SRCH) => {}
        Err(errno) => panic!("{errno}"),
    }
}

fn status_of(pid: u32) -> BTreeMap<String, String> {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[tokio::test]
async fn a_node_speaks_for_its_place_and_its_modules_work() {
    scene(async |_, anchor, node| {
        let info = anchor.node_that(|info| is(info, "notes", ModuleState::Running)).await;
        assert_eq!(
            (info.vantage_point.id.clone(), info.vantage_point.name.as_str()),
            (node.vp.clone(), "place")
        );
        assert_eq!(info.vantage_point.location.country.as_deref(), Some("DE"));
        assert_eq!(info.policy.max_pps, 1_000);
        let (announcement, module) = anchor.module().await;
        assert_eq!((announcement.vp, module.module.as_str()), (node.vp.clone(), "notes"));
        let batch = anchor.batch(plain(), &["x"]);
        let subject = Subject::Task(node.vp.clone(), batch.kind.clone(), announcement.instance.clone());
        let message = mmn_schema::dispatch::ToInstance::Tasks(batch);
        let receipt: Receipt = anchor.request(subject, &message).await;
        assert!(matches!(receipt, Receipt::Accepted { .. }), "{receipt:?}");
        assert_eq!(anchor.records(1).await[0].outcome, Outcome::Ok);
        node.end().await;
        anchor.bye(&announcement.instance).await;
        anchor.bye(&"node-1".parse().unwrap()).await;
    })
    .await;
}

#[tokio::test]
async fn children_have_no_privilege_and_bounds() {
    scene(async |_, anchor, node| {
        node.drop_manifest("tight", &format!("{SLEEP}[limits]\nopen_files = 77\nmemory_mib = 512\n"));
        for name in ["notes", "tight"] {
            let status = until(anchor, name, ModuleState::Running).await;
            let instance = &status.instances[0];
            let pid = pid_of(instance).await;
            let status = status_of(pid);
            assert_eq!(status["NoNewPrivs"], "1");
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(u64::from_str_radix(&status[set], 16).unwrap(), 0, "{name} {set}");
            }
            let creds = node.dir.join("run").join(instance.as_str()).join("module.creds");
            assert_eq!(std::fs::metadata(&creds).unwrap().permissions().mode() & 0o777, 0o600);
            let seed = Creds::read(&creds).unwrap().seed.reveal().to_owned();
            for file in ["environ", "cmdline"] {
                let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
                assert!(!String::from_utf8_lossy(&text).contains(&seed), "{name} {file}");
            }
            if name == "tight" {
                let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
                let limit = |what: &str| {
                    let line = limits.lines().find(|line| line.starts_with(what)).unwrap();
                    line.split_whitespace().rev().nth(1).unwrap().to_owned()
                };
                assert_eq!(
                    (limit("Max open files"), limit("Max address space")),
                    ("77".into(), (512 << 20).to_string())
                );
                // A module of others has nothing but its output: no socket, no page. What it opens itself as it
                // begins (its locale) is closed soon.
                let others = || {
                    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
                    let targets = files.filter_map(|file| std::fs::read_link(file.path()).ok());
                    let targets = targets.map(|target| target.to_string_lossy().into_owned());
                    targets
                        .filter(|target| target != "/dev/null" && !target.starts_with("pipe:"))
                        .collect::<Vec<_>>()
                };
                soon(async {
                    while !others().is_empty() {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
            }
        }
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn modules_come_change_and_go_and_nobody_else_notices() {
    scene(async |_, anchor, node| {
        let notes = until(anchor, "notes", ModuleState::Running).await;
        node.drop_manifest("nap", SLEEP);
        let first = until(anchor, "nap", ModuleState::Running).await;
        let pid = pid_of(&first.instances[0]).await;
        node.drop_manifest("nap", &format!("{SLEEP}instances = 2\n"));
        gone(pid).await;
        let info = anchor
            .node_that(|info| {
                module(info, "nap")
                    .is_some_and(|nap| nap.instances.len() == 2 && nap.state == ModuleState::Running)
            })
            .await;
        assert!(!module(&info, "nap").unwrap().instances.contains(&first.instances[0]));
        node.drop_manifest("broken", "command = [\"sleep\"\n");
        let broken = until(anchor, "broken", ModuleState::Invalid).await;
        assert!(broken.detail.unwrap().contains("line 1"));
        std::fs::remove_file(node.dir.join("modules.d/nap.toml")).unwrap();
        std::fs::remove_file(node.dir.join("modules.d/broken.toml")).unwrap();
        let info =
            anchor.node_that(|info| module(info, "nap").is_none() && module(info, "broken").is_none()).await;
        assert_eq!(module(&info, "notes"), Some(&notes));
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn what_crashes_is_started_again_with_growing_pauses() {
    scene(async |_, anchor, node| {
        node.drop_manifest("crash", "command = [\"sh\", \"-c\", \"echo the reason >&2; exit 3\"]\n");
        let info = anchor
            .node_that(|info| {
                module(info, "crash").is_some_and(|m| m.state == ModuleState::Backoff && m.restarts >= 2)
            })
            .await;
        let detail = module(&info, "crash").unwrap().detail.clone().unwrap();
        assert!(
            detail.contains("exit status: 3: the reason, 2 times within a minute; again in 0.1 s"),
            "{detail}"
        );
        let keeps_dying = |info: &mmn_schema::announce::NodeInfo| {
            module(info, "crash").is_some_and(|m| {
                m.detail.as_deref().is_some_and(|detail| detail.contains("it keeps dying: one trial in"))
            })
        };
        let info = anchor.node_that(keeps_dying).await;
        assert_eq!(module(&info, "crash").unwrap().restarts, 5);
        // Who orders it wants it at once, and counts anew.
        node.order(anchor, NodeOrder::Restart { name: "crash".to_owned(), instance: None }).await;
        anchor
            .node_that(|info| {
                module(info, "crash").is_some_and(|m| {
                    m.detail.as_deref().is_some_and(|detail| detail.ends_with("the reason; again at once"))
                })
            })
            .await;
        node.drop_manifest("missing", "command = [\"/nonexistent/program\"]\n");
        let missing = until(anchor, "missing", ModuleState::Backoff).await;
        assert!(missing.detail.unwrap().contains("nonexistent"));
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_output_is_held_back_and_told() {
    scene(async |_, anchor, node| {
        node.drop_manifest("loud", "command = [\"yes\"]\ndrain_seconds = 0\n");
        anchor
            .node_that(|info| {
                module(info, "loud").is_some_and(|m| {
                    m.detail.as_deref().is_some_and(|detail| detail.starts_with("floods its output"))
                })
            })
            .await;
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn instances_are_started_again_one_after_another() {
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (node, _) = start_with(&server, |config| {
        let manifest = "builtin = \"notes\"\ninstances = 3\n";
        std::fs::write(config.dir.join("modules.d/notes.toml"), manifest).unwrap();
    })
    .await;
    let mut boots = BTreeMap::new();
    while boots.len() < 3 {
        let (announcement, _) = anchor.module().await;
        boots.insert(announcement.instance, announcement.boot);
    }
    let answer = node.order(&anchor, NodeOrder::Restart { name: "notes".to_owned(), instance: None }).await;
    assert!(matches!(answer, NodeAnswer::Done { .. }), "{answer:?}");
    let (mut away, mut back) = (None, 0);
    while back < 3 {
        let (announcement, _) = anchor.announcement().await;
        let id = announcement.instance;
        match announcement.role {
            Role::Bye => assert_eq!(away.replace(id), None, "two are away at a time"),
            Role::Module(_) | Role::Known(_)
                if boots.get(&id).is_some_and(|boot| announcement.boot > *boot) =>
            {
                assert_eq!(away.take().as_ref(), Some(&id));
                boots.insert(id, announcement.boot);
                back += 1;
            }
            Role::Module(_) | Role::Known(_) | Role::Node(_) => {}
        }
    }
    node.end().await;
}

#[tokio::test]
async fn a_killed_module_comes_back_and_a_kicked_one_leaves_no_child() {
    scene(async |_, anchor, node| {
        let status = until(anchor, "notes", ModuleState::Running).await;
        let (first, _) = anchor.module().await;
        let pid = pid_of(&status.instances[0]).await;
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        let (again, _) = anchor.module().await;
        assert_eq!(again.instance, first.instance);
        assert_ne!(again.boot, first.boot);
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn orders_are_obeyed_and_answered() {
    scene(async |_, anchor, node| {
        let notes = until(anchor, "notes", ModuleState::Running).await;
        let done = |answer: NodeAnswer| match answer {
            NodeAnswer::Done { modules } => modules,
            NodeAnswer::Refused { reason } => panic!("{reason}"),
        };
        let refused = |answer: NodeAnswer| match answer {
            NodeAnswer::Refused { reason } => reason.code.into_owned(),
            NodeAnswer::Done { modules } => panic!("{modules:?}"),
        };
        assert_eq!(done(node.order(anchor, NodeOrder::List).await), std::slice::from_ref(&notes));
        let name = || "notes".to_owned();
        done(node.order(anchor, NodeOrder::Drain { name: name(), instance: None }).await);
        let stopped = until(anchor, "notes", ModuleState::Stopped).await;
        assert!(stopped.instances.is_empty());
        done(node.order(anchor, NodeOrder::Restart { name: name(), instance: None }).await);
        until(anchor, "notes", ModuleState::Running).await;
        let add = |name: &str, manifest: &str| NodeOrder::Add {
            name: name.to_owned(),
            manifest: manifest.to_owned(),
        };
        done(node.order(anchor, add("nap", SLEEP)).await);
        until(anchor, "nap", ModuleState::Running).await;
        assert!(node.dir.join("modules.d/nap.toml").exists());
        done(node.order(anchor, NodeOrder::Remove { name: "nap".to_owned() }).await);
        anchor.node_that(|info| module(info, "nap").is_none()).await;
        done(node.order(anchor, NodeOrder::Remove { name: name() }).await);
        until(anchor, "notes", ModuleState::Stopped).await;
        for order in [
            add("../x", SLEEP),
            add("nap", "command = "),
            NodeOrder::Remove { name: "nap".to_owned() },
            NodeOrder::Drain { name: "nap".to_owned(), instance: None },
            NodeOrder::Restart { name: name(), instance: Some("notes-x".parse().unwrap()) },
        ] {
            assert_eq!(refused(node.order(anchor, order.clone()).await), code::PARAMETERS, "{order:?}");
        }
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_policy_is_published_and_holds() {
    scene(async |_, anchor, node| {
        until(anchor, "notes", ModuleState::Running).await;
        let (_, info) = anchor.module().await;
        assert!(info.kinds[0].unavailable.is_none());
        std::fs::write(node.dir.join("policy.toml"), "max_pps = 5\ndeny_kinds = [\"note\"]\n").unwrap();
        let (_, info) = anchor.module().await;
        assert_eq!(info.kinds[0].unavailable.as_ref().unwrap().reason.code, code::POLICY);
        std::fs::write(node.dir.join("policy.toml"), "max_pps = \"many\"\n").unwrap();
        std::fs::write(node.dir.join("policy.toml"), "max_pps = 6\n").unwrap();
        let info = anchor.node_that(|info| info.policy.max_pps == 6).await;
        assert!(info.policy.deny_kinds.is_empty());
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_node_comes_back_with_the_server() {
    scene(async |server, anchor, node| {
        until(anchor, "notes", ModuleState::Running).await;
        server.server().restart().await.unwrap();
        anchor.connected_again().await;
        // Neither sends heartbeats before it has announced itself again.
        let mut heard = std::collections::BTreeSet::new();
        while heard.len() < 2 {
            heard.insert(anchor.heartbeat_that(|_| true).await.boot);
        }
        anchor.discover().await;
        anchor.node_that(|info| is(info, "notes", ModuleState::Running)).await;
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn a_second_node_in_the_directory_and_a_foreign_key_are_refused() {
    scene(async |server, _, node| {
        let run = async |config: Config| {
            let (ready, _) = oneshot::channel();
            soon(mmn_node::run(config, ready, CancellationToken::new())).await.unwrap_err()
        };
        let creds = server.dir().join("node-creds");
        let error = run(config(server, &node.dir, &creds)).await;
        assert!(matches!(error, NodeError::Held(_)), "{error}");
        let other = server.dir().join("other");
        std::fs::create_dir_all(&other).unwrap();
        std::fs::write(other.join("node.toml"), "local_key = \"elsewhere\"\n").unwrap();
        let error = run(config(server, &other, &creds)).await;
        assert!(matches!(error, NodeError::OtherVp { .. }), "{error}");
        std::fs::write(other.join("node.toml"), "lokal_key = \"main\"\n").unwrap();
        let error = run(config(server, &other, &creds)).await;
        assert!(error.to_string().contains("lokal_key"), "{error}");
        node.end().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_node() {
    let server = TestServer::start().await;
    let mut anchor = Anchor::start(&server).await;
    enrol(&server, &anchor).await;
    let (dir, creds, _) = directories(&server);
    std::fs::write(dir.join("modules.d/nap.toml"), SLEEP).unwrap();
    let mut node = std::process::Command::new(children());
    node.arg("node").arg(&dir).arg(server.url()).arg(&creds);
    let mut node = node.spawn().unwrap();
    let info = anchor
        .node_that(|info| is(info, "notes", ModuleState::Running) && is(info, "nap", ModuleState::Running))
        .await;
    anchor.module().await;
    let mut pids = Vec::new();
    for instance in info.modules.iter().flat_map(|module| &module.instances) {
        pids.push(pid_of(instance).await);
    }
    assert_eq!(pids.len(), 2);
    node.kill().unwrap();
    node.wait().unwrap();
    for pid in pids {
        gone(pid).await;
    }
}
