//! How the question is put: attempts over UDP, over TCP after a truncated answer or when asked for.

use std::net::{IpAddr, SocketAddr};

use futures::io::{AsyncReadExt, AsyncWriteExt};
use mmn_kit::{
    ByteStream, Context, Failure, Measured, Octets, Reason, SessionKind, Timestamp, code, summary,
};
use mmn_probe::time::{Instant, Nanos, Stamp, StampSource, Utc};
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::Outcome;

use super::message::{HEADER_BYTES, Header, decode};
use super::query::Query;
use super::result::{Attempt, Body, Ignored, Transport};
use super::server::Server;
use super::wire::Reader;
use super::{Dns, Params, name, registry};
use crate::session::{Lap, bound, reason_of, within};
use crate::shared::Stamps;

impl SessionKind for Dns {
    async fn run(context: &dyn Context, params: &Params, input: &Input) -> Result<Measured<Body>, Failure> {
        let refuse = |error: String| Failure::refused(code::PARAMETERS, error);
        let Input::Target(text) = input else {
            return Err(refuse("the input must be one domain name".to_owned()));
        };
        let question = question(params, text.trim()).map_err(refuse)?;
        let server = Server::find(context, params).await?;
        let mut exchange = Exchange {
            context,
            params,
            server,
            query: query(context, params, question),
            began: Lap::begin(context),
            attempts: Vec::new(),
            ids: Vec::new(),
            ignored: Ignored::default(),
            answer: None,
        };
        match params.protocol {
            Transport::Udp => exchange.udp().await?,
            Transport::Tcp => exchange.tcp(params.retries).await?,
        }
        Ok(exchange.measured())
    }
}

/// One exchange with one server.
struct Exchange<'a> {
    context: &'a dyn Context,
    params: &'a Params,
    server: Server,
    query: Query,
    began: Lap,
    attempts: Vec<Attempt>,
    /// The identifier of each attempt.
    ids: Vec<u16>,
    ignored: Ignored,
    answer: Option<Answer>,
}

struct Answer {
    attempt: usize,
    transport: Transport,
    bytes: Vec<u8>,
    rtt_ns: Option<u64>,
    stamps: Stamps,
}

/// Whether another attempt makes sense.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    Enough,
}

impl Exchange<'_> {
    async fn udp(&mut self) -> Result<(), Failure> {
        let socket = self.context.datagrams(self.server.at)?;
        let mut buffer = vec![0; 65_535];
        let mut sent: Vec<Option<Stamp>> = Vec::new();
        for _ in 0..=self.params.retries {
            let id = self.fresh_id();
            let stamp = match socket.send(&self.query.message(id)).await {
                Ok(stamp) => stamp,
                Err(failure) => {
                    sent.push(None);
                    match self.not_sent(Transport::Udp, failure)? {
                        Next::Again => continue,
                        Next::Enough => break,
                    }
                }
            };
            sent.push(Some(stamp));
            let left = attempt(Transport::Udp, Some(stamp));
            self.attempts.push(Attempt { id: Some(id), ..from(left, socket.local_addr().ok()) });
            let until = self.bound();
            let error = loop {
                let received = match within(self.context, until, socket.receive(&mut buffer)).await {
                    None => break Reason::new(code::TIMEOUT),
                    Some(Err(failure)) => break failure.reason,
                    Some(Ok(received)) => received,
                };
                let bytes = buffer.get(..received.bytes).unwrap_or(&buffer);
                if let Some(index) = self.judge(bytes, 0) {
                    let left = sent.get(index).copied().flatten().unwrap_or(stamp);
                    let bytes = bytes.to_vec();
                    let rtt_ns = received.stamp.at.checked_since(left.at).map(|rtt| rtt.0);
                    let stamps = Stamps::of(left, received.stamp);
                    if self.accept(index, Transport::Udp, bytes, rtt_ns, stamps) {
                        self.tcp(0).await?;
                    }
                    return Ok(());
                }
                if self.context.now() >= until {
                    break Reason::new(code::TIMEOUT);
                }
            };
            self.fail_last(error);
        }
        Ok(())
    }

    async fn tcp(&mut self, retries: u32) -> Result<(), Failure> {
        for _ in 0..=retries {
            let lap = Lap::begin(self.context);
            let stream = match within(self.context, self.bound(), self.context.connect(self.server.at)).await
            {
                Some(Ok(stream)) => stream,
                Some(Err(failure)) => {
                    self.fresh_id();
                    match self.not_sent(Transport::Tcp, failure)? {
                        Next::Again => continue,
                        Next::Enough => break,
                    }
                }
                None => {
                    self.fresh_id();
                    self.attempts.push(attempt(Transport::Tcp, None));
                    self.fail_last(Reason::with(code::TIMEOUT, "connecting"));
                    continue;
                }
            };
            let connect_ns = Some(lap.took_ns(self.context));
            match self.converse(stream, connect_ns).await {
                Ok(()) => return Ok(()),
                Err(error) => self.fail_last(error),
            }
        }
        Ok(())
    }

    /// One query and its answer over a connection (RFC 1035, section 4.2.2: two octets of length before each message).
    async fn converse(
        &mut self,
        mut stream: Box<dyn ByteStream>,
        connect_ns: Option<u64>,
    ) -> Result<(), Reason> {
        let own = self.ids.len();
        let id = self.fresh_id();
        let message = self.query.message(id);
        let mut framed = u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
        framed.extend(&message);
        let sent = self.stamp();
        let lap = Lap::begin(self.context);
        let left = from(attempt(Transport::Tcp, Some(sent)), stream.local_addr().ok());
        self.attempts.push(Attempt { connect_ns, id: Some(id), ..left });
        let until = self.bound();
        let timeout = || Reason::new(code::TIMEOUT);
        let context = self.context;
        let write = async {
            stream.write_all(&framed).await?;
            stream.flush().await
        };
        within(context, until, write).await.ok_or_else(timeout)?.map_err(|error| reason_of(&error))?;
        loop {
            let read = async {
                let mut length = [0; 2];
                stream.read_exact(&mut length).await?;
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut bytes).await?;
                Ok(bytes)
            };
            let bytes =
                within(context, until, read).await.ok_or_else(timeout)?.map_err(|error| reason_of(&error))?;
            let received = self.stamp();
            if let Some(index) = self.judge(&bytes, own) {
                let rtt_ns = Some(lap.took_ns(self.context));
                self.accept(index, Transport::Tcp, bytes, rtt_ns, Stamps::of(sent, received));
                return Ok(());
            }
            if self.context.now() >= until {
                return Err(timeout());
            }
        }
    }

    /// The attempt from `first` on that bytes answer, if any; what is no answer is counted.
    fn judge(&mut self, bytes: &[u8], first: usize) -> Option<usize> {
        let Some((header, after)) = Header::read(&mut Reader::new(bytes)).ok().zip(bytes.get(HEADER_BYTES..))
        else {
            self.ignored.garbage += 1;
            return None;
        };
        let Some(index) = self.ids.iter().rposition(|id| *id == header.id).filter(|index| *index >= first)
        else {
            self.ignored.wrong_id += 1;
            return None;
        };
        // Some servers that fail leave the question out.
        let repeated = match header.questions() {
            0 => header.is_error() || header.is_truncated(),
            _ => self.query.is_repeated(after, self.params.mixed_case),
        };
        if !header.is_answer() {
            self.ignored.garbage += 1;
        } else if !repeated {
            self.ignored.wrong_question += 1;
        } else {
            return Some(index);
        }
        None
    }

    /// Takes an answer; says whether to ask again over TCP.
    fn accept(
        &mut self,
        index: usize,
        transport: Transport,
        bytes: Vec<u8>,
        rtt_ns: Option<u64>,
        stamps: Stamps,
    ) -> bool {
        let truncated = Header::read(&mut Reader::new(&bytes)).is_ok_and(|header| header.is_truncated());
        if let Some(attempt) = self.attempts.get_mut(index) {
            attempt.rtt_ns = rtt_ns;
            attempt.response_bytes = u32::try_from(bytes.len()).ok();
            attempt.truncated = truncated;
            // It was late, and yet came while a later attempt waited.
            attempt.error = None;
        }
        self.answer = Some(Answer { attempt: index, transport, bytes, rtt_ns, stamps });
        truncated && transport == Transport::Udp && !self.params.no_fallback
    }

    /// A query that could not leave. What the network said is a result; what the vantage point said is a failure when
    /// nothing has left yet.
    fn not_sent(&mut self, transport: Transport, failure: Failure) -> Result<Next, Failure> {
        let network = [code::CONNECTION_REFUSED, code::CONNECTION_RESET, code::UNREACHABLE, code::TIMEOUT];
        let from_network =
            failure.outcome == Outcome::Failed && network.contains(&failure.reason.code.as_ref());
        if !from_network && self.attempts.is_empty() {
            return Err(failure);
        }
        self.attempts.push(attempt(transport, None));
        self.fail_last(failure.reason);
        Ok(if from_network { Next::Again } else { Next::Enough })
    }

    fn fail_last(&mut self, error: Reason) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.error = Some(error);
        }
    }

    /// An identifier that no attempt has had, noted as the next attempt's.
    fn fresh_id(&mut self) -> u16 {
        loop {
            let mut bytes = [0; 2];
            self.context.random(&mut bytes);
            let id = u16::from_be_bytes(bytes);
            if !self.ids.contains(&id) {
                self.ids.push(id);
                return id;
            }
        }
    }

    fn bound(&self) -> Instant {
        bound(self.context, Nanos(self.params.timeout.as_ns()))
    }

    fn stamp(&self) -> Stamp {
        Stamp { at: self.context.now(), utc: Utc(self.context.utc().unix_ns()), source: StampSource::User }
    }

    fn measured(self) -> Measured<Body> {
        let total_ns = self.began.took_ns(self.context);
        let asked = self.answer.as_ref().map_or(self.ids.len().saturating_sub(1), |answer| answer.attempt);
        let query = self.query.message(self.ids.get(asked).copied().unwrap_or(0));
        let last = self.attempts.last().map_or(self.params.protocol, |attempt| attempt.transport);
        let answer = self.answer;
        let response = answer.as_ref().and_then(|answer| decode(&answer.bytes));
        let response_bytes = answer.as_ref().and_then(|answer| u32::try_from(answer.bytes.len()).ok());
        let rtt_ns = answer.as_ref().and_then(|answer| answer.rtt_ns);
        let transport = answer.as_ref().map_or(last, |answer| answer.transport);
        let queries = self.attempts.iter().filter(|attempt| attempt.sent_at.is_some()).count();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX).into();
        let summary = summary([
            ("rtt_ns", rtt_ns.map(Into::into)),
            ("rcode", response.as_ref().map(|message| u32::from(message.rcode_number).into())),
            ("answers", response.as_ref().map(|message| count(message.answer.len()))),
            ("response_bytes", response_bytes.map(Into::into)),
            ("attempts", Some(count(queries))),
            ("tcp", answer.as_ref().map(|answer| u32::from(answer.transport == Transport::Tcp).into())),
        ]);
        let address = self.server.at.ip();
        let body = Body {
            server: self.params.server.clone(),
            address: address.into(),
            family: address.into(),
            port: self.server.at.port(),
            resolve_ns: self.server.resolve_ns,
            transport,
            rtt_ns,
            stamps: answer.as_ref().map(|answer| answer.stamps),
            total_ns,
            attempts: self.attempts,
            ignored: self.ignored,
            query_bytes: u32::try_from(query.len()).unwrap_or(u32::MAX),
            query: Octets(query),
            response_bytes,
            response,
            raw: answer.map(|answer| Octets(answer.bytes)),
        };
        Measured { answered: Some(body.raw.is_some()), summary, body }
    }
}

/// The question's name in wire format, type and class. An address as the name of a PTR record is turned round.
fn question(params: &Params, text: &str) -> Result<(Vec<u8>, (u16, u16)), String> {
    let number = registry::type_number(&params.r#type).ok_or("type is unknown")?;
    let class = registry::class_number(&params.class).ok_or("class is unknown")?;
    let name = match text.parse::<IpAddr>() {
        Ok(address) if number == 12 => name::to_wire(&name::reverse(address))?,
        _ => name::to_wire(text)?,
    };
    Ok((name, (number, class)))
}

fn query(context: &dyn Context, params: &Params, (name, of): (Vec<u8>, (u16, u16))) -> Query {
    let mixing = params.mixed_case.then(|| {
        let mut bits = vec![0; name.len().div_ceil(8)];
        context.random(&mut bits);
        bits
    });
    let cookie = params.cookie.then(|| {
        let mut cookie = [0; 8];
        context.random(&mut cookie);
        cookie
    });
    Query::new(params, name, of, mixing.as_deref(), cookie)
}

/// The attempt, with where it left from.
fn from(attempt: Attempt, local: Option<SocketAddr>) -> Attempt {
    let source = local.map(|local| local.ip().into());
    Attempt { source, source_port: local.map(|local| local.port()), ..attempt }
}

fn attempt(transport: Transport, sent: Option<Stamp>) -> Attempt {
    Attempt {
        transport,
        sent_at: sent.map(|stamp| Timestamp::from_unix_ns(stamp.utc.0)),
        source: None,
        source_port: None,
        id: None,
        connect_ns: None,
        rtt_ns: None,
        response_bytes: None,
        truncated: false,
        error: None,
    }
}
