//! The forms that are written result by result.

use std::collections::HashMap;
use std::io::Write as _;

use mmn_schema::api::{Measurement, ResultRecord};
use mmn_schema::time::Timestamp;
use mmn_schema::vp::VantagePoint;
use mmn_translate::results::rows::{Rows, csv};
use mmn_translate::results::{Asked, atlas, warts};
use mmn_warts::values::{CycleId, ListId};
use mmn_warts::{WriteError, Writer};

use super::{Form, Packed, Unwritten, finish};
use crate::failure::{Failure, chain};

/// As the API gives it.
pub(super) struct Json(pub(super) Packed);

impl Form for Json {
    fn write(&mut self, _: Option<&VantagePoint>, record: &ResultRecord) -> Result<(), Unwritten> {
        serde_json::to_writer(&mut self.0, record).map_err(std::io::Error::from)?;
        Ok(self.0.write_all(b"\n")?)
    }
    fn end(self: Box<Self>) -> Result<(), Failure> {
        finish(self.0)
    }
}

/// Lines of fields.
pub(super) struct Csv {
    rows: Rows,
    line: String,
    to: Packed,
}

impl Csv {
    pub(super) fn new(rows: Rows, mut to: Packed) -> Result<Self, Failure> {
        let mut line = String::new();
        csv::header(rows.columns(), &mut line);
        to.write_all(line.as_bytes())?;
        Ok(Self { rows, line, to })
    }
}

impl Form for Csv {
    fn write(&mut self, point: Option<&VantagePoint>, record: &ResultRecord) -> Result<(), Unwritten> {
        for row in self.rows.of(point, record)? {
            self.line.clear();
            csv::row(&row, &mut self.line);
            self.to.write_all(self.line.as_bytes())?;
        }
        Ok(())
    }
    fn end(self: Box<Self>) -> Result<(), Failure> {
        finish(self.to)
    }
}

/// RIPE Atlas's results.
pub(super) struct Atlas {
    pub(super) asked: Asked,
    pub(super) measurement: Measurement,
    pub(super) to: Packed,
}

impl Form for Atlas {
    fn write(&mut self, point: Option<&VantagePoint>, record: &ResultRecord) -> Result<(), Unwritten> {
        let result = atlas::result(&self.asked, &self.measurement, point, record)?;
        serde_json::to_writer(&mut self.to, &result).map_err(std::io::Error::from)?;
        Ok(self.to.write_all(b"\n")?)
    }
    fn end(self: Box<Self>) -> Result<(), Failure> {
        finish(self.to)
    }
}

/// scamper's files: a list for each vantage point, each with a cycle.
pub(super) struct Warts {
    asked: Asked,
    measurement: Measurement,
    writer: Writer<Packed>,
    cycles: HashMap<ListId, Cycle>,
}

/// The cycle of a list, and when its last result came to its end.
struct Cycle {
    id: CycleId,
    last: Option<Timestamp>,
}

impl Warts {
    pub(super) fn new(asked: Asked, measurement: Measurement, to: Packed) -> Self {
        Self { asked, measurement, writer: Writer::new(to), cycles: HashMap::new() }
    }

    fn belongs_to(&mut self, record: &ResultRecord) -> Result<(ListId, CycleId), WriteError> {
        let user_id = warts::user_id(&self.measurement);
        let (name, about) = warts::list(&self.measurement, record);
        let list = self.writer.list(user_id, &name, &about)?;
        if !self.cycles.contains_key(&list) {
            let (start, about) = warts::cycle(&self.measurement, record);
            let id = self.writer.cycle(list, user_id, start, about)?;
            self.cycles.insert(list, Cycle { id, last: None });
        }
        let Some(cycle) = self.cycles.get_mut(&list) else { return Ok((list, CycleId(0))) };
        cycle.last = cycle.last.max(ended(record));
        Ok((list, cycle.id))
    }
}

fn ended(record: &ResultRecord) -> Option<Timestamp> {
    let took = i64::try_from(record.duration_ns.unwrap_or(0)).ok()?;
    record.started_at.map(|began| Timestamp::from_unix_ns(began.unix_ns().saturating_add(took)))
}

impl Form for Warts {
    fn write(&mut self, _: Option<&VantagePoint>, record: &ResultRecord) -> Result<(), Unwritten> {
        let records = warts::records(&self.asked, record)?;
        let (list, cycle) = self.belongs_to(record).map_err(failed)?;
        for mut record in records {
            if let Some((of_list, of_cycle)) = record.membership() {
                (*of_list, *of_cycle) = (Some(list), Some(cycle));
            }
            self.writer.write(&record).map_err(failed)?;
        }
        Ok(())
    }
    fn end(mut self: Box<Self>) -> Result<(), Failure> {
        let mut cycles: Vec<_> = self.cycles.values().collect();
        cycles.sort_by_key(|cycle| cycle.id);
        for cycle in cycles {
            let last = cycle.last.unwrap_or(self.measurement.accepted_at);
            self.writer.end_cycle(cycle.id, warts::second(last)).map_err(failed)?;
        }
        finish(self.writer.into_inner().map_err(failed)?)
    }
}

fn failed(error: WriteError) -> Failure {
    match error {
        WriteError::Io(error) => error.into(),
        other => Failure::new(chain(&other)),
    }
}
