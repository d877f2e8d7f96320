//! The list of measurements: first those in memory, by id from the newest; then those that ended longer ago, from
//! LEDGER, by the end of each.
//!
//! A page's `next` is `m<id>` while the list is in memory and `l<sequence>` after that.

use std::sync::Arc;

use mmn_schema::api::{Measurement, Page};
use mmn_schema::problem::Problem;

use crate::command::{Command, Listed};
use crate::handle::{Anchor, PageRequest, Viewer};
use crate::problems;
use crate::shared::Shared;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;
/// How many messages of LEDGER are read for one page at most. The page is short then, and has a next one.
const MAX_READS: u64 = 2000;

pub(crate) async fn measurements(
    anchor: &Anchor,
    shared: &Arc<Shared>,
    viewer: &Viewer,
    page: PageRequest,
) -> Result<Page<Measurement>, Problem> {
    let limit = if page.limit == 0 { DEFAULT_LIMIT } else { page.limit.min(MAX_LIMIT) };
    let wrong = || problems::invalid().detail("the page to go on from is none of this list");
    let (before, mut at) = match page.after.as_deref() {
        None => (None, None),
        Some(after) => match (after.strip_prefix('m'), after.strip_prefix('l')) {
            (Some(id), _) => (Some(id.parse().map_err(|_| wrong())?), None),
            (_, Some(seq)) => (None, Some(seq.parse::<u64>().map_err(|_| wrong())?)),
            _ => return Err(wrong()),
        },
    };
    let mut items = Vec::new();
    if at.is_none() {
        let command = |reply| Command::Measurements { viewer: viewer.clone(), before, limit, reply };
        let Listed { items: recent, more, evicted } = anchor.ask(command).await?;
        items = recent;
        if more {
            let next = items.last().map(|last| format!("m{}", last.id));
            return Ok(Page { items, next });
        }
        at = Some(evicted);
    }
    let store = shared.store()?;
    let mut seq = at.unwrap_or_default();
    let mut reads = 0;
    while seq > 0 && items.len() < limit && reads < MAX_READS {
        if let Some(done) = store.done_at(seq).await?
            && viewer.may_see(&done.meta.tenant, done.meta.visibility)
        {
            items.push(done.view());
        }
        seq -= 1;
        reads += 1;
    }
    Ok(Page { items, next: (seq > 0).then(|| format!("l{seq}")) })
}
