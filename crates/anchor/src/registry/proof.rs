//! Whom to believe: an announcement counts when it is signed with the key of a user that this network issued, and
//! that user may speak for the vantage point and under the name that the announcement gives.

use std::collections::HashMap;

use async_nats::{HeaderMap, Message};
use data_encoding::BASE64URL_NOPAD;
use mmn_bus::identity::permissions::Role as UserRole;
use mmn_bus::identity::{Claims, Trust, verify_signature};
use mmn_schema::announce::{Announcement, JWT_HEADER, Role, SIGNATURE_HEADER};
use mmn_schema::encoding::{self, CONTENT_TYPE, Encoding};

/// Verifies announcements, and remembers the JWTs that it has seen.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    seen: HashMap<Box<str>, Claims>,
}

/// How many JWTs are remembered; beyond it all are forgotten and verified anew.
const MAX_SEEN: usize = 50_000;

impl Verifier {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, seen: HashMap::new() }
    }

    /// The announcement that a message carries, and its encoding; `now_s` in seconds since 1970 UTC.
    pub(crate) fn announcement(
        &mut self,
        message: &Message,
        now_s: u64,
    ) -> Result<(Announcement, Encoding), String> {
        let header = |name| message.headers.as_ref().and_then(|headers: &HeaderMap| headers.get(name));
        let kind = header(CONTENT_TYPE).map(async_nats::HeaderValue::as_str);
        let encoding = Encoding::of(kind, &message.payload).map_err(|error| error.to_string())?;
        let announcement: Announcement =
            encoding::decode(kind, &message.payload).map_err(|error| error.to_string())?;
        if !mmn_schema::VERSION.reads(announcement.schema) {
            return Err(format!("it is of version {} of the contract", announcement.schema));
        }
        let jwt = header(JWT_HEADER).ok_or("it carries no JWT")?;
        let signature = header(SIGNATURE_HEADER).ok_or("it is not signed")?;
        let claims = self.claims(jwt.as_str(), now_s)?;
        let signature =
            BASE64URL_NOPAD.decode(signature.as_str().as_bytes()).map_err(|error| error.to_string())?;
        verify_signature(&claims.subject, &message.payload, &signature).map_err(|error| error.to_string())?;
        if claims.name != announcement.instance.as_str() {
            return Err(format!("it speaks for {} under the key of {}", announcement.instance, claims.name));
        }
        if !claims.vps.iter().any(|vp| vp == announcement.vp.as_str()) {
            return Err(format!("{} may not speak for {}", claims.name, announcement.vp));
        }
        let right = match announcement.role {
            Role::Module(_) => claims.role == UserRole::Module,
            Role::Node(_) => claims.role == UserRole::Node,
            Role::Bye => claims.role != UserRole::Anchor,
        };
        if right { Ok((announcement, encoding)) } else { Err(format!("{} has another role", claims.name)) }
    }

    fn claims(&mut self, jwt: &str, now_s: u64) -> Result<Claims, String> {
        if let Some(claims) = self.seen.get(jwt)
            && claims.expires_at_s.is_none_or(|end| end > now_s)
        {
            return Ok(claims.clone());
        }
        let claims = self.trust.verify_user(jwt, now_s).map_err(|error| error.to_string())?;
        if self.seen.len() >= MAX_SEEN {
            self.seen.clear();
        }
        self.seen.insert(jwt.into(), claims.clone());
        Ok(claims)
    }
}
