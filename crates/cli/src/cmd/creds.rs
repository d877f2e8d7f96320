//! `mmn creds`: what the roles of other machines need, and tokens for clients.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use mmn_anchor::api::token::TokenKey;
use mmn_bus::identity::{Creds, Role, Seed, UserRequest, write_anchor, write_module};
use mmn_schema::id::{InstanceId, Tenant, VpId, is_token};
use mmn_schema::time::Span;

use crate::clock;
use crate::failure::{Exit, Failure, chain};
use crate::printer::Printer;
use crate::session::Session;
use crate::up::{data_dir, keys};

/// `mmn creds`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make credentials for a role on another machine, or a token for a client
    #[command(subcommand)]
    New(New),
    /// Print the operator and accounts for the configuration of a nats-server of your own
    Server(ServerArgs),
}

#[derive(Debug, Subcommand)]
enum New {
    /// An anchor
    Anchor(RoleArgs),
    /// A node, with a vantage point of its own
    Node(RoleArgs),
    /// One instance of a module that runs without a node
    Module(ModuleArgs),
    /// A client of the API: a bearer token
    Client(ClientArgs),
}

#[derive(Debug, ClapArgs)]
struct RoleArgs {
    /// Its name: letters, digits, `_` and `-`
    name: String,
    /// The directory to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, ClapArgs)]
struct ModuleArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// The id of the vantage point that it works for
    #[arg(long, value_name = "ID", value_parser = vp)]
    vp: VpId,
}

#[derive(Debug, ClapArgs)]
struct ClientArgs {
    /// Whose it is
    name: String,
    /// On whose behalf it asks
    #[arg(long, value_parser = tenant, default_value = "default")]
    tenant: Tenant,
    /// For how long it is taken: `12h`, `90d` [default: without end]
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    expires: Option<Lifetime>,
    /// The file to write, for this user alone [default: print it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct ServerArgs {
    /// The file to write [default: print it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// For how many seconds a token is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lifetime(i64);

pub(crate) fn run(session: &mut Session, args: Args) -> Result<Exit, Failure> {
    let data = session.data_dir()?;
    match args.what {
        What::New(New::Anchor(args)) => anchor(&mut session.printer, &data, &args)?,
        What::New(New::Node(args)) => node(&mut session.printer, &data, &args)?,
        What::New(New::Module(args)) => module(&mut session.printer, &data, &args)?,
        What::New(New::Client(args)) => client(&mut session.printer, &data, &args)?,
        What::Server(args) => server(&mut session.printer, &data, &args)?,
    }
    Ok(Exit::Good)
}

fn anchor(printer: &mut Printer, data: &Path, args: &RoleArgs) -> Result<(), Failure> {
    let keys = prepare(data, args)?;
    // All anchors of a network take the same tokens.
    let key = data.join("creds/anchor").join(keys::API_KEY);
    TokenKey::load_or_create_in(&key)?;
    write_anchor(&args.out, &keys, &args.name, clock::wall_s()).map_err(failure)?;
    data_dir::write_private(&args.out.join(keys::API_KEY), &std::fs::read(&key)?)?;
    told(printer, &args.out, "mmn anchor --nats URL --creds")
}

fn node(printer: &mut Printer, data: &Path, args: &RoleArgs) -> Result<(), Failure> {
    let keys = prepare(data, args)?;
    let vp = keys::new_node(&args.out, &keys, &args.name)?;
    printer.note(&format!("its vantage point will be {vp}"));
    told(printer, &args.out, "mmn node --nats URL --creds")
}

fn module(printer: &mut Printer, data: &Path, args: &ModuleArgs) -> Result<(), Failure> {
    let keys = prepare(data, &args.role)?;
    let instance: InstanceId = args.role.name.parse().map_err(Failure::misused)?;
    let seed = Seed::new_user();
    let request = UserRequest {
        name: instance.as_str(),
        vps: &[args.vp.as_str()],
        public_key: seed.public_key(),
        issued_at_s: clock::wall_s(),
        expires_at_s: None,
    };
    let jwt = keys.issuer(Role::Module).user(&request).map_err(failure)?;
    write_module(&args.role.out, &Creds { jwt, seed }).map_err(failure)?;
    told(printer, &args.role.out, "mmn module KIND --nats URL --creds")
}

fn client(printer: &mut Printer, data: &Path, args: &ClientArgs) -> Result<(), Failure> {
    let key = TokenKey::load_or_create_in(&data.join("creds/anchor").join(keys::API_KEY))?;
    let token = keys::client(&key, &args.name, args.tenant.clone(), args.expires.map(|Lifetime(s)| s))?;
    match &args.out {
        None => printer.line(&token)?,
        Some(path) => {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                data_dir::private_dir(parent)?;
            }
            data_dir::write_private(path, format!("{token}\n").as_bytes())
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            printer.note(&format!("{} holds the token", path.display()));
            printer.note(&format!("use it with: mmn vps --api URL --token-file {}", path.display()));
        }
    }
    Ok(())
}

/// A snippet to include in the configuration of a server that this program does not run.
fn server(printer: &mut Printer, data: &Path, args: &ServerArgs) -> Result<(), Failure> {
    let keys = keys::keyset(&keys_dir(data)?)?;
    let trust = keys.server_trust(clock::wall_s()).map_err(failure)?;
    let (system, system_jwt) = &trust.system;
    let (account, account_jwt) = &trust.account;
    let snippet = format!(
        "# mmn: include this file in the configuration of each nats-server of the cluster.\n\
         # It holds no secret. Besides it mmn wants `jetstream {{ store_dir: … }}`.\n\
         operator: {operator}\n\
         system_account: {system}\n\
         resolver: MEMORY\n\
         resolver_preload: {{\n  {system}: {system_jwt}\n  {account}: {account_jwt}\n}}\n",
        operator = trust.operator,
    );
    match &args.out {
        None => printer.raw(snippet.as_bytes())?,
        Some(path) => {
            std::fs::write(path, snippet)?;
            printer.note(&format!("{}: include it in nats-server's configuration", path.display()));
        }
    }
    Ok(())
}

/// The network's keys, and a directory that is free for a role.
fn prepare(data: &Path, args: &RoleArgs) -> Result<mmn_bus::identity::Keyset, Failure> {
    if !is_token(&args.name) {
        return Err(Failure::misused(format!(
            "{:?} is no name: it has 1 to 64 letters, digits, `_` and `-`",
            args.name
        )));
    }
    if std::fs::read_dir(&args.out).is_ok_and(|mut files| files.next().is_some()) {
        return Err(Failure::misused(format!("{} is not empty", args.out.display()))
            .hint("credentials that exist are never overwritten; choose another directory"));
    }
    data_dir::private_dir(&args.out)?;
    keys::keyset(&keys_dir(data)?)
}

fn keys_dir(data: &Path) -> Result<PathBuf, Failure> {
    data_dir::private_dir(data)?;
    Ok(data.join("keys"))
}

fn told(printer: &mut Printer, dir: &Path, command: &str) -> Result<(), Failure> {
    printer.line(&dir.display().to_string())?;
    printer.note("copy it to the other machine as it is (its files are secrets: 0600), and there run:");
    printer.note(&format!("  {command} {}", dir.display()));
    Ok(())
}

/// Makes the directory of a key that is not there yet.
trait LoadOrCreateIn: Sized {
    fn load_or_create_in(path: &Path) -> Result<Self, Failure>;
}

impl LoadOrCreateIn for TokenKey {
    fn load_or_create_in(path: &Path) -> Result<Self, Failure> {
        if let Some(parent) = path.parent() {
            data_dir::private_dir(parent)?;
        }
        Self::load_or_create(path).map_err(failure)
    }
}

fn failure(error: impl std::error::Error) -> Failure {
    Failure::new(chain(&error))
}

fn vp(text: &str) -> Result<VpId, String> {
    text.parse().map_err(|error: mmn_schema::id::IdError| error.to_string())
}

fn tenant(text: &str) -> Result<Tenant, String> {
    let tenant: Tenant = text.parse().map_err(|error: mmn_schema::id::IdError| error.to_string())?;
    if tenant == Tenant::public() {
        return Err("what is public is shown under this name, whosever it is: take another".to_owned());
    }
    Ok(tenant)
}

/// A duration, of days too, which spans in requests do not have.
fn lifetime(text: &str) -> Result<Lifetime, String> {
    let days = text.strip_suffix('d').and_then(|days| days.trim().parse::<i64>().ok());
    let seconds = if let Some(days) = days {
        days.checked_mul(86_400)
    } else {
        let span: Span = text.parse().map_err(|_| format!("{text:?} is no duration such as \"90d\""))?;
        i64::try_from(span.duration().as_secs()).ok()
    };
    seconds.filter(|seconds| *seconds > 0).map(Lifetime).ok_or_else(|| format!("{text:?} is no lifetime"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_the_name_of_what_is_public() {
        assert!(tenant("lab").is_ok());
        assert!(tenant("public").is_err() && tenant("a b").is_err());
    }

    #[test]
    fn lifetimes_have_days() {
        assert_eq!(lifetime("90d"), Ok(Lifetime(90 * 86_400)));
        assert_eq!(lifetime("12h"), Ok(Lifetime(12 * 3600)));
        for text in ["", "d", "0d", "-1d", "soon", "0s", "99999999999999999d"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
