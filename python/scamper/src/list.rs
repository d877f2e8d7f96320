//! `ScamperList` and `ScamperCycle`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mmn_warts::records::list::List;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;

use crate::item::{Pass, text};

/// A list of targets, to which measurements belong.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperList(pub(crate) Arc<List>);

#[pymethods]
impl ScamperList {
    /// The number that its user gave it.
    #[getter]
    fn id(&self) -> u32 {
        self.0.user_id
    }
    /// Its name.
    #[getter]
    fn name(&self) -> Option<String> {
        text(Some(&self.0.name))
    }
    /// What it is.
    #[getter]
    fn descr(&self) -> Option<String> {
        text(self.0.about.descr.as_ref())
    }
    /// The vantage point that measured.
    #[getter]
    fn monitor(&self) -> Option<String> {
        text(self.0.about.monitor.as_ref())
    }

    fn __richcmp__(&self, other: PyRef<'_, Self>, op: CompareOp) -> bool {
        let key = |list: &List| {
            (list.name.clone(), list.user_id, list.about.descr.clone(), list.about.monitor.clone())
        };
        op.matches(key(&self.0).cmp(&key(&other.0)))
    }

    fn __hash__(&self) -> u64 {
        u64::from(self.0.user_id)
    }
}

/// A pass over a list.
#[pyclass(module = "scamper", frozen)]
pub(crate) struct ScamperCycle {
    pub(crate) pass: Arc<Pass>,
    /// What it was in the file.
    pub(crate) what: What,
}

/// What a cycle's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Start,
    Definition,
    Stop,
}

impl ScamperCycle {
    /// The cycle of a measurement.
    pub(crate) fn of(pass: Arc<Pass>) -> Self {
        Self { pass, what: What::Definition }
    }
}

#[pymethods]
impl ScamperCycle {
    /// The number that its user gave it.
    #[getter]
    fn id(&self) -> u32 {
        self.pass.cycle.user_id
    }
    /// When it began.
    #[getter]
    fn start(&self) -> Option<SystemTime> {
        seconds(Some(self.pass.cycle.start), 0)
    }
    /// When it ended: the last microsecond of that second.
    #[getter]
    fn stop(&self) -> Option<SystemTime> {
        seconds(self.pass.stop(), 999_999)
    }
    /// The host that measured.
    #[getter]
    fn hostname(&self) -> Option<String> {
        text(self.pass.cycle.about.hostname.as_ref())
    }

    fn __richcmp__(&self, other: PyRef<'_, Self>, op: CompareOp) -> bool {
        let key = |pass: &Pass| {
            let cycle = &pass.cycle;
            (cycle.user_id, cycle.start, pass.stop(), cycle.about.hostname.clone(), cycle.list)
        };
        op.matches(key(&self.pass).cmp(&key(&other.pass)))
    }

    fn __hash__(&self) -> u64 {
        u64::from(self.pass.cycle.user_id) << 32 | u64::from(self.pass.cycle.start)
    }
}

fn seconds(seconds: Option<u32>, micros: u64) -> Option<SystemTime> {
    let seconds = seconds.filter(|seconds| *seconds != 0)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds.into()) + Duration::from_micros(micros))
}
