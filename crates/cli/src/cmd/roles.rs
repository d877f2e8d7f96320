//! What the roles' commands share: the bus, TLS, the log, and being supervised.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use mmn_bus::connect::Tls;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

use crate::args::absolute;
use crate::failure::{Failure, chain};
use crate::logs;
use crate::printer::Printer;
use crate::session::Interrupts;
use crate::up::role::ReadyLine;

/// The connection to NATS.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "NATS")]
pub(crate) struct NatsArgs {
    /// The servers of a cluster: `nats://host:4222` or `tls://host:4222`, several with commas
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "MMN_NATS_URL", hide_env = true)]
    pub(crate) nats: Vec<String>,
    /// The directory of credentials that `mmn creds` made
    #[arg(long, value_name = "DIR", value_parser = absolute())]
    pub(crate) creds: Option<PathBuf>,
    /// A PEM file of authorities to trust besides the system's
    #[arg(long, visible_alias = "tls-ca", value_name = "FILE", value_parser = absolute())]
    pub(crate) nats_ca: Option<PathBuf>,
    /// A PEM file with the certificate that is shown to the server
    #[arg(long, value_name = "FILE", requires = "nats_key", value_parser = absolute())]
    pub(crate) nats_cert: Option<PathBuf>,
    /// A PEM file with its key
    #[arg(long, value_name = "FILE", requires = "nats_cert", value_parser = absolute())]
    pub(crate) nats_key: Option<PathBuf>,
}

/// The certificate of the API.
#[derive(Debug, Clone, Default, ClapArgs)]
#[command(next_help_heading = "TLS of the API")]
pub(crate) struct ApiTlsArgs {
    /// A PEM file with the certificate that the API shows
    #[arg(long, value_name = "FILE", requires = "tls_key", value_parser = absolute())]
    pub(crate) tls_cert: Option<PathBuf>,
    /// A PEM file with its key
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_parser = absolute())]
    pub(crate) tls_key: Option<PathBuf>,
}

/// What every role has.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct RoleArgs {
    /// Where the log goes [default: stderr]; `RUST_LOG` says what is in it
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Say that it is ready in a line of JSON, and end when stdin does
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

impl NatsArgs {
    /// The servers and the directory of credentials, for a role that can't do without.
    pub(crate) fn required(&self) -> Result<(Vec<String>, PathBuf), Failure> {
        match (&self.nats[..], &self.creds) {
            ([], _) | (_, None) => Err(Failure::misused("--nats URL and --creds DIR are wanted")
                .hint("`mmn creds new ROLE NAME --out DIR` makes the directory; `mmn up` needs neither")),
            (urls, Some(creds)) => Ok((urls.to_vec(), creds.clone())),
        }
    }

    /// The certificates.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            ca: self.nats_ca.clone(),
            identity: self.nats_cert.clone().zip(self.nats_key.clone()),
            required: false,
        }
    }

    /// The same for a child, with the server and the credentials that it gets.
    pub(crate) fn to_args(&self, url: &str, creds: &Path) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--nats".into(), url.into(), "--creds".into(), creds.into()];
        let files =
            [("--nats-ca", &self.nats_ca), ("--nats-cert", &self.nats_cert), ("--nats-key", &self.nats_key)];
        for (flag, file) in files {
            if let Some(file) = file {
                args.push(flag.into());
                args.push(file.into());
            }
        }
        args
    }
}

impl RoleArgs {
    /// Begins the log.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        logs::begin(self.log.as_deref())
    }

    /// A token that is cancelled by a signal, and for a supervised role when its supervisor goes. A second signal ends
    /// the process at once.
    pub(crate) fn shutdown(&self) -> Result<CancellationToken, Failure> {
        let token = CancellationToken::new();
        let mut interrupts = Interrupts::listen()?;
        let cancelled = token.clone();
        tokio::spawn(async move {
            interrupts.next().await;
            cancelled.cancel();
            interrupts.next().await;
            std::process::exit(130);
        });
        if self.supervised {
            let cancelled = token.clone();
            let mut lifeline = pipe::Receiver::from_owned_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
            tokio::spawn(async move {
                let mut byte = [0];
                // Nothing is ever written there: what ends the read is the end of the supervisor.
                while matches!(lifeline.read(&mut byte).await, Ok(1)) {}
                cancelled.cancel();
            });
        }
        Ok(token)
    }

    /// Says that the role is ready.
    pub(crate) fn ready(&self, printer: &mut Printer, line: &ReadyLine, words: &str) -> Result<(), Failure> {
        if self.supervised {
            printer.json(line)?;
        } else {
            printer.note(words);
        }
        Ok(printer.flush()?)
    }
}

/// What a role's end means.
pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(chain(error))
}
