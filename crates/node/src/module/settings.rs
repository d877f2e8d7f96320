//! What a node hands to a module's process, over the socket pair that is its standard input: settings with
//! descriptors first, then changes.
//!
//! A module and its node may be of different versions. So the form of the first message stays as it is; what came to be
//! given later has messages of its own, which a module that does not know them passes over. Those that belong to the
//! start are in the socket before the process is: [`Endowment::add`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use mmn_lab::ids::VpId as LabVp;
use mmn_schema::id::KindName;
use serde::{Deserialize, Serialize};

use crate::net::Family;
use crate::net::bulk::{self, PacketSockets};
use crate::net::carrier::Carrier;
use crate::net::carrier::echo::EchoCarrier;
use crate::net::carrier::ordinary::{TcpCarrier, UdpCarrier};
use crate::net::carrier::raw::{RAW_DESCRIPTORS, RawCarrier, RawDescription, RawSockets};
use crate::net::icmp::{Description, EchoSocket, IdRange, Mode};
use crate::net::network::Network;
use crate::net::pass::Parcel;
use crate::net::simulated::Universe;
use crate::policy::Policy;

/// A message from the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FromNode {
    /// The first message. The descriptors: the page of the limits, then the sockets in their order.
    Settings(Box<Settings>),
    /// The site's policy has changed.
    Policy(Box<Policy>),
    /// Sockets that could not be opened before. They come along as descriptors, in their order.
    Sockets(Vec<Description>),
    /// Sockets for whole packets. They come along as descriptors, in their order, [`RAW_DESCRIPTORS`] for each.
    Raw(Vec<RawDescription>),
    /// The socket that sees IPv6 fragments. It comes along as a descriptor, before the others for whole packets.
    Fragments,
    /// Source ports for sockets that every process may open itself, of UDP and TCP.
    Ports(IdRange),
    /// Packet sockets for the bulk lane, which come along as descriptors.
    Bulk(bulk::Description),
    /// Finish what is held, then end.
    Drain,
}

/// What a module starts with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The kinds to offer; empty for all that the program has for this module.
    pub(crate) kinds: Vec<KindName>,
    /// Tasks at a time, where they differ from the defaults.
    pub(crate) concurrency: BTreeMap<KindName, u32>,
    /// The site's policy.
    pub(crate) policy: Policy,
    /// The sockets that come along.
    pub(crate) sockets: Vec<Description>,
    /// Why there are no sockets for echo, and the command that mends it.
    pub(crate) no_sockets: Option<NoSockets>,
}

/// Why there are no sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoSockets {
    pub(crate) what: String,
    pub(crate) command: Option<String>,
}

/// Settings with the descriptors that came along.
#[derive(Debug, Default)]
pub(crate) struct Endowment {
    pub(crate) settings: Settings,
    pub(crate) page: Option<OwnedFd>,
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) raw: Vec<RawSockets>,
    /// For those of IPv6 that come next.
    pub(crate) fragments: Option<OwnedFd>,
    pub(crate) ports: Option<IdRange>,
    /// Where the sockets are, and where others are opened.
    pub(crate) network: Network,
}

/// Sockets of one address family, to send and receive by.
#[derive(Debug)]
pub(crate) enum Gift {
    /// None: what every process may open itself, of UDP and TCP.
    Ordinary {
        /// Whether of IPv6, else of IPv4.
        v6: bool,
    },
    /// One socket for echo.
    Echo(OwnedFd, Description),
    /// Those of the raw and the precise lane.
    Raw(RawSockets),
    /// None: a world of the lab, of both families.
    Simulated(Universe, LabVp),
}

impl Gift {
    /// Whether it speaks IPv6, else IPv4.
    pub(crate) const fn v6(&self) -> bool {
        match self {
            Self::Ordinary { v6 } => *v6,
            Self::Echo(_, description) => description.v6,
            Self::Raw(sockets) => sockets.describe().v6,
            Self::Simulated(..) => false,
        }
    }

    /// The same by other descriptors.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Ordinary { v6 } => Self::Ordinary { v6: *v6 },
            Self::Echo(fd, description) => Self::Echo(fd.try_clone()?, *description),
            Self::Raw(sockets) => Self::Raw(sockets.try_clone()?),
            Self::Simulated(universe, vp) => Self::Simulated(universe.clone(), *vp),
        })
    }

    /// Takes the socket that sees fragments, where it is for it.
    pub(crate) fn add_fragments(&mut self, socket: &mut Option<OwnedFd>) {
        if let Self::Raw(sockets) = self
            && sockets.family() == Family::V6
            && let Some(socket) = socket.take()
        {
            sockets.add_fragments(socket);
        }
    }

    /// Whether it is one of the node's sockets, and all packets go by it.
    pub(crate) const fn is_whole(&self) -> bool {
        !matches!(self, Self::Ordinary { .. })
    }

    /// Whether sockets that every process may open come with it, where there are ports for them.
    pub(crate) const fn opens_ordinary(&self) -> bool {
        match self {
            Self::Ordinary { .. } => true,
            Self::Echo(_, description) => matches!(description.mode, Mode::Datagram),
            Self::Raw(_) | Self::Simulated(..) => false,
        }
    }

    /// What carries packets by it. With a datagram socket for echo come those of UDP and TCP that every process may open
    /// itself, where there are ports for them.
    pub(crate) fn carriers(
        self,
        network: &Network,
        ports: Option<IdRange>,
    ) -> io::Result<Vec<Box<dyn Carrier>>> {
        Ok(match self {
            Self::Ordinary { v6 } => ordinary(network, v6, ports)?,
            Self::Echo(fd, description) => {
                let socket = EchoSocket::from_passed(network, fd, description)?;
                let mut carriers: Vec<Box<dyn Carrier>> =
                    vec![Box::new(EchoCarrier::new(socket, rand::random())?)];
                let ports = ports.filter(|_| description.mode == Mode::Datagram);
                carriers.extend(ordinary(network, description.v6, ports)?);
                carriers
            }
            Self::Raw(sockets) => vec![Box::new(RawCarrier::new(sockets, rand::random())?)],
            Self::Simulated(universe, vp) => vec![Box::new(universe.carrier(vp, rand::random())?)],
        })
    }
}

/// The sockets that every process may open itself, where there are ports for them.
fn ordinary(network: &Network, v6: bool, ports: Option<IdRange>) -> io::Result<Vec<Box<dyn Carrier>>> {
    let family = if v6 { Family::V6 } else { Family::V4 };
    let Some(ports) = ports else { return Ok(Vec::new()) };
    Ok(vec![
        Box::new(UdpCarrier::new(network, family, ports, rand::random())?),
        Box::new(TcpCarrier::new(network, family, ports)?),
    ])
}

impl Endowment {
    /// Adds what a message gives that came together with the settings; gives back what changes something else.
    pub(crate) fn add(&mut self, change: Change) -> Option<Change> {
        match change {
            Change::Gifts(gifts) => {
                for mut gift in gifts {
                    gift.add_fragments(&mut self.fragments);
                    match gift {
                        Gift::Raw(sockets) => self.raw.push(sockets),
                        // Nothing comes with them.
                        Gift::Ordinary { .. } | Gift::Simulated(..) => {}
                        Gift::Echo(fd, description) => {
                            self.sockets.push(fd);
                            self.settings.sockets.push(description);
                        }
                    }
                }
                None
            }
            Change::Fragments(socket) => {
                self.fragments = Some(socket);
                None
            }
            Change::Ports(ports) => {
                self.ports = Some(ports);
                None
            }
            other => Some(other),
        }
    }

    /// Takes the sockets out. A raw socket for echo that is one of those for whole packets, too, is left out.
    pub(crate) fn take_gifts(&mut self) -> Vec<Gift> {
        let raw = std::mem::take(&mut self.raw);
        let has_raw = |v6: bool| raw.iter().any(|sockets| sockets.describe().v6 == v6);
        let echo =
            std::mem::take(&mut self.sockets).into_iter().zip(std::mem::take(&mut self.settings.sockets));
        let mut gifts: Vec<Gift> = echo
            .filter(|(_, description)| description.mode != Mode::Raw || !has_raw(description.v6))
            .map(|(fd, description)| Gift::Echo(fd, description))
            .collect();
        gifts.extend(raw.into_iter().map(Gift::Raw));
        gifts
    }

    /// For each family of which there is no other gift what every process may open itself, where there are ports for it.
    pub(crate) fn ordinary(&self, gifts: &[Gift]) -> Vec<Gift> {
        let families = [false, true].into_iter().filter(|_| self.ports.is_some());
        let lacking = families.filter(|v6| gifts.iter().all(|gift| gift.v6() != *v6));
        lacking.map(|v6| Gift::Ordinary { v6 }).collect()
    }
}

/// A later message with what came along.
#[derive(Debug)]
pub(crate) enum Change {
    Policy(Box<Policy>),
    Gifts(Vec<Gift>),
    Fragments(OwnedFd),
    Ports(IdRange),
    Bulk(PacketSockets),
    Drain,
}

/// Why a message from the node is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FromNodeError {
    #[error("not a message of a node: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{sockets} sockets were promised, and {descriptors} descriptors came")]
    Descriptors { sockets: usize, descriptors: usize },
    #[error("the first message has no settings")]
    NotFirst,
    #[error("settings twice")]
    Twice,
}

/// Reads the first message.
pub(crate) fn endowment(parcel: Parcel) -> Result<Endowment, FromNodeError> {
    let FromNode::Settings(settings) = serde_json::from_slice(&parcel.bytes)? else {
        return Err(FromNodeError::NotFirst);
    };
    let mut descriptors = parcel.descriptors;
    if descriptors.len() != settings.sockets.len() + 1 {
        return Err(FromNodeError::Descriptors {
            sockets: settings.sockets.len(),
            descriptors: descriptors.len(),
        });
    }
    let sockets = descriptors.split_off(1);
    Ok(Endowment { settings: *settings, page: descriptors.pop(), sockets, ..Endowment::default() })
}

/// Reads a later message, and takes what came along.
pub(crate) fn taken(parcel: Parcel) -> Result<Change, FromNodeError> {
    match change(&parcel)? {
        FromNode::Settings(_) => Err(FromNodeError::Twice),
        FromNode::Policy(policy) => Ok(Change::Policy(policy)),
        FromNode::Drain => Ok(Change::Drain),
        FromNode::Ports(ports) => Ok(Change::Ports(ports)),
        FromNode::Fragments => {
            let [socket] = <[OwnedFd; 1]>::try_from(parcel.descriptors)
                .map_err(|all| FromNodeError::Descriptors { sockets: 1, descriptors: all.len() })?;
            Ok(Change::Fragments(socket))
        }
        FromNode::Bulk(description) => {
            let descriptors = parcel.descriptors.len();
            PacketSockets::from_passed(parcel.descriptors, description)
                .map(Change::Bulk)
                .map_err(|_| FromNodeError::Descriptors { sockets: bulk::DESCRIPTORS, descriptors })
        }
        FromNode::Sockets(sockets) => {
            let echo = by(sockets, parcel.descriptors)?.into_iter();
            Ok(Change::Gifts(echo.map(|([fd], description)| Gift::Echo(fd, description)).collect()))
        }
        FromNode::Raw(sockets) => {
            let raw = by::<_, RAW_DESCRIPTORS>(sockets, parcel.descriptors)?.into_iter();
            Ok(Change::Gifts(
                raw.map(|(fds, description)| Gift::Raw(RawSockets::from_passed(fds, description))).collect(),
            ))
        }
    }
}

/// So many descriptors for each description.
fn by<T, const N: usize>(
    descriptions: Vec<T>,
    descriptors: Vec<OwnedFd>,
) -> Result<Vec<([OwnedFd; N], T)>, FromNodeError> {
    let sockets = descriptions.len().saturating_mul(N);
    if sockets != descriptors.len() {
        return Err(FromNodeError::Descriptors { sockets, descriptors: descriptors.len() });
    }
    let mut descriptors = descriptors.into_iter();
    let mut all = Vec::new();
    for description in descriptions {
        let own: Vec<OwnedFd> = descriptors.by_ref().take(N).collect();
        let own = own.try_into().map_err(|_| FromNodeError::Descriptors { sockets, descriptors: 0 })?;
        all.push((own, description));
    }
    Ok(all)
}

/// Reads the bytes of a later message.
pub(crate) fn change(parcel: &Parcel) -> Result<FromNode, FromNodeError> {
    Ok(serde_json::from_slice(&parcel.bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the version before sockets for whole packets had it: it refuses a field that it does not know.
    const FIRST: &str = r#"{"settings":{"kinds":[],"concurrency":{},"policy":{"max_pps":1000,"max_bps":"10Mbit/s",
        "max_pps_per_target":100,"allow":[],"deny":[],"deny_kinds":[],"allow_loopback":false,"sockets_for":[]},
        "sockets":[{"v6":false,"mode":"raw","ids":[0,1024]}],"no_sockets":null}}"#;

    fn settings() -> FromNode {
        let description = Description { v6: false, mode: Mode::Raw, ids: IdRange::new(0, 1024).unwrap() };
        FromNode::Settings(Box::new(Settings { sockets: vec![description], ..Settings::default() }))
    }

    #[test]
    fn the_first_message_keeps_its_form() {
        let recorded: serde_json::Value = serde_json::from_str(FIRST).unwrap();
        assert_eq!(serde_json::to_value(settings()).unwrap(), recorded);
    }

    fn parcel(message: &FromNode, descriptors: usize) -> Parcel {
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        let descriptors = std::iter::repeat_with(null).take(descriptors).collect();
        Parcel { bytes: serde_json::to_vec(message).unwrap(), descriptors }
    }

    #[test]
    fn what_comes_with_the_settings_is_added_to_them() {
        let range = |first| IdRange::new(first, 8).unwrap();
        let description = RawDescription { v6: false, ids: range(0), ports: range(61_000) };
        let raw = FromNode::Raw(vec![description]);
        let mut endowment = endowment(parcel(&settings(), 2)).unwrap();
        assert!(matches!(taken(parcel(&raw, 4)), Err(FromNodeError::Descriptors { sockets: 5, .. })));
        assert!(endowment.add(taken(parcel(&raw, 5)).unwrap()).is_none());
        let fragments = FromNode::Fragments;
        assert_eq!(serde_json::to_string(&fragments).unwrap(), r#""fragments""#);
        assert!(matches!(taken(parcel(&fragments, 0)), Err(FromNodeError::Descriptors { sockets: 1, .. })));
        assert!(endowment.add(taken(parcel(&fragments, 1)).unwrap()).is_none());
        // Those of IPv4 have no use for it.
        let v6 = RawDescription { v6: true, ids: range(0), ports: range(61_000) };
        assert!(endowment.add(taken(parcel(&FromNode::Raw(vec![description, v6]), 10)).unwrap()).is_none());
        assert!(endowment.fragments.is_none());
        let with: Vec<bool> = endowment.raw.iter().map(|sockets| sockets.fragments().is_some()).collect();
        assert_eq!(with, [false, false, true]);
        endowment.raw.truncate(1);
        assert!(matches!(endowment.add(Change::Drain), Some(Change::Drain)));
        let ports = FromNode::Ports(range(61_000));
        assert_eq!(serde_json::to_string(&ports).unwrap(), r#"{"ports":[61000,8]}"#);
        assert!(endowment.add(taken(parcel(&ports, 0)).unwrap()).is_none());
        assert_eq!(endowment.ports, Some(range(61_000)));
        let gifts = endowment.take_gifts();
        // The socket for echo is one of them, and would be read by two.
        let [Gift::Raw(sockets)] = &gifts[..] else { panic!("{gifts:?}") };
        assert_eq!((sockets.family(), sockets.describe()), (Family::V4, description));
    }

    #[test]
    fn a_socket_of_an_earlier_node_is_used() {
        let mut endowment = endowment(parcel(&settings(), 2)).unwrap();
        assert!(matches!(&endowment.take_gifts()[..], [Gift::Echo(..)]));
    }
}
