//! The results of a measurement as they come, without gap or duplicate over any number of connections.

use mmn_schema::api::{Cursor, Ledger, ResultRecord};
use mmn_schema::id::MeasurementId;
use mmn_schema::stream::{FromAnchor, FromClient};

use crate::socket::{Patience, Socket};
use crate::{Client, ClientError};

/// How many records may be on their way.
const CREDITS: u32 = 2048;
/// The number of the one subscription of a connection.
const ID: u64 = 1;

/// A subscription to the results of a measurement.
///
/// When the connection breaks, it is opened again and the subscription goes on after the last record that was handed
/// out. The parts that a broken connection swallows are gone (they are kept nowhere); finals never are.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    measurement: MeasurementId,
    after: Option<Cursor>,
    socket: Option<Socket>,
    patience: Patience,
    /// Records that came since credits were granted last.
    used: u32,
}

/// What a subscription brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// Records, in the order of their cursors; parts have none and stand where they came.
    Records(Vec<ResultRecord>),
    /// All records were handed out and the measurement is done.
    Done(Ledger),
}

impl Client {
    /// Follows a measurement's results: those kept after `after` (absent: from the first), then those to come.
    pub fn follow(&self, measurement: MeasurementId, after: Option<Cursor>) -> Follow {
        Follow {
            client: self.clone(),
            measurement,
            after,
            socket: None,
            patience: Patience::default(),
            used: 0,
        }
    }
}

impl Follow {
    /// The next records, or the end. A call that is dropped before its end loses nothing.
    ///
    /// It fails when the API declines, or can not be reached for half a minute.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        loop {
            match self.step().await {
                Ok(Some(followed)) => return Ok(followed),
                Ok(None) => {}
                Err(error) => {
                    self.socket = None;
                    self.patience.wait(error).await?;
                }
            }
        }
    }

    /// After which record the subscription stands.
    pub fn cursor(&self) -> Option<Cursor> {
        self.after
    }

    async fn step(&mut self) -> Result<Option<Followed>, ClientError> {
        if self.socket.is_none() {
            let mut socket = self.client.socket().await?;
            let (measurement, after) = (self.measurement, self.after);
            socket.send(&FromClient::Subscribe { id: ID, measurement, after, credits: CREDITS }).await?;
            self.used = 0;
            self.socket = Some(socket);
        }
        let Some(socket) = &mut self.socket else { return Ok(None) };
        if self.used >= CREDITS / 2 {
            let credits = std::mem::take(&mut self.used);
            socket.send(&FromClient::Credit { id: ID, credits }).await?;
        }
        match socket.receive().await? {
            FromAnchor::Results { records, .. } => {
                self.patience.renew();
                self.used = self.used.saturating_add(u32::try_from(records.len()).unwrap_or(u32::MAX));
                let records = fresh(records, &mut self.after);
                Ok((!records.is_empty()).then_some(Followed::Records(records)))
            }
            // The records are kept: the credits that go out above bring them.
            FromAnchor::Behind { .. } => {
                let credits = std::mem::take(&mut self.used);
                if credits > 0 {
                    socket.send(&FromClient::Credit { id: ID, credits }).await?;
                }
                Ok(None)
            }
            FromAnchor::Done { ledger, .. } => Ok(Some(Followed::Done(ledger))),
            FromAnchor::Problem { problem, .. } => Err(ClientError::Problem(Box::new(problem))),
            _ => Ok(None),
        }
    }
}

/// The records after `after`, which moves on to the last of them.
fn fresh(records: Vec<ResultRecord>, after: &mut Option<Cursor>) -> Vec<ResultRecord> {
    records
        .into_iter()
        .filter(|record| match (record.cursor, *after) {
            (Some(cursor), Some(last)) if cursor <= last => false,
            (Some(cursor), _) => {
                *after = Some(cursor);
                true
            }
            (None, _) => true,
        })
        .collect()
}
