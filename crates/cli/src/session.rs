//! What commands share: the printer, the data directory, and the API.

use std::path::{Path, PathBuf};

use mmn_client::{ApiFile, Client, MeasurementsQuery};
use mmn_schema::api::Page;
use mmn_schema::id::MeasurementId;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{ApiArgs, MsmArg};
use crate::failure::Failure;
use crate::printer::Printer;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) printer: Printer,
    data: Option<PathBuf>,
}

impl Session {
    pub(crate) fn new(printer: Printer, data: Option<PathBuf>) -> Self {
        Self { printer, data }
    }

    /// The data directory: as given, else the one of this user.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(dir) => Ok(dir.clone()),
            None => default_data_dir(),
        }
    }

    /// Whether the data directory is the one that every command takes without `--data`.
    pub(crate) fn data_dir_is_default(&self) -> bool {
        match (&self.data, default_data_dir()) {
            (None, _) => true,
            (Some(dir), Ok(default)) => *dir == default,
            (Some(_), Err(_)) => false,
        }
    }

    /// A client of the API that the arguments name, else of this machine's `mmn up`.
    pub(crate) fn client(&self, args: &ApiArgs) -> Result<Client, Failure> {
        let url = match &args.api {
            Some(url) => url.clone(),
            None => ApiFile::read(&self.data_dir()?)?.url,
        };
        let token = args.token_file.as_deref().map(read_token).transpose()?;
        // Who names an API and a token may do without a data directory.
        let data_dir = self.data_dir().ok();
        Ok(Client::at(&url, token.as_deref(), args.api_ca.as_deref(), data_dir.as_deref())?)
    }
}

/// The id that an argument means.
pub(crate) async fn measurement(client: &Client, arg: MsmArg) -> Result<MeasurementId, Failure> {
    match arg {
        MsmArg::Id(id) => Ok(id),
        MsmArg::Last => {
            let page = client
                .measurements(MeasurementsQuery { limit: Some(1), ..MeasurementsQuery::default() })
                .await?;
            let newest = page.items.first().ok_or_else(|| Failure::new("there is no measurement yet"))?;
            Ok(newest.id)
        }
    }
}

/// All items of a list, page by page.
pub(crate) async fn all<T, F, P>(mut page: F) -> Result<Vec<T>, Failure>
where
    F: FnMut(Option<String>) -> P,
    P: Future<Output = Result<Page<T>, mmn_client::ClientError>>,
{
    Ok(all_of(&mut page).await?)
}

/// As [`all`], for those who tell errors of the API apart.
pub(crate) async fn all_of<T, F, P>(mut page: F) -> Result<Vec<T>, mmn_client::ClientError>
where
    F: FnMut(Option<String>) -> P,
    P: Future<Output = Result<Page<T>, mmn_client::ClientError>>,
{
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let mut next = page(after.take()).await?;
        items.append(&mut next.items);
        match next.next {
            Some(cursor) => after = Some(cursor),
            None => return Ok(items),
        }
    }
}

/// Ctrl-C, and the signal that service managers send.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn read_token(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn default_data_dir() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".local/share")))
        .map(|dir| dir.join("mmn"))
        .ok_or_else(|| Failure::misused("neither HOME nor XDG_DATA_HOME is set").hint("--data DIR names it"))
}
