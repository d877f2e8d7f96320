//! Which server is asked.

use std::net::{IpAddr, SocketAddr};

use mmn_kit::{Context, Failure, code};

use super::Params;

/// The server of one task.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it listens.
    pub(super) at: SocketAddr,
    /// How long its name took to resolve, in nanoseconds; absent for an address.
    pub(super) resolve_ns: Option<u64>,
}

impl Server {
    /// Finds it: as the parameters say, else the vantage point's first.
    pub(super) async fn find(context: &dyn Context, params: &Params) -> Result<Self, Failure> {
        let Some(text) = params.server.as_deref() else {
            let all = context.name_servers();
            let at = all.into_iter().find(|server| params.family.holds(server.ip())).ok_or_else(|| {
                Failure::failed(code::UNRESOLVABLE, "the system names no name server of the family; give one")
            })?;
            return Ok(Self { at, resolve_ns: None });
        };
        let (host, port) =
            split(text.trim(), params.port).map_err(|error| Failure::refused(code::PARAMETERS, error))?;
        let resolution = context.resolve(host, params.family).await?;
        let address = resolution.addresses.first().copied();
        let address = address.ok_or_else(|| {
            Failure::failed(code::UNRESOLVABLE, format_args!("the server {host} has no address"))
        })?;
        Ok(Self { at: SocketAddr::new(address, port), resolve_ns: resolution.took_ns })
    }
}

/// Host and port of `192.0.2.1`, `192.0.2.1:5300`, `2001:db8::1`, `[2001:db8::1]:5300`, `ns.example` or
/// `ns.example:5300`.
pub(super) fn split(text: &str, usual: u16) -> Result<(&str, u16), String> {
    let wrong = || format!("server {text:?} is not of the form HOST or HOST:PORT");
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, usual));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?)
        }
        _ => (text, usual),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(address) => address.parse::<IpAddr>().map(|_| (address, port)).map_err(|_| wrong()),
        None if host.is_empty() || host.contains(':') => Err(wrong()),
        None => Ok((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_with_and_without_port() {
        for (text, host, port) in [
            ("192.0.2.1", "192.0.2.1", 53),
            ("192.0.2.1:5300", "192.0.2.1", 5300),
            ("2001:db8::1", "2001:db8::1", 53),
            ("[2001:db8::1]", "2001:db8::1", 53),
            ("[2001:db8::1]:5300", "2001:db8::1", 5300),
            ("ns.example", "ns.example", 53),
            ("ns.example:5300", "ns.example", 5300),
        ] {
            assert_eq!(split(text, 53).unwrap(), (host, port), "{text}");
        }
        for text in ["a:b:c", "ns.example:", "ns.example:0", "ns.example:99999", ":53", "[ns]:53", "[::1"] {
            assert!(split(text, 53).is_err(), "{text}");
        }
    }
}
