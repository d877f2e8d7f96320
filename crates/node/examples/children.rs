//! The smallest program that a node can be made of: `launch` starts a child confined, `module NAME` is a module, and
//! `node DIR URL CREDS` supervises. The tests start their children with it.

#[path = "../tests/common/kinds.rs"]
mod kinds;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use mmn_bus::connect::Tls;
use mmn_bus::launch::Launcher;
use mmn_node::module::ModuleArgs;
use mmn_node::policy::Policy;
use mmn_node::{Builtin, Config, DEFAULT_SILENCE, Place};
use mmn_schema::subject::Prefix;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(|word| word.to_str()) {
        Some("launch") => match mmn_bus::launch::exec(args)? {},
        Some("module") => {
            let kinds: Vec<_> = kinds::KINDS.iter().chain(mmn_modules::KINDS).copied().collect();
            let module = ModuleArgs::from_env(&kinds)?;
            Ok(runtime()?.block_on(mmn_node::module::run(module, CancellationToken::new()))?)
        }
        Some("node") => {
            let (Some(dir), Some(url), Some(creds)) = (args.next(), args.next(), args.next()) else {
                return Err("node DIR URL CREDS".into());
            };
            let config = config(dir.into(), url.to_str().ok_or("a URL")?, creds.into())?;
            let (ready, _) = oneshot::channel();
            Ok(runtime()?.block_on(mmn_node::run(config, ready, CancellationToken::new()))?)
        }
        _ => Err("launch, module or node".into()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn config(dir: PathBuf, url: &str, creds: PathBuf) -> std::io::Result<Config> {
    let own = std::env::current_exe()?.into_os_string();
    Ok(Config {
        dir,
        creds,
        urls: vec![url.to_owned()],
        tls: Tls::default(),
        prefix: Prefix::default(),
        launcher: Launcher::new([own.clone(), OsString::from("launch")]),
        module_command: vec![own, OsString::from("module")],
        module_env: Vec::new(),
        builtins: Builtin::all_of(kinds::KINDS),
        policy: Policy::default(),
        place: Place::default(),
        watch: true,
        silence: DEFAULT_SILENCE,
        elsewhere: None,
    })
}
