//! The list of measurements: first those in memory, by id from the newest; then those that ended longer ago, from
//! LEDGER, by the end of each.
//!
//! A page's `next` is `m<id>` while the list is in memory and `l<sequence>` after that, with the number of those that are left in that
//! message where a page ends within it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mmn_schema::api::{Measurement, MeasurementState, Page};
use mmn_schema::id::{KindName, VpId};
use mmn_schema::problem::Problem;

use crate::command::{Command, Listed};
use crate::handle::{Anchor, PageRequest, Viewer};
use crate::problems;
use crate::shared::Shared;
use crate::store::record::Meta;

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
            (_, Some(place)) => (None, Some(place.parse::<Place>().map_err(|()| wrong())?)),
            _ => return Err(wrong()),
        },
    };
    let mut items = Vec::new();
    if at.is_none() {
        let (of, filter) = (viewer.clone(), page.filter.clone());
        let command = |reply| Command::Measurements { viewer: of, filter, before, limit, reply };
        let Listed { items: recent, more, evicted } = anchor.ask(command).await?;
        items = recent;
        if more {
            let next = items.last().map(|last| format!("m{}", last.id));
            return Ok(Page { items: viewer.shown(items), next });
        }
        if !page.filter.takes_ended() {
            return Ok(Page { items: viewer.shown(items), next: None });
        }
        at = Some(Place { seq: evicted, left: None });
    }
    let store = shared.store()?;
    let Place { mut seq, mut left } = at.unwrap_or(Place { seq: 0, left: None });
    let mut reads = 0;
    while seq > 0 && items.len() < limit && reads < MAX_READS {
        let mut dones = store.dones_at(seq).await?;
        reads += 1;
        dones.truncate(left.take().unwrap_or(dones.len()));
        while items.len() < limit
            && let Some(done) = dones.pop()
        {
            let seen = viewer.may_see(&done.meta.tenant, done.meta.visibility);
            if seen && page.filter.takes(&done.meta, done.state()) {
                items.push(done.view());
            }
        }
        if dones.is_empty() {
            seq -= 1;
        } else {
            left = Some(dones.len());
        }
    }
    let items = viewer.shown(items);
    Ok(Page { items, next: (seq > 0).then(|| format!("l{}", Place { seq, left })) })
}

/// Which measurements are listed: those that meet all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those that take this vantage point, alone or as one of a pool.
    pub vp: Option<VpId>,
    /// Those of this kind.
    pub kind: Option<KindName>,
    /// Those in one of these states; empty: in any.
    pub states: Vec<MeasurementState>,
}

impl Filter {
    pub(crate) fn takes(&self, meta: &Meta, state: MeasurementState) -> bool {
        let takes_part = |vp| meta.assignments.iter().any(|assigned| assigned.vps.contains(vp));
        (self.states.is_empty() || self.states.contains(&state))
            && self.kind.as_ref().is_none_or(|kind| *kind == meta.kind)
            && self.vp.as_ref().is_none_or(takes_part)
    }

    /// Whether one that ended may be among them.
    fn takes_ended(&self) -> bool {
        use MeasurementState::{Cancelled, Done};
        self.states.is_empty() || self.states.iter().any(|state| matches!(state, Done | Cancelled))
    }
}

/// Where a page ends: the message of LEDGER that comes next, and how many of its measurements are left.
struct Place {
    seq: u64,
    left: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seq)?;
        self.left.map_or(Ok(()), |left| write!(f, ".{left}"))
    }
}

impl FromStr for Place {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, left) = text.split_once('.').map_or((text, None), |(seq, left)| (seq, Some(left)));
        let left = left.map(str::parse).transpose().map_err(drop)?;
        Ok(Self { seq: seq.parse().map_err(drop)?, left })
    }
}
