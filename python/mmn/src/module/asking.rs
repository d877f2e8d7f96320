//! What a function asks of the site while it performs a task: addresses of names, whether packets may go there, and when.

use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc::SyncSender;

use mmn_kit::{Context, Failure, Family, code};

/// A question, and where the answer goes.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) question: Question,
    pub(super) answer: SyncSender<Result<Vec<IpAddr>, Failure>>,
}

/// A question.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// The addresses of a name that the site allows.
    Resolve(String, Family),
    /// Whether the site allows packets there.
    Check(IpAddr),
    /// To wait until the site's limits let so many packets, and so many bytes in all, go there.
    Pace(IpAddr, u64, u64),
}

impl Ask {
    /// Answers it. Whoever asked may be gone.
    pub(super) async fn put_to(self, context: &dyn Context) {
        let answer = match &self.question {
            Question::Resolve(host, family) => {
                context.resolve(host, *family).await.map(|found| found.addresses)
            }
            Question::Check(address) => context.check(*address).map(|()| Vec::new()),
            Question::Pace(address, packets, bytes) => {
                context.pace(*address, *packets, *bytes).await.map(|()| Vec::new())
            }
        };
        let _ = self.answer.send(answer);
    }
}

impl Question {
    /// The answer where there is no site, as in a test of the function alone: all is allowed. It may block.
    pub(super) fn answer_alone(&self) -> Result<Vec<IpAddr>, Failure> {
        let Self::Resolve(host, family) = self else { return Ok(Vec::new()) };
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let unresolvable = |error: &dyn std::fmt::Display| {
            Failure::failed(code::UNRESOLVABLE, format_args!("{host}: {error}"))
        };
        let found = (bare, 0).to_socket_addrs().map_err(|error| unresolvable(&error))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.map(|found| found.ip()).filter(|address| family.holds(*address)) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(Failure::failed(
                code::ADDRESS_FAMILY,
                format_args!("{host} has none of that family"),
            ));
        }
        Ok(addresses)
    }
}
