//! The results of a measurement as they come, without gap or duplicate over any number of connections.

use mmn_schema::api::{Cursor, Ledger, ResultRecord};
use mmn_schema::id::MeasurementId;
use mmn_schema::stream::{FromAnchor, FromClient, Written};

use crate::socket::{self, Patience, Socket};
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

/// What a subscription brings to those who pass records on.
#[derive(Debug, Clone, PartialEq)]
pub enum Passed {
    /// Records as they are written, in the order of their cursors; parts have none and stand where they came.
    Records(Written),
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
        match self.next_written().await? {
            Passed::Records(written) => {
                let records = written.decode().map_err(|error| ClientError::Answer(error.to_string()))?;
                Ok(Followed::Records(records))
            }
            Passed::Done(ledger) => Ok(Followed::Done(ledger)),
        }
    }

    /// As [`next`](Self::next), for records as they are written.
    pub async fn next_written(&mut self) -> Result<Passed, ClientError> {
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

    async fn step(&mut self) -> Result<Option<Passed>, ClientError> {
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
        let (encoding, frame) = socket.receive_frame().await?;
        if let Some(written) = Written::read(&frame) {
            return Ok(self.take(written));
        }
        match socket::decoded(encoding, &frame)? {
            FromAnchor::Results { records, .. } => {
                let written =
                    Written::of(&records).map_err(|error| ClientError::Answer(error.to_string()))?;
                Ok(self.take(written))
            }
            // The records are kept: the credits that go out above bring them.
            FromAnchor::Behind { .. } => {
                let credits = std::mem::take(&mut self.used);
                if credits > 0 {
                    socket.send(&FromClient::Credit { id: ID, credits }).await?;
                }
                Ok(None)
            }
            FromAnchor::Done { ledger, .. } => Ok(Some(Passed::Done(ledger))),
            FromAnchor::Problem { problem, .. } => Err(ClientError::Problem(Box::new(problem))),
            _ => Ok(None),
        }
    }

    /// What of these was not handed out before.
    fn take(&mut self, mut written: Written) -> Option<Passed> {
        self.patience.renew();
        self.used = self.used.saturating_add(u32::try_from(written.len()).unwrap_or(u32::MAX));
        written.keep_after(&mut self.after);
        (!written.is_empty()).then_some(Passed::Records(written))
    }
}
