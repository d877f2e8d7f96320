//! The smallest launcher: applies the options before `--` to itself and becomes the command after
//! it. The tests start nats-server through it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match mmn_bus::launch::exec(std::env::args_os().skip(1)) {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!(%error, "not launched");
            ExitCode::from(127)
        }
    }
}
