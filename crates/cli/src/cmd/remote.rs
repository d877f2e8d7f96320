//! `mmn remote`: daemons of scamper that connect, as vantage points.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_bus::identity::CREDS;
use mmn_client::ApiFile;
use mmn_remote::{Credentials, Options, TlsFiles};
use mmn_schema::time::Span;
use tokio::sync::oneshot;

use super::node;
use super::roles::{NatsArgs, RoleArgs, failed};
use crate::args::absolute;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::up::role::ReadyLine;
use crate::up::{data_dir, keys};

/// `mmn remote`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where daemons connect: `scamper -R HOST:PORT`
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:31337")]
    listen: SocketAddr,
    /// A directory for each daemon, by its monitor name: node.toml, policy.toml [default: remote/ in the data directory]
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    dir: Option<PathBuf>,
    /// How long a daemon may be away before its vantage point is lost and its tasks are closed
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    away: Span,
    /// The most daemons at a time
    #[arg(long, value_name = "N", default_value_t = 256)]
    most: usize,
    /// Allow daemons to measure their own hosts where no policy.toml says otherwise
    #[arg(long)]
    allow_loopback: bool,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    nats: NatsArgs,
}

/// TLS as scamper does it.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "TLS of daemons")]
struct TlsArgs {
    /// A PEM file with the certificate that daemons are shown
    #[arg(id = "tls_cert", long = "tls-cert", value_name = "FILE", requires = "tls_key", value_parser = absolute())]
    cert: Option<PathBuf>,
    /// A PEM file with its key
    #[arg(id = "tls_key", long = "tls-key", value_name = "FILE", requires = "tls_cert", value_parser = absolute())]
    key: Option<PathBuf>,
    /// A PEM file of authorities: a daemon then has to show a certificate of theirs for its monitor name
    #[arg(id = "tls_client_ca", long = "tls-client-ca", value_name = "FILE", requires = "tls_cert", value_parser = absolute())]
    client_ca: Option<PathBuf>,
}

pub(crate) fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    args.role.begin()?;
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => session.data_dir()?.join("remote"),
    };
    let (urls, creds, credentials) = network(session, &args.nats)?;
    let mut node = node::config(dir, urls, creds, args.nats.tls());
    node.policy.allow_loopback = args.allow_loopback;
    let tls = args.tls.cert.clone().zip(args.tls.key.clone());
    let options = Options {
        listen: args.listen,
        tls: tls.map(|(cert, key)| TlsFiles { cert, key, client_ca: args.tls.client_ca.clone() }),
        patience: args.away.duration(),
        most: args.most,
        node,
        credentials,
    };
    super::in_runtime(async {
        let shutdown = args.role.shutdown()?;
        let (listening, is_listening) = oneshot::channel();
        let serving = mmn_remote::serve(options, shutdown, |address| {
            let _ = listening.send(address);
        });
        let mut running = Box::pin(super::as_task(serving));
        let ended = tokio::select! {
            ended = &mut running => ended,
            told = is_listening => {
                if let Ok(address) = told {
                    let line = ReadyLine { url: Some(address.to_string()), ..ReadyLine::default() };
                    let words = format!("listening for daemons: scamper -M NAME -R {address}");
                    args.role.ready(&mut session.printer, &line, &words)?;
                }
                running.await
            }
        };
        ended.map(|()| Exit::Good).map_err(|error| failed(&error))
    })
}

/// Where NATS is, and the credentials of vantage points: as given, where each is a directory that somebody made; or those of
/// the network that `mmn up` runs on this machine, made with its keys.
fn network(session: &Session, nats: &NatsArgs) -> Result<(Vec<String>, PathBuf, Credentials), Failure> {
    if nats.nats.is_empty() && nats.creds.is_none() {
        let data = session.data_dir()?;
        let api = ApiFile::read(&data)?;
        let url = api.nats.ok_or_else(|| {
            Failure::new("the `mmn up` of this machine uses a nats-server of others")
                .hint("--nats URL and --creds DIR say which, as they do for `mmn node`")
        })?;
        let keyset = keys::keyset(&data.join("keys"))?;
        let make = move |_: &str, dir: &Path| {
            if dir.join(CREDS).is_file() {
                return Ok(());
            }
            let made = data_dir::private_dir(dir).map_err(Failure::from);
            let made = made.and_then(|()| keys::new_node(dir, &keyset, &format!("node-{}", keys::word())));
            made.map(drop).map_err(|failure| failure.text)
        };
        return Ok((vec![url], data.join("creds").join("remote"), Box::new(make)));
    }
    let (urls, creds) = nats.required()?;
    let there = |name: &str, dir: &Path| {
        let made = format!("`mmn creds new node NAME --out {}` makes them for {name:?}", dir.display());
        if dir.join(CREDS).is_file() { Ok(()) } else { Err(made) }
    };
    Ok((urls, creds, Box::new(there)))
}
