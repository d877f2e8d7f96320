//! The self-test of a kind: one task against this host alone, by the way that every task takes.
//!
//! It never sends a packet off the host, and what it sends counts for no limit: its site is a [`Site::loopback`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use mmn_kit::{FarEnd, Registered, Trial};
use mmn_probe::time::Nanos;
use mmn_schema::body::Body;
use mmn_schema::outcome::{Reason, code};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::clock;
use crate::context::{Site, has_route};

/// The longest that it may take.
const LIMIT: Duration = Duration::from_secs(2);
/// The longest request that a far end reads.
const MAX_REQUEST: usize = 16 * 1024;

/// The loopback addresses of this host that can be used: none where the interface is down, which says nothing of a
/// kind.
pub(super) fn hosts() -> impl Iterator<Item = IpAddr> {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into_iter().filter(|host| has_route(*host))
}

/// Why the kind does not pass at `host`; nothing when it does.
pub(super) async fn test(kind: &dyn Registered, site: &Rc<Site>, host: IpAddr) -> Result<(), Reason> {
    let attempt = AssertUnwindSafe(attempt(kind, site, host)).catch_unwind();
    let why = match tokio::time::timeout(LIMIT, attempt).await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(why))) => why,
        Ok(Err(_)) => "the kind broke".to_owned(),
        Err(_) => "it did not end in time".to_owned(),
    };
    Err(Reason::with(code::SELF_TEST, format_args!("the self-test of {} failed: {why}", kind.name())))
}

async fn attempt(kind: &dyn Registered, site: &Rc<Site>, host: IpAddr) -> Result<(), String> {
    let Some(trial) = kind.self_test() else {
        // Default parameters there need not be; that they are read without breaking is all.
        let _ = kind.prepare(&Body::null());
        return Ok(());
    };
    let system = |error: io::Error| format!("no far end: {error}");
    match trial.far_end {
        FarEnd::Host => perform(&trial, site, SocketAddr::new(host, 0)).await,
        FarEnd::Datagrams(answer) => {
            let socket = UdpSocket::bind((host, 0)).await.map_err(system)?;
            let address = socket.local_addr().map_err(system)?;
            tokio::select! {
                result = perform(&trial, site, address) => result,
                error = datagrams(&socket, answer) => Err(system(error)),
            }
        }
        FarEnd::Stream(answer) => {
            let listener = TcpListener::bind((host, 0)).await.map_err(system)?;
            let address = listener.local_addr().map_err(system)?;
            tokio::select! {
                result = perform(&trial, site, address) => result,
                error = stream(&listener, answer) => Err(system(error)),
            }
        }
    }
}

async fn perform(trial: &Trial, site: &Rc<Site>, address: SocketAddr) -> Result<(), String> {
    let (measurement, input) = (trial.task)(address).map_err(|failure| failure.to_string())?;
    let limit = Nanos(u64::try_from(LIMIT.as_nanos()).unwrap_or(u64::MAX));
    let context = site.context(clock::monotonic() + limit);
    let measured = measurement.run(&context, &input).await.map_err(|failure| failure.to_string())?;
    if measured.answered == Some(false) {
        return Err(format!("{} does not answer", address.ip()));
    }
    Ok(())
}

/// Answers until the socket fails.
async fn datagrams(socket: &UdpSocket, answer: fn(&[u8]) -> Option<Vec<u8>>) -> io::Error {
    let mut buffer = vec![0; MAX_REQUEST];
    loop {
        let (bytes, from) = match socket.recv_from(&mut buffer).await {
            Ok(came) => came,
            Err(error) => return error,
        };
        let Some(answer) = answer(buffer.get(..bytes).unwrap_or_default()) else { continue };
        if let Err(error) = socket.send_to(&answer, from).await {
            return error;
        }
    }
}

/// Answers one connection after another until the listener fails.
async fn stream(listener: &TcpListener, answer: fn(&[u8]) -> Option<Vec<u8>>) -> io::Error {
    loop {
        let mut connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => return error,
        };
        let mut request = Vec::new();
        while request.len() < MAX_REQUEST
            && connection.read_buf(&mut request).await.is_ok_and(|read| read > 0)
        {
            if let Some(answer) = answer(&request) {
                // Whoever is gone gets no answer.
                let _ = connection.write_all(&answer).await;
                let _ = connection.shutdown().await;
                break;
            }
        }
    }
}
