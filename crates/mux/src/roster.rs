//! Who is there: the vantage points, as a mux tells of them, and how that is kept true.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use mmn_client::{Client, ClientError, Happened};
use mmn_scamper::mux::{Attribute, Vp};
use mmn_schema::api::{Health, VpView};
use mmn_schema::id::VpId;
use mmn_translate::request::Allowed;
use tokio::sync::watch;

use crate::pace::Limits;

/// Changes that no event tells of are seen after so long.
const REFRESH: Duration = Duration::from_secs(15);
/// Before it asks again where asking failed.
const PAUSE: Duration = Duration::from_secs(1);
/// The kinds that commands of scamper become.
const KINDS: [&str; 6] = ["ping", "trace", "multipath", "dns", "http", "udp"];

/// A vantage point.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    pub(crate) id: VpId,
    pub(crate) name: String,
    /// What can be measured from there now.
    pub(crate) kinds: Vec<String>,
    pub(crate) allowed: Allowed,
    /// What its site lets leave, where that is known.
    pub(crate) limits: Option<Limits>,
    pub(crate) simulated: bool,
    /// What clients are told of it.
    pub(crate) told: Vp,
}

/// The vantage points that are there, by the numbers that clients open channels by. A number is never given twice.
pub(crate) type Roster = Arc<BTreeMap<u32, Arc<Place>>>;

/// Keeps the numbers of vantage points.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    of: HashMap<VpId, u32>,
    last: u32,
}

impl Numbers {
    /// The roster that a list of vantage points makes. One that has gone and come back has another number.
    pub(crate) fn roster(&mut self, views: &[VpView]) -> Roster {
        let mut roster = BTreeMap::new();
        let mut of = HashMap::new();
        for view in views {
            let id = view.vantage_point.id.clone();
            let known = self.of.get(&id).copied();
            if !is_there(view.health) || (known.is_none() && !offers(view)) {
                continue;
            }
            let number = known.unwrap_or_else(|| {
                self.last += 1;
                self.last
            });
            of.insert(id, number);
            roster.insert(number, Arc::new(place(number, view)));
        }
        self.of = of;
        Arc::new(roster)
    }
}

/// Keeps a roster true until everybody who reads it is gone.
pub(crate) async fn keep(client: Client, mut numbers: Numbers, roster: watch::Sender<Roster>) {
    let mut events = client.events_but_measurements();
    loop {
        // What happens while the list is read is heard after it.
        let pause = tokio::select! {
            happened = events.next() => {
                let mut told = matters(&happened);
                while let Some(more) = events.next().now_or_never() {
                    told |= matters(&more);
                    if more.is_err() {
                        break;
                    }
                }
                if happened.is_err() {
                    events = client.events_but_measurements();
                    PAUSE
                } else if told {
                    Duration::ZERO
                } else {
                    continue;
                }
            }
            () = tokio::time::sleep(REFRESH) => Duration::ZERO,
            () = roster.closed() => return,
        };
        tokio::time::sleep(pause).await;
        match list(&client).await {
            Ok(views) => {
                let next = numbers.roster(&views);
                roster.send_if_modified(|current| {
                    let changed = *current != next;
                    *current = next;
                    changed
                });
            }
            Err(error) => tracing::warn!(%error, "the list of vantage points"),
        }
    }
}

/// All vantage points.
pub(crate) async fn list(client: &Client) -> Result<Vec<VpView>, ClientError> {
    let (mut views, mut after) = (Vec::new(), None);
    loop {
        let mut page = client.vps(after.as_deref()).await?;
        views.append(&mut page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(views),
        }
    }
}

fn matters(happened: &Result<Happened, ClientError>) -> bool {
    match happened {
        Ok(Happened::Event(event, dropped)) => {
            *dropped > 0 || event.kind.starts_with("vp-") || event.kind.starts_with("module-")
        }
        Ok(Happened::Resumed) => true,
        Err(_) => false,
    }
}

fn is_there(health: Health) -> bool {
    !matches!(health, Health::Lost | Health::Stopped)
}

fn offers(view: &VpView) -> bool {
    view.kinds.iter().any(|kind| KINDS.contains(&kind.as_str()))
}

fn place(number: u32, view: &VpView) -> Place {
    let vp = &view.vantage_point;
    let mut told = Vp::new(number).with(Attribute::Name, &vp.name).with(Attribute::ShortName, &vp.name);
    let asn = vp.asn.map(|asn| asn.to_string());
    let v4 = vp.addresses.iter().find(|address| address.is_ipv4() && is_global(**address));
    let v6 = vp.addresses.iter().find(|address| address.is_ipv6() && is_global(**address));
    let v4 = v4.or_else(|| vp.addresses.iter().find(|address| address.is_ipv4()));
    for (address, attribute, of) in
        [(v4, Attribute::Ipv4, Attribute::AsnOfIpv4), (v6, Attribute::Ipv6, Attribute::AsnOfIpv6)]
    {
        if let Some(address) = address {
            told = told.with(attribute, address.to_string());
            if let Some(asn) = &asn {
                told = told.with(of, asn);
            }
        }
    }
    let location = &vp.location;
    for (text, attribute) in [
        (location.country.as_ref().map(|country| country.to_ascii_lowercase()), Attribute::Country),
        (location.city.clone(), Attribute::Place),
        (
            location.latitude.zip(location.longitude).map(|(lat, long)| format!("{lat},{long}")),
            Attribute::Location,
        ),
    ] {
        if let Some(text) = text {
            told = told.with(attribute, text);
        }
    }
    for tag in &vp.tags {
        // An airport's code is a tag here.
        match tag.strip_prefix("iata:") {
            Some(code) => told = told.with(Attribute::Iata, code),
            None => told = told.with(Attribute::Tag, tag),
        }
    }
    if vp.simulated {
        told = told.with(Attribute::Tag, "simulated");
    }
    Place {
        id: vp.id.clone(),
        name: vp.name.clone(),
        kinds: view.kinds.iter().map(ToString::to_string).collect(),
        allowed: Allowed {
            packet_sockets: view.policy.as_ref().is_some_and(|policy| policy.allow_packet_sockets),
        },
        limits: view.policy.as_ref().map(Limits::of),
        simulated: vp.simulated,
        told,
    }
}

/// Whether an address says anything to others.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_loopback() && !address.is_link_local() && !address.is_unspecified()
        }
        IpAddr::V6(address) => {
            !address.is_loopback() && !address.is_unspecified() && address.segments()[0] & 0xffc0 != 0xfe80
        }
    }
}
