//! A world that another program drives in its own process: others learn of it as of a lab of namespaces, by the same socket.
//!
//! Nothing but its truth and how it is doing is to be had: its vantage points have no networks.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::message::{About, Ask, Refusal, Reply};
use super::process::{Held, LabError, in_background};
use super::serve::{Answers, fitting, serve};
use crate::namespaces::TruthQuery;
use crate::namespaces::driver::Status;
use crate::namespaces::{Found, Search};
use crate::world::World;

/// A world that is lent for moments by whoever drives it.
pub trait Lent: Send + Sync + 'static {
    /// Calls with the world; meanwhile nothing happens in it.
    fn look(&self, looker: &mut dyn FnMut(&World));

    /// How it is doing.
    fn status(&self) -> Status;
}

/// A socket at which a world is asked. It goes when this is let go.
#[derive(Debug)]
pub struct Offered {
    _held: Held,
}

/// Has clients learn of a world at a socket in a directory, which is made where it is not there.
pub fn offer(dir: &Path, about: About, world: Arc<dyn Lent>) -> Result<Offered, LabError> {
    let held = Held::new(dir).map_err(|error| error.at(dir))?;
    let listener = held.listen().map_err(|source| LabError::Socket { dir: dir.to_owned(), source })?;
    let desk = Arc::new(Desk { about, world });
    in_background("lab clients", move || serve(&listener, &desk))?;
    Ok(Offered { _held: held })
}

struct Desk {
    about: About,
    world: Arc<dyn Lent>,
}

impl Answers for Desk {
    fn answer(&self, ask: Ask) -> Result<(Reply, Vec<OwnedFd>), Refusal> {
        let reply = match ask {
            Ask::About => Reply::About(self.about.clone()),
            Ask::Status => Reply::Status(self.world.status()),
            Ask::Truth(query) => Reply::Truth(fitting(self.truth(&query)?)),
            Ask::Socket(_) | Ask::Network { .. } => return Err(Refusal::NoNetworks),
            Ask::End => return Err(Refusal::NotAlone),
        };
        Ok((reply, Vec::new()))
    }
}

impl Desk {
    /// The world goes on between the steps of a search.
    fn truth(&self, query: &TruthQuery) -> Result<Vec<Found>, Refusal> {
        let mut search = None;
        self.world.look(&mut |world| search = Some(Search::new(world.plan(), world.truth(), query)));
        let mut search = search.ok_or(Refusal::Ending)?.map_err(Refusal::NoVp)?;
        let mut found = None;
        while found.is_none() {
            self.world.look(&mut |world| found = search.step(world.plan(), world.truth()));
        }
        Ok(found.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use mmn_probe::cookie::Key;
    use mmn_probe::ping::{Ping, Spec};
    use mmn_probe::time::Instant;

    use super::*;
    use crate::host::message::{SocketAsk, SocketKind, VERSION};
    use crate::host::{Client, ClientError, message::Family};
    use crate::namespaces::What;
    use crate::plan::Plan;
    use crate::simulated::Simulation;

    /// A world that has ended.
    struct Still(Mutex<Simulation<Ping>>);

    impl Lent for Still {
        fn look(&self, looker: &mut dyn FnMut(&World)) {
            looker(self.0.lock().unwrap().world());
        }

        fn status(&self) -> Status {
            let mut packets = 0;
            self.look(&mut |world| packets = world.truth().count());
            Status {
                exact: true,
                start_ns: 0,
                now_ns: 0,
                busy: false,
                packets_in: packets,
                packets_out: 0,
                ignored: 0,
                dropped_in: 0,
                dropped_out: 0,
                under_way: 0,
                events: 0,
                forgotten: 0,
                late: crate::namespaces::lateness::Late::default(),
                late_recently: crate::namespaces::lateness::Late::default(),
            }
        }
    }

    const WORLD: &str = r#"
        router = [{ name = "r", addr = "198.19.0.1" }]
        vp = [{ name = "home", addr = "198.18.0.1", at = "r", delay_ms = 2 }]
        host = [{ name = "www", addr = "198.18.1.1", at = "r", delay_ms = 1 }]
    "#;

    #[test]
    fn a_lent_world_tells_what_happened_in_it_and_nothing_else() {
        let plan = Arc::new(Plan::parse("world.toml", WORLD).unwrap());
        let home = plan.vp("home").unwrap();
        let mut simulation = Simulation::new(plan);
        let spec = Spec { count: 5, ..Spec::new([198, 18, 1, 1].into()) };
        simulation.start(home, Instant(0), Ping::new(spec, Key::new([7; 16])).unwrap());
        assert!(simulation.run(Instant(u64::MAX)));

        let dir = tempfile::tempdir().unwrap();
        let about = About {
            version: VERSION,
            file: "world.toml".to_owned(),
            pid: std::process::id(),
            driver: "in-process".to_owned(),
            why: "a test".to_owned(),
            user_namespace: false,
            has_ipv6: true,
            authority: None,
            resolv_conf: None,
            vps: 1,
        };
        let offered = offer(dir.path(), about.clone(), Arc::new(Still(Mutex::new(simulation)))).unwrap();
        let mut client = Client::connect(dir.path()).unwrap();
        assert_eq!(client.about().unwrap(), about);
        assert_eq!(client.status().unwrap().packets_in, 10);

        // Page by page, the newest first.
        let mut query = TruthQuery { vp: Some("home".to_owned()), last: 2, ..TruthQuery::default() };
        let mut pages = Vec::new();
        loop {
            let told = client.truth(&query).unwrap();
            let Some(oldest) = told.packets.first() else { break };
            query.before = Some(oldest.packet.id);
            assert!(told.packets.iter().all(|found| found.packet.fate.what == What::Answered));
            assert!(
                told.packets.iter().all(|found| found.came[0].ended_ns - found.packet.born_ns == 6_000_000)
            );
            pages.push(told.packets.len());
        }
        assert_eq!(pages, [2, 2, 1]);
        // And of a time.
        let of_second = TruthQuery {
            from_ns: Some(900_000_000),
            until_ns: Some(1_100_000_000),
            last: 9,
            ..TruthQuery::default()
        };
        assert_eq!(client.truth(&of_second).unwrap().packets.len(), 1);

        let (family, kind) = (Family::Inet, SocketKind::Raw);
        let socket = client.socket(&SocketAsk { vp: "home".to_owned(), family, kind, protocol: 1 });
        assert!(matches!(socket, Err(ClientError::Refused(Refusal::NoNetworks))), "{socket:?}");
        assert!(matches!(client.end(), Err(ClientError::Refused(Refusal::NotAlone))));
        let second = offer(
            dir.path(),
            about,
            Arc::new(Still(Mutex::new(Simulation::new(Arc::new(Plan::parse("world.toml", WORLD).unwrap()))))),
        );
        assert!(matches!(second, Err(LabError::Busy(_))), "{second:?}");
        drop(offered);
        assert!(Client::connect(dir.path()).is_err());
    }
}
