//! `mmn module KIND…`: a module's process, started by a node with an environment. By hand it takes credentials: those
//! of a node make a minimal node around the modules, those of a module make a module without sockets of its own.

use std::path::Path;

use clap::Args as ClapArgs;
use data_encoding::BASE64URL_NOPAD;
use mmn_bus::identity::{CREDS, Creds};
use mmn_modules::KINDS;
use mmn_node::Builtin;
use mmn_node::module::{self, HEARTBEAT, Kind, ModuleArgs};
use mmn_schema::id::{InstanceId, VpId};
use mmn_schema::subject::Prefix;
use serde::Deserialize;

use crate::cmd::node;
use crate::cmd::roles::{NatsArgs, RoleArgs, failed};
use crate::failure::{Exit, Failure, chain};
use crate::session::Session;

/// The file that the credentials of a node have besides.
const VPS: &str = "vps.json";

/// `mmn module KIND…`
#[derive(Debug, ClapArgs)]
pub(super) struct ServeArgs {
    /// The modules or kinds to perform: `packet`, `dns`, `http`
    #[arg(value_name = "KIND", required = true)]
    kinds: Vec<String>,
    #[command(flatten)]
    role: RoleArgs,
    #[command(flatten)]
    nats: NatsArgs,
}

pub(super) fn run(session: &mut Session, args: &ServeArgs) -> Result<Exit, Failure> {
    args.role.begin()?;
    if std::env::var_os(module::env::MODULE).is_some() {
        let module = ModuleArgs::from_env(KINDS).map_err(|error| failed(&error))?;
        return serve(args, module);
    }
    let (urls, creds) = args.nats.required()?;
    let builtins = Builtin::named(KINDS, &args.kinds).map_err(Failure::misused)?;
    if creds.join(VPS).is_file() {
        let dir = session.data_dir()?.join("node");
        let config = node::config(dir, urls, creds, args.nats.tls());
        return node::serve(session, &args.role, mmn_node::Config { builtins, watch: false, ..config });
    }
    let creds = if creds.is_dir() { creds.join(CREDS) } else { creds };
    let (instance, vp) = identity(&creds)?;
    let kinds = KINDS.iter().filter(|kind| {
        builtins.iter().any(|one| one.module == kind.module() && one.kinds.iter().any(|k| k == kind.name()))
    });
    let module = ModuleArgs {
        module: builtins.iter().map(|one| one.module.as_str()).collect::<Vec<_>>().join("-"),
        kinds: kinds.map(|kind| Kind::from(*kind)).collect(),
        simulated: false,
        heartbeat: HEARTBEAT,
        urls,
        creds,
        tls: args.nats.tls(),
        prefix: Prefix::default(),
        vp,
        instance,
        node: None,
    };
    serve(args, module)
}

fn serve(args: &ServeArgs, module: ModuleArgs) -> Result<Exit, Failure> {
    crate::cmd::in_runtime(async {
        let shutdown = args.role.shutdown()?;
        let ended = crate::cmd::as_task(module::run(module, shutdown)).await;
        ended.map(|()| Exit::Good).map_err(|error| failed(&error))
    })
}

/// Instance and vantage point, as the credentials have them.
fn identity(creds: &Path) -> Result<(InstanceId, VpId), Failure> {
    #[derive(Deserialize)]
    struct Claims {
        name: String,
        nats: Nats,
    }
    #[derive(Deserialize)]
    struct Nats {
        #[serde(default)]
        tags: Vec<String>,
    }

    let unfit = |why: &str| Failure::new(format!("{}: {why}", creds.display()));
    let jwt = Creds::read(creds).map_err(|error| unfit(&chain(&error)))?.jwt;
    let claims = jwt.as_str().split('.').nth(1).unwrap_or_default();
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes()).map_err(|_| unfit("its JWT is not sound"))?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| unfit("its JWT is not sound"))?;
    let vp = claims.nats.tags.iter().find_map(|tag| tag.strip_prefix("vp:"));
    let vp = vp.ok_or_else(|| unfit("it is for no vantage point"))?;
    let instance = claims.name.parse().map_err(|error| unfit(&chain(&error)))?;
    Ok((instance, vp.parse().map_err(|error| unfit(&chain(&error)))?))
}
