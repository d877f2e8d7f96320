//! What happens in the network, as it happens.

use mmn_schema::event::{Event, EventId};
use mmn_schema::stream::{FromAnchor, FromClient};

use crate::socket::{Patience, Socket};
use crate::{Client, ClientError};

const CREDITS: u32 = 1024;
const ID: u64 = 1;

/// A subscription to events. The anchor has the newest few hundred in memory: after a broken connection those are told that
/// were missed, where measurements' are watched too, and [`Happened::Resumed`] says that there was such a time.
#[derive(Debug)]
pub struct Events {
    client: Client,
    but_measurements: bool,
    socket: Option<Socket>,
    patience: Patience,
    used: u32,
    began: bool,
    /// The last one that was told.
    heard: Option<EventId>,
}

/// What a subscription to events brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// An event, and how many were dropped before it because the reader was slow.
    Event(Event, u64),
    /// The connection had broken. What the anchor still has of what happened meanwhile comes next.
    Resumed,
}

impl Client {
    /// Watches what happens in the network from now on.
    pub fn events(&self) -> Events {
        self.watch(false)
    }

    /// The same but for what happens to measurements.
    pub fn events_but_measurements(&self) -> Events {
        self.watch(true)
    }

    fn watch(&self, but_measurements: bool) -> Events {
        let (client, patience) = (self.clone(), Patience::default());
        Events { client, but_measurements, socket: None, patience, used: 0, began: false, heard: None }
    }
}

impl Events {
    /// The next event. A call that is dropped before its end loses nothing.
    pub async fn next(&mut self) -> Result<Happened, ClientError> {
        loop {
            match self.step().await {
                Ok(Some(happened)) => return Ok(happened),
                Ok(None) => {}
                Err(error @ ClientError::Connect { .. }) if !self.began => return Err(error),
                Err(error) => {
                    self.socket = None;
                    self.patience.wait(error).await?;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Happened>, ClientError> {
        if self.socket.is_none() {
            let mut socket = self.client.socket().await?;
            let but_measurements = self.but_measurements;
            let after = self.heard.filter(|_| !but_measurements);
            let asked = FromClient::Events { id: ID, credits: CREDITS, but_measurements, last: None, after };
            socket.send(&asked).await?;
            self.used = 0;
            self.socket = Some(socket);
            if std::mem::replace(&mut self.began, true) {
                return Ok(Some(Happened::Resumed));
            }
        }
        let Some(socket) = &mut self.socket else { return Ok(None) };
        if self.used >= CREDITS / 2 {
            let credits = std::mem::take(&mut self.used);
            socket.send(&FromClient::Credit { id: ID, credits }).await?;
        }
        match socket.receive().await? {
            FromAnchor::Event { event, dropped, .. } => {
                self.patience.renew();
                self.used += 1;
                self.heard = event.id.or(self.heard);
                Ok(Some(Happened::Event(event, dropped)))
            }
            FromAnchor::Problem { problem, .. } => Err(ClientError::Problem(Box::new(problem))),
            _ => Ok(None),
        }
    }
}
