//! Measurements of few tasks over one WebSocket: asked, accepted and answered in full without a request of HTTP for each.
//!
//! A question carries its key, so that one whose connection broke, or that the API could not take yet, is put again by
//! REST and leads to the same measurement. Begin with [`Brief::measure`].

use std::collections::HashMap;
use std::future::Future;

use mmn_schema::api::{Measurement, MeasurementRequest, MeasurementState, ResultRecord};
use mmn_schema::stream::{FromAnchor, FromClient};
use tokio::sync::{mpsc, oneshot};

use crate::{Client, ClientError, Conversation, Key, Measure};

/// How many questions may wait for the connection; whoever puts more waits.
const MAX_WAITING: usize = 1024;
/// How many are under way at once, below what the API carries on one connection; more wait their turn.
const MAX_UNDER_WAY: usize = 1000;
/// How many records are asked for at once; more come as they were taken.
const CREDITS: u32 = 1024;

/// A handle on the connection. It is cloned freely; when the last one is dropped the connection ends.
#[derive(Debug, Clone)]
pub struct Brief {
    client: Client,
    questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
struct Question {
    request: Box<MeasurementRequest>,
    key: Key,
    reply: oneshot::Sender<Option<Answer>>,
}

/// What a question was answered with.
type Answer = Result<(Measurement, Vec<ResultRecord>), ClientError>;

/// A question that was put.
#[derive(Debug)]
struct UnderWay {
    reply: oneshot::Sender<Option<Answer>>,
    measurement: Option<Measurement>,
    records: Vec<ResultRecord>,
}

impl Client {
    /// A connection for measurements of few tasks, and what has to run for it. It connects with the first question.
    pub fn brief(&self) -> (Brief, impl Future<Output = ()> + Send + 'static) {
        let (questions, asked) = mpsc::channel(MAX_WAITING);
        (Brief { client: self.clone(), questions }, run(self.clone(), asked))
    }
}

impl Brief {
    /// Measures, and waits for all results: they end by the deadline of the request.
    pub async fn measure(&self, measure: &Measure<'_>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let question =
            Question { request: Box::new(measure.request.clone()), key: measure.key.clone(), reply };
        if self.questions.send(question).await.is_ok()
            && let Ok(Some(answer)) = answer.await
        {
            return answer;
        }
        let mut measurement = self.client.measure(measure).await?;
        let records = measurement.results.take().unwrap_or_default();
        Ok((measurement, records))
    }
}

/// Answers questions until nobody can put any; connects anew for the first after a connection broke.
async fn run(client: Client, mut asked: mpsc::Receiver<Question>) {
    while let Some(first) = asked.recv().await {
        match client.converse().await {
            Ok(conversation) => converse(conversation, first, &mut asked).await,
            // Who asked finds out by REST why.
            Err(_) => drop(first),
        }
    }
}

/// Carries questions and answers until the connection breaks; what is under way then is dropped, which tells who asked.
async fn converse(mut conversation: Conversation, first: Question, asked: &mut mpsc::Receiver<Question>) {
    let mut under_way: HashMap<u64, UnderWay> = HashMap::new();
    let (mut last, mut next, mut open) = (0, Some(first), true);
    while open || !under_way.is_empty() {
        if let Some(question) = next.take() {
            last += 1;
            let say = FromClient::Measure {
                id: last,
                request: question.request,
                idempotency_key: Some(question.key.as_str().to_owned()),
                credits: Some(CREDITS),
            };
            if conversation.say(&say).is_err() {
                return;
            }
            under_way
                .insert(last, UnderWay { reply: question.reply, measurement: None, records: Vec::new() });
        }
        tokio::select! {
            question = asked.recv(), if open && under_way.len() < MAX_UNDER_WAY => match question {
                Some(question) => next = Some(question),
                None => open = false,
            },
            heard = conversation.hear() => match heard {
                Ok(heard) => take(heard, &mut under_way, &mut conversation),
                Err(_) => return,
            },
        }
    }
}

fn take(heard: FromAnchor, under_way: &mut HashMap<u64, UnderWay>, conversation: &mut Conversation) {
    match heard {
        FromAnchor::Accepted { id, measurement, .. } => {
            if let Some(one) = under_way.get_mut(&id) {
                one.measurement = Some(*measurement);
            }
        }
        FromAnchor::Results { id, records } => {
            if let Some(one) = under_way.get_mut(&id) {
                one.records.extend(records.into_iter().filter(|record| record.last));
            }
        }
        FromAnchor::Behind { id, .. } => {
            let _ = conversation.say(&FromClient::Credit { id, credits: CREDITS });
        }
        FromAnchor::Done { id, ledger } => {
            let Some(one) = under_way.remove(&id) else { return };
            let Some(mut measurement) = one.measurement else { return };
            measurement.state =
                if ledger.cancelled > 0 { MeasurementState::Cancelled } else { MeasurementState::Done };
            measurement.ledger = ledger;
            // Whoever asked may not care any more.
            let _ = one.reply.send(Some(Ok((measurement, one.records))));
        }
        FromAnchor::Problem { id: Some(id), problem } => {
            let Some(one) = under_way.remove(&id) else { return };
            let error = ClientError::Problem(Box::new(problem));
            // What passes is waited for by REST.
            let _ = one.reply.send((!error.is_passing()).then_some(Err(error)));
        }
        _ => {}
    }
}
