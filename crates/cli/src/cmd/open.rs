//! `mmn open`: the dashboard in a browser, signed in.
//!
//! The link holds a code that is taken once, within ten minutes. It stands behind the `#`, which browsers send to nobody,
//! and is on no command line: the browser is given a file that leads to it.

use std::process::Stdio;

use clap::Args as ClapArgs;
use mmn_client::{Client, ClientError};

use crate::args::ApiArgs;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::up::data_dir;

/// The file of the data directory that leads a browser to the link.
const PAGE: &str = "open.html";

/// `mmn open`
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only print the link
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    api: ApiArgs,
}

pub(crate) async fn run(session: &mut Session, args: &Args) -> Result<Exit, Failure> {
    let client = session.client(&args.api)?;
    let link = link(&client).await?;
    if !args.print && has_screen() && begin(session, &link).await? {
        session.printer.note(&format!("{} is opened in the browser", client.url()));
        return Ok(Exit::Good);
    }
    session.printer.line(&link)?;
    session.printer.note("it signs in once, within ten minutes");
    Ok(Exit::Good)
}

/// A link to the dashboard that signs in once.
pub(crate) async fn link(client: &Client) -> Result<String, ClientError> {
    let code = client.sign_in_code().await?.code;
    Ok(format!("{}/#code={code}", client.url().trim_end_matches('/')))
}

fn has_screen() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Gives the link to the desktop's browser; `false` where there is none.
async fn begin(session: &Session, link: &str) -> Result<bool, Failure> {
    let dir = session.data_dir()?;
    data_dir::private_dir(&dir)?;
    let page = dir.join(PAGE);
    // A URL and a code have no character that HTML knows.
    let html = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={link}\"><title>mmn</title>\n"
    );
    data_dir::write_private(&page, html.as_bytes())?;
    let mut command = tokio::process::Command::new("xdg-open");
    command.arg(&page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().await.is_ok_and(|status| status.success()))
}
