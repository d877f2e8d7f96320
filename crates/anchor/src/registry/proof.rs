//! Whom to believe: an announcement counts when it is signed with the key of a user that this network issued, and
//! that user may speak for the vantage point and under the name that the announcement gives.

use std::collections::HashMap;
use std::time::Instant;

use async_nats::{HeaderMap, Message};
use data_encoding::BASE64URL_NOPAD;
use mmn_bus::identity::permissions::Role as UserRole;
use mmn_bus::identity::{Claims, Trust, verify_signature};
use mmn_schema::announce::{Announcement, JWT_HEADER, Role, SIGNATURE_HEADER};
use mmn_schema::encoding::{self, CONTENT_TYPE, Encoding};
use mmn_schema::id::{InstanceId, VpId};

use crate::meter::Tokens;

/// Verifies announcements, and remembers the JWTs that it has seen.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    seen: HashMap<Box<str>, Known>,
    /// For JWTs that were not seen before.
    strangers: Option<Tokens>,
}

/// A user of the network.
#[derive(Debug)]
struct Known {
    claims: Claims,
    tokens: Tokens,
}

/// Why an announcement does not count.
#[derive(Debug)]
pub(crate) enum Unbelieved {
    /// It can't be read, or not be believed.
    Garbage(String),
    /// There are too many, under the key of these: it was not looked at.
    TooMany(Vec<(VpId, InstanceId)>),
}

impl From<String> for Unbelieved {
    fn from(why: String) -> Self {
        Self::Garbage(why)
    }
}

impl From<&str> for Unbelieved {
    fn from(why: &str) -> Self {
        Self::Garbage(why.to_owned())
    }
}

/// How many announcements of a user are looked at in a second, and at once: for each of its vantage points.
const PER_S: f64 = 20.0;
const BURST: f64 = 100.0;
/// How many JWTs that were not seen before are looked at in a second, and at once.
const STRANGERS_PER_S: f64 = 2_000.0;
const STRANGERS_BURST: f64 = 20_000.0;

/// How many JWTs are remembered; beyond it all are forgotten and verified anew.
const MAX_SEEN: usize = 50_000;

impl Verifier {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, seen: HashMap::new(), strangers: None }
    }

    /// The announcement that a message carries, and its encoding; `now_s` in seconds since 1970 UTC. Who sends too many
    /// is not listened to: that is known by the JWT, before anything is read or verified.
    pub(crate) fn announcement(
        &mut self,
        message: &Message,
        now_s: u64,
        now: Instant,
    ) -> Result<(Announcement, Encoding), Unbelieved> {
        let header = |name| message.headers.as_ref().and_then(|headers: &HeaderMap| headers.get(name));
        let jwt = header(JWT_HEADER).ok_or("it carries no JWT")?;
        let signature = header(SIGNATURE_HEADER).ok_or("it is not signed")?;
        let claims = self.claims(jwt.as_str(), now_s, now)?;
        let kind = header(CONTENT_TYPE).map(async_nats::HeaderValue::as_str);
        let encoding = Encoding::of(kind, &message.payload).map_err(|error| error.to_string())?;
        let announcement: Announcement =
            encoding::decode(kind, &message.payload).map_err(|error| error.to_string())?;
        if !mmn_schema::VERSION.reads(announcement.schema) {
            return Err(format!("it is of version {} of the contract", announcement.schema).into());
        }
        let signature =
            BASE64URL_NOPAD.decode(signature.as_str().as_bytes()).map_err(|error| error.to_string())?;
        verify_signature(&claims.subject, &message.payload, &signature).map_err(|error| error.to_string())?;
        if claims.name != announcement.instance.as_str() {
            return Err(
                format!("it speaks for {} under the key of {}", announcement.instance, claims.name).into()
            );
        }
        if !claims.vps.iter().any(|vp| vp == announcement.vp.as_str()) {
            return Err(format!("{} may not speak for {}", claims.name, announcement.vp).into());
        }
        let right = match announcement.role {
            Role::Module(_) | Role::Known(_) => claims.role == UserRole::Module,
            Role::Node(_) => claims.role == UserRole::Node,
            Role::Bye => claims.role != UserRole::Anchor,
        };
        if right {
            Ok((announcement, encoding))
        } else {
            Err(format!("{} has another role", claims.name).into())
        }
    }

    fn claims(&mut self, jwt: &str, now_s: u64, now: Instant) -> Result<Claims, Unbelieved> {
        if let Some(known) = self.seen.get_mut(jwt)
            && known.claims.expires_at_s.is_none_or(|end| end > now_s)
        {
            let scale = f64::from(u32::try_from(known.claims.vps.len()).unwrap_or(u32::MAX).max(1));
            if known.tokens.take(now, PER_S * scale, BURST * scale) {
                return Ok(known.claims.clone());
            }
            let instance = known.claims.name.parse::<InstanceId>();
            let vps = known.claims.vps.iter().filter_map(|vp| vp.parse().ok());
            let whose = instance.map(|instance| vps.map(|vp| (vp, instance.clone())).collect());
            return Err(Unbelieved::TooMany(whose.unwrap_or_default()));
        }
        let strangers = self.strangers.get_or_insert_with(|| Tokens::full(now, STRANGERS_BURST));
        if !strangers.take(now, STRANGERS_PER_S, STRANGERS_BURST) {
            return Err(Unbelieved::TooMany(Vec::new()));
        }
        let claims = self.trust.verify_user(jwt, now_s).map_err(|error| error.to_string())?;
        if self.seen.len() >= MAX_SEEN {
            self.seen.clear();
        }
        let scale = f64::from(u32::try_from(claims.vps.len()).unwrap_or(u32::MAX).max(1));
        let known = Known { claims: claims.clone(), tokens: Tokens::full(now, BURST * scale) };
        self.seen.insert(jwt.into(), known);
        Ok(claims)
    }
}
