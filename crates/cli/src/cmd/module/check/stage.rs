//! The stage: a nats-server with keys of its own, the module as a child, and an anchor's connection.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::StreamExt;
use mmn_bus::async_nats::{HeaderMap, HeaderValue, Message, Subscriber};
use mmn_bus::connect::{Bus, Connect};
use mmn_bus::identity::{CREDS, Creds, Keyset, Role, Seed, Trust, UserRequest, write_anchor, write_module};
use mmn_bus::launch::{Confinement, DeathSignal, Watched};
use mmn_bus::server::{Binary, Server, ServerOptions};
use mmn_node::module::env;
use mmn_schema::encoding::{CONTENT_TYPE, Encoding};
use mmn_schema::id::{AnchorId, InstanceId, VpId};
use mmn_schema::subject::{Prefix, Subject, filter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::clock;
use crate::failure::{Failure, chain};
use crate::up::role;
use crate::up::start::cached_servers;

/// The anchor that this program plays.
const ANCHOR: &str = "check";

/// All that a module meets.
pub(super) struct Stage {
    pub(super) prefix: Prefix,
    pub(super) vp: VpId,
    pub(super) instance: InstanceId,
    pub(super) anchor: AnchorId,
    pub(super) trust: Trust,
    pub(super) announcements: Subscriber,
    pub(super) heartbeats: Subscriber,
    pub(super) results: Subscriber,
    bus: Bus,
    // Dropped in this order: the module before its server, the files last.
    module: Watched,
    _server: Server,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Starts a server, listens to everything, then starts the module.
    pub(super) async fn set(name: &str, command: &[String]) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("mmn-check-").tempdir()?;
        let prefix = Prefix::default();
        let keys = Keyset::generate(&prefix);
        let (vp, instance) = identity()?;
        let server = serve(&keys, dir.path().join("nats")).await?;
        let anchor_dir = dir.path().join("anchor");
        write_anchor(&anchor_dir, &keys, ANCHOR, clock::wall_s()).map_err(failure)?;
        let module_dir = dir.path().join("module");
        enrol(&keys, &module_dir, &vp, &instance)?;
        let bus = Connect::new(server.url(), anchor_dir.join(CREDS), ANCHOR).open().await.map_err(failure)?;
        let client = bus.client();
        let announcements = client.subscribe(Subject::Announce.on(&prefix)).await.map_err(failure)?;
        let heartbeats = client.subscribe(filter::heartbeats(&prefix)).await.map_err(failure)?;
        let results = client.subscribe(filter::results(&prefix)).await.map_err(failure)?;
        bus.barrier().await.map_err(failure)?;

        let (program, args) =
            command.split_first().ok_or_else(|| Failure::misused("there is no command to check"))?;
        let confinement = Confinement {
            death_signal: Some(DeathSignal::Kill),
            no_new_privs: true,
            drop_capabilities: true,
            ..Confinement::default()
        };
        let errors = File::create(dir.path().join("stderr"))?;
        let mut child = role::launcher().command(OsStr::new(program), &confinement);
        child
            .args(args)
            .env(env::NATS_URL, server.url())
            .env(env::CREDS, module_dir.join(CREDS))
            .env(env::PREFIX, prefix.to_string())
            .env(env::VP, vp.as_str())
            .env(env::INSTANCE, instance.as_str())
            .env(env::MODULE, name)
            .stdin(Stdio::null())
            .stdout(Stdio::from(errors.try_clone()?))
            .stderr(Stdio::from(errors));
        let module = Watched::spawn(child)?;
        let anchor = ANCHOR.parse().map_err(failure)?;
        let trust = keys.trust();
        Ok(Self {
            prefix,
            vp,
            instance,
            anchor,
            trust,
            announcements,
            heartbeats,
            results,
            bus,
            module,
            _server: server,
            dir,
        })
    }

    /// Sends bytes, whatever they are.
    pub(super) async fn publish(&self, subject: &Subject, payload: &[u8]) -> Result<(), String> {
        let sent = self.bus.client().publish(subject.on(&self.prefix), payload.to_vec().into()).await;
        sent.map_err(|error| error.to_string())
    }

    /// Asks, and reads the answer, which must be in the encoding of the question.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        subject: &Subject,
        question: &impl Serialize,
        form: Encoding,
        within: Duration,
    ) -> Result<T, String> {
        let payload = form.encode(question).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, form.content_type());
        let subject = subject.on(&self.prefix);
        let asking = self.bus.client().request_with_headers(subject.clone(), headers, payload.into());
        let answer = timeout(within, asking)
            .await
            .map_err(|_| format!("no answer on {subject} within {within:?}"))?
            .map_err(|error| format!("{subject}: {error}"))?;
        if encoding(&answer)? != form {
            return Err(format!("the answer is not {}, as the question is", form.content_type()));
        }
        form.decode(&answer.payload).map_err(|error| error.to_string())
    }

    /// Asks as tools do, with an empty message.
    pub(super) async fn ask_plainly(
        &self,
        subject: &str,
        within: Duration,
    ) -> Result<serde_json::Value, String> {
        let asking = self.bus.client().request(subject.to_owned(), Vec::new().into());
        let answer = timeout(within, asking)
            .await
            .map_err(|_| format!("no answer on {subject}"))?
            .map_err(|error| format!("{subject}: {error}"))?;
        serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())
    }

    /// Waits for the module's end.
    pub(super) async fn ended(&self, within: Duration) -> Option<ExitStatus> {
        timeout(within, self.module.ended()).await.ok()
    }

    /// Whether it has ended already.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        self.module.status()
    }

    /// The end of what it printed.
    pub(super) fn last_words(&self) -> Vec<String> {
        let bytes = std::fs::read(self.dir.path().join("stderr")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(8)).map(|&line| line.to_owned()).collect()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// The next message, when one comes in time.
pub(super) async fn next(messages: &mut Subscriber, within: Duration) -> Option<Message> {
    timeout(within, messages.next()).await.ok().flatten()
}

/// The encoding of a message, by its header or its first byte.
pub(super) fn encoding(message: &Message) -> Result<Encoding, String> {
    let headers = message.headers.as_ref();
    let content_type = headers.and_then(|headers| headers.get(CONTENT_TYPE)).map(HeaderValue::as_str);
    Encoding::of(content_type, &message.payload).map_err(|error| error.to_string())
}

/// The message as a type of the contract.
pub(super) fn decode<T: DeserializeOwned>(message: &Message) -> Result<T, String> {
    encoding(message)?.decode(&message.payload).map_err(|error| error.to_string())
}

async fn serve(keys: &Keyset, dir: PathBuf) -> Result<Server, Failure> {
    let trust = keys.server_trust(clock::wall_s()).map_err(failure)?;
    let binary = Binary::find(&cached_servers()).map_err(failure)?;
    let mut options = ServerOptions::new(binary, dir, trust);
    options.launcher = role::launcher();
    Server::start(options).await.map_err(failure)
}

fn enrol(keys: &Keyset, dir: &std::path::Path, vp: &VpId, instance: &InstanceId) -> Result<(), Failure> {
    let seed = Seed::new_user();
    let request = UserRequest {
        name: instance.as_str(),
        vps: &[vp.as_str()],
        public_key: seed.public_key(),
        issued_at_s: clock::wall_s(),
        expires_at_s: None,
    };
    let jwt = keys.issuer(Role::Module).user(&request).map_err(failure)?;
    write_module(dir, &Creds { jwt, seed }).map_err(failure)
}

fn identity() -> Result<(VpId, InstanceId), Failure> {
    let vp = VpId::derive(Seed::new_user().public_key().as_str(), mmn_node::DEFAULT_LOCAL_KEY);
    Ok((vp, "check-abcdef".parse().map_err(failure)?))
}

fn failure(error: impl std::error::Error) -> Failure {
    Failure::new(chain(&error))
}
