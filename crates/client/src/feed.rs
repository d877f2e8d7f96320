//! An open measurement to which inputs are appended as fast as the anchor grants.

use mmn_schema::api::{Measurement, MeasurementRequest};
use mmn_schema::dispatch::Input;
use mmn_schema::stream::{FromAnchor, FromClient};

use crate::calls::Key;
use crate::socket::{Patience, Socket};
use crate::{Client, ClientError};

/// The most inputs of one message.
const CHUNK: usize = 1024;

/// The writing end of an open measurement. Results are read beside it, with [`Client::follow`].
///
/// At most one append is under way: after a broken connection the measurement's own account tells whether it was
/// accepted, so that no input is lost or doubled.
#[derive(Debug)]
pub struct Feed {
    client: Client,
    socket: Option<Socket>,
    patience: Patience,
    measurement: Measurement,
    /// Inputs that may be appended.
    granted: u64,
    /// Tasks that are known to be accepted.
    tasks: u64,
    id: u64,
}

impl Client {
    /// Opens a measurement for appending. `request.open` is set on the way.
    pub async fn feed(&self, request: &MeasurementRequest) -> Result<Feed, ClientError> {
        let request = MeasurementRequest { open: true, ..request.clone() };
        let key = Key::random();
        let mut patience = Patience::default();
        loop {
            match open(self, &request, &key).await {
                Ok((socket, measurement, granted)) => {
                    return Ok(Feed {
                        client: self.clone(),
                        socket: Some(socket),
                        patience: Patience::default(),
                        tasks: measurement.ledger.accepted,
                        measurement,
                        granted,
                        id: 1,
                    });
                }
                // Nobody listens: nothing was begun that would have to be finished.
                Err(error @ ClientError::Connect { .. }) => return Err(error),
                Err(error) => patience.wait(error).await?,
            }
        }
    }
}

impl Feed {
    /// The measurement as it was when it was accepted.
    pub fn measurement(&self) -> &Measurement {
        &self.measurement
    }

    /// How many tasks the inputs have become so far.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Appends inputs. It returns once all are accepted, durably; it waits while the anchor grants none.
    pub async fn append(&mut self, inputs: &[Input]) -> Result<(), ClientError> {
        let mut rest = inputs;
        while !rest.is_empty() {
            match self.append_some(rest).await {
                Ok(count) => {
                    self.patience.renew();
                    rest = rest.get(count..).unwrap_or_default();
                }
                Err(error) => {
                    self.socket = None;
                    // Whoever died may need a while until it can be asked.
                    let mut broken = error;
                    let accepted = loop {
                        self.patience.wait(broken).await?;
                        match self.was_accepted().await {
                            Ok(accepted) => break accepted,
                            Err(error) => broken = error,
                        }
                    };
                    if accepted {
                        let count = rest.len().min(self.chunk());
                        rest = rest.get(count..).unwrap_or_default();
                    }
                    // The grant of the former connection is over; an empty append asks for the new one.
                    self.granted = self.granted.max(1);
                }
            }
        }
        Ok(())
    }

    /// Says that no more inputs will come.
    pub async fn close(mut self) -> Result<Measurement, ClientError> {
        loop {
            match self.close_once().await {
                Ok(()) => return Ok(self.measurement),
                Err(error) => {
                    self.socket = None;
                    self.patience.wait(error).await?;
                }
            }
        }
    }

    fn chunk(&self) -> usize {
        usize::try_from(self.granted).unwrap_or(usize::MAX).clamp(1, CHUNK)
    }

    async fn append_some(&mut self, inputs: &[Input]) -> Result<usize, ClientError> {
        while self.granted == 0 {
            let message = self.socket().await?.receive().await?;
            self.take(message)?;
        }
        let chunk = self.chunk().min(inputs.len());
        self.id += 1;
        let (id, measurement) = (self.id, self.measurement.id);
        let inputs = inputs.get(..chunk).unwrap_or_default().to_vec();
        self.socket().await?.send(&FromClient::Append { id, measurement, inputs }).await?;
        loop {
            let message = self.socket().await?.receive().await?;
            if let FromAnchor::Appended { id: of, tasks, .. } = &message
                && *of == id
            {
                self.granted = self.granted.saturating_sub(u64::try_from(chunk).unwrap_or(u64::MAX));
                self.tasks += tasks;
                return Ok(chunk);
            }
            self.take(message)?;
        }
    }

    /// Whether the append that a broken connection left open was accepted.
    async fn was_accepted(&mut self) -> Result<bool, ClientError> {
        let accepted = self.client.ledger(self.measurement.id).await?.accepted;
        let more = accepted > self.tasks;
        self.tasks = accepted;
        Ok(more)
    }

    async fn close_once(&mut self) -> Result<(), ClientError> {
        self.id += 1;
        let (id, measurement) = (self.id, self.measurement.id);
        self.socket().await?.send(&FromClient::Close { id, measurement }).await?;
        loop {
            match self.socket().await?.receive().await? {
                FromAnchor::Closed { id: of } if of == id => return Ok(()),
                message => self.take(message)?,
            }
        }
    }

    fn take(&mut self, message: FromAnchor) -> Result<(), ClientError> {
        match message {
            FromAnchor::Inputs { measurement, inputs } if measurement == self.measurement.id => {
                self.granted = self.granted.saturating_add(inputs.into());
                Ok(())
            }
            FromAnchor::Problem { problem, .. } => Err(ClientError::Problem(Box::new(problem))),
            _ => Ok(()),
        }
    }

    async fn socket(&mut self) -> Result<&mut Socket, ClientError> {
        match &mut self.socket {
            Some(socket) => Ok(socket),
            empty => Ok(empty.insert(self.client.socket().await?)),
        }
    }
}

async fn open(
    client: &Client,
    request: &MeasurementRequest,
    key: &Key,
) -> Result<(Socket, Measurement, u64), ClientError> {
    let mut socket = client.socket().await?;
    socket
        .send(&FromClient::Measure {
            id: 1,
            request: Box::new(request.clone()),
            idempotency_key: Some(key.as_str().to_owned()),
            credits: None,
        })
        .await?;
    loop {
        match socket.receive().await? {
            FromAnchor::Accepted { measurement, inputs, .. } => {
                return Ok((socket, *measurement, inputs.unwrap_or(0).into()));
            }
            FromAnchor::Problem { problem, .. } => return Err(ClientError::Problem(Box::new(problem))),
            _ => {}
        }
    }
}
