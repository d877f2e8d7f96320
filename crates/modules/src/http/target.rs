//! URLs: as they are asked for, and as redirects give them.

use std::net::IpAddr;

use url::Url;

use super::Params;
use super::result::parse_resolve;

/// A URL that can be requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target(Url);

impl Target {
    /// Reads a URL; `http://` is assumed where there is no scheme.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let short: String = text.chars().take(200).collect();
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full).map_err(|error| format!("{short:?} is no URL: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL holds a name or password; results would show it".to_owned());
        }
        Self::of(url).ok_or_else(|| format!("{short:?} is no URL of http or https"))
    }

    /// Where a redirect leads (RFC 9110, section 10.2.2). A name and password in it are left out.
    pub(super) fn follow(&self, location: &str) -> Option<Self> {
        let mut url = self.0.join(location).ok()?;
        url.set_username("").ok()?;
        url.set_password(None).ok()?;
        Self::of(url)
    }

    fn of(mut url: Url) -> Option<Self> {
        let usable = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.port_or_known_default() != Some(0);
        url.set_fragment(None);
        usable.then_some(Self(url))
    }

    /// The URL as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host: a name, or an address, an IPv6 one in brackets.
    pub(super) fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The host without brackets.
    pub(super) fn bare_host(&self) -> &str {
        let host = self.host();
        host.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(host)
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(80)
    }

    /// Whether it is https.
    pub(super) fn is_secure(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The Host field: the host, with the port where it is not the scheme's own.
    pub(super) fn authority(&self) -> String {
        self.0.port().map_or_else(|| self.host().to_owned(), |port| format!("{}:{port}", self.host()))
    }

    /// Path and query.
    pub(super) fn path(&self) -> String {
        let path = self.0.path();
        self.0.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
    }

    /// Whether both are of one origin (RFC 6454).
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// The addresses that parameters give for it instead of resolving.
    pub(super) fn given_addresses(&self, params: &Params) -> Vec<IpAddr> {
        let entries = params.resolve.iter().filter_map(|entry| parse_resolve(entry).ok());
        entries
            .filter(|(host, port, address)| {
                host.eq_ignore_ascii_case(self.bare_host())
                    && *port == self.port()
                    && params.family.holds(*address)
            })
            .map(|(_, _, address)| address)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_filled_in() {
        let target = Target::parse("www.example:8080/a?b#c").unwrap();
        assert_eq!(target.as_str(), "http://www.example:8080/a?b");
        assert_eq!((target.host(), target.port(), target.path().as_str()), ("www.example", 8080, "/a?b"));
        assert_eq!(target.authority(), "www.example:8080");
        let target = Target::parse("https://[2001:db8::1]").unwrap();
        assert_eq!((target.bare_host(), target.port(), target.is_secure()), ("2001:db8::1", 443, true));
        assert_eq!(target.authority(), "[2001:db8::1]");
        for wrong in
            ["", "ftp://a/", "http://", "http://u:p@a/", "http://a:99999/", "http://a:0/", "http:///", "a b"]
        {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn disguised_addresses_are_addresses() {
        for text in ["http://0x7f.1/", "http://2130706433/", "http://127.1"] {
            assert_eq!(Target::parse(text).unwrap().host(), "127.0.0.1", "{text}");
        }
    }

    #[test]
    fn redirects_are_joined() {
        let base = Target::parse("https://a.example/x/y?z").unwrap();
        let to = |location: &str| base.follow(location).map(|target| target.as_str().to_owned());
        assert_eq!(to("/b").as_deref(), Some("https://a.example/b"));
        assert_eq!(to("q?r#s").as_deref(), Some("https://a.example/x/q?r"));
        assert_eq!(to("//b.example").as_deref(), Some("https://b.example/"));
        assert_eq!(to("http://u:p@c.example/").as_deref(), Some("http://c.example/"));
        assert_eq!(to("ftp://c.example/"), None);
        assert_eq!(to("javascript:alert(1)"), None);
        assert_eq!(to("http://[::1"), None);
    }
}
