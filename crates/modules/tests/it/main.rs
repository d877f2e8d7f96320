//! The measurements against a world in memory: scripted servers, no socket, a clock that goes forward by itself.

#[cfg(test)]
mod dns;
#[cfg(test)]
mod ech;
#[cfg(test)]
mod http;
#[cfg(test)]
mod https;
#[cfg(test)]
mod options;
#[cfg(test)]
mod ping;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod scamper;
#[cfg(test)]
mod tcp;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod udp;
#[cfg(test)]
mod world;
