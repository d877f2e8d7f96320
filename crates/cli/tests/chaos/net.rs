//! The API as a client of two anchors sees it: it asks the one that answers, and asks again what got no answer.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mmn_client::{Client, ClientError, Trust};
use mmn_schema::api::Health;

/// How long an answer is waited for before the other anchor is asked.
const ANSWER: Duration = Duration::from_millis(2500);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(40);
/// Nothing takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Both anchors.
#[derive(Debug)]
pub(crate) struct Net {
    clients: [Client; 2],
    preferred: AtomicUsize,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It was answered with a problem that stays.
    Declined(ClientError),
    /// Nobody answered it; it may have been heard. The last error.
    Unheard(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined(error) => write!(f, "declined: {error}"),
            Self::Unheard(error) => write!(f, "not answered: {error}"),
        }
    }
}

impl Net {
    pub(crate) fn new(urls: [String; 2], token: &str) -> Self {
        let clients = urls.map(|url| Client::new(&url, Some(token), &Trust::System).unwrap());
        Self { clients, preferred: AtomicUsize::new(0) }
    }

    pub(crate) fn client(&self, number: usize) -> &Client {
        &self.clients[number % 2]
    }

    /// The one that answered last.
    pub(crate) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    pub(crate) fn prefer(&self, number: usize) {
        self.preferred.store(number % 2, Ordering::Relaxed);
    }

    /// Asks one anchor once.
    pub(crate) async fn once<T>(
        &self,
        number: usize,
        wait: Duration,
        ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(ANSWER + wait, ask(self.client(number))).await {
            Ok(Ok(answer)) => {
                self.prefer(number);
                Ok(answer)
            }
            Ok(Err(error)) if is_passing(&error) => Err(Trouble::Unheard(error.to_string())),
            Ok(Err(error)) => Err(Trouble::Declined(error)),
            Err(_) => Err(Trouble::Unheard("no answer in time".to_owned())),
        }
    }

    /// Asks until there is an answer: only what may be asked twice.
    pub(crate) async fn ask<T>(
        &self,
        wait: Duration,
        ask: impl AsyncFn(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Trouble> {
        let mut last = String::new();
        let asking = async {
            let mut number = self.preferred();
            loop {
                match self.once(number, wait, &ask).await {
                    Err(Trouble::Unheard(error)) => last = format!("{}: {error}", self.client(number).url()),
                    answered => return answered,
                }
                number += 1;
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(LONG, asking).await {
            Ok(answered) => answered,
            Err(_) => Err(Trouble::Unheard(last)),
        }
    }

    /// Which anchor is active, if one of them says so.
    pub(crate) async fn active(&self) -> Option<usize> {
        for number in 0..2 {
            let ready = tokio::time::timeout(Duration::from_millis(150), self.client(number).ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(number);
            }
        }
        None
    }

    /// Waits until so many instances are at work.
    pub(crate) async fn instances(&self, count: usize) {
        loop {
            if let Ok(page) = self.ask(Duration::ZERO, async |client| client.modules(None).await).await {
                // One whose circuit is half open waits for a task as a trial, and nobody may ask for one any more.
                let at_work = |health| matches!(health, Health::Healthy | Health::Degraded);
                let there = page.items.iter().filter(|module| at_work(module.health));
                if there.filter(|module| !module.kinds.is_empty()).count() >= count {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn is_passing(error: &ClientError) -> bool {
    error.is_passing()
        || error.problem().is_some_and(|problem| matches!(problem.status, 429 | 503 | 408))
        // Every node has said goodbye just now.
        || error.problem().is_some_and(|problem| problem.errors.iter().any(|it| it.pointer == "/from"))
        || matches!(error, ClientError::Status { .. })
}
