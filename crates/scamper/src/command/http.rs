//! `http`.

use std::net::IpAddr;
use std::time::Duration;

use super::rules::{Any, seconds, user_id};
use super::table::{Rule, command};

command! {
    /// `http`: a page from an address, whose name is not asked for.
    Http = "http", IpAddr;
    /// Headers of the request, `name: value` each.
    'H' headers: Vec<String> = Header,
    /// How long it may take (60 s).
    'm' max_time: Option<Duration> = seconds("maximum runtime", 1_000, 60_000),
    /// Options.
    'O' options: Vec<HttpOption> = HttpOptions,
    /// The URL, which must be given.
    'u' url: Option<String> = Any,
    /// The user's number.
    'U' user_id: Option<u32> = user_id(),
}

struct Header;

impl Rule<String> for Header {
    fn read(&self, text: &str) -> Result<String, String> {
        match text.split_once(':') {
            Some((name, _)) if name.eq_ignore_ascii_case("host") => Err("the host is that of the URL".into()),
            Some((name, _)) if !name.is_empty() && !name.contains(char::is_whitespace) => Ok(text.to_owned()),
            _ => Err(format!("invalid HTTP header '{text}'")),
        }
    }

    fn write(&self, value: &String) -> String {
        value.clone()
    }
}

/// An option of `http`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpOption {
    /// `insecure`: any certificate will do.
    Insecure,
    /// `grease`: an Encrypted Client Hello is pretended.
    Grease,
    /// `ecl=`: the configurations of an Encrypted Client Hello, in base64.
    EchConfigs(String),
}

struct HttpOptions;

impl Rule<HttpOption> for HttpOptions {
    fn read(&self, text: &str) -> Result<HttpOption, String> {
        let (word, value) = text.split_once('=').unwrap_or((text, ""));
        match word.to_ascii_lowercase().as_str() {
            "insecure" if value.is_empty() => Ok(HttpOption::Insecure),
            "grease" if value.is_empty() => Ok(HttpOption::Grease),
            "ecl" if !value.is_empty() => Ok(HttpOption::EchConfigs(value.to_owned())),
            _ => Err(format!("unknown option '{text}'")),
        }
    }

    fn write(&self, value: &HttpOption) -> String {
        match value {
            HttpOption::Insecure => "insecure".into(),
            HttpOption::Grease => "grease".into(),
            HttpOption::EchConfigs(configs) => format!("ecl={configs}"),
        }
    }
}

impl Http {
    fn check(&self) -> Result<(), String> {
        let Some(url) = &self.url else { return Err("the URL is missing: -u".into()) };
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return Err(format!("'{url}' is no URL of http or https"));
        }
        let ech = self.options.iter().any(|option| matches!(option, HttpOption::EchConfigs(_)));
        if ech && self.options.contains(&HttpOption::Grease) {
            return Err("grease and ecl exclude each other".into());
        }
        Ok(())
    }
}
