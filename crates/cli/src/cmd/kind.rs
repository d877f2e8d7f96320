//! `mmn ping`, `mmn dns`, …: a subcommand for each kind that this build knows.

use clap::{ArgMatches, FromArgMatches};
use mmn_schema::announce::KindInfo;

use crate::args::{ApiArgs, MeasureArgs};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{kinds, measure};

pub(crate) fn run(session: &mut Session, kind: &KindInfo, matches: &ArgMatches) -> Result<Exit, Failure> {
    let args = MeasureArgs::from_arg_matches(matches).map_err(Failure::misused)?;
    let api = ApiArgs::from_arg_matches(matches).map_err(Failure::misused)?;
    let params = kinds::params_of(kind, matches)?;
    kinds::check(kind, &params)?;
    super::in_runtime(async {
        let client = session.client(&api)?;
        measure::run(&mut session.printer, &client, kind, params, &args).await
    })
}
