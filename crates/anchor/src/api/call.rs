//! A request as handlers see it: who asks, the path, the query, the body.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use mmn_schema::id::Tenant;
use mmn_schema::problem::Problem;
use mmn_schema::time::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::reply::{Failure, bad_request};
use super::token::{self, Claims, TokenKey};
use super::{Api, body};
use crate::handle::Viewer;

/// A request and what is needed to answer it.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) api: Arc<Api>,
    pub(crate) head: Parts,
    body: Body,
}

impl Call {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The variable part of the path. What can't be one names nothing.
    pub(crate) async fn path<T: FromStr<Err: Display>>(&mut self) -> Result<T, Problem> {
        let Path(text) =
            Path::<String>::from_request_parts(&mut self.head, &()).await.map_err(bad_request)?;
        text.parse().map_err(|error| {
            Problem::new(404, "not-found", "There is no such thing").detail(format!("{error:.200}"))
        })
    }

    /// The query. A parameter that nobody knows is refused: it would have been meant for something.
    pub(crate) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let Query(query) = Query::try_from_uri(&self.head.uri).map_err(|error| {
            bad_request(error.body_text()).hint("see /openapi.json for what may be asked")
        })?;
        Ok(query)
    }

    /// The body as a value.
    pub(crate) async fn body<T: DeserializeOwned + Send + 'static>(&mut self) -> Result<T, Problem> {
        let body = std::mem::take(&mut self.body);
        body::read(&self.head, body, self.api.config.max_body_bytes).await
    }
}

impl FromRequest<Arc<Api>> for Call {
    type Rejection = Infallible;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Infallible> {
        let (head, body) = request.into_parts();
        Ok(Self { api: Arc::clone(api), head, body })
    }
}

/// From which address a request comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who asks: the holder of a token, or anybody.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Holder(Arc<Claims>),
    Anybody,
}

impl Caller {
    /// Who a request comes from. A token that does not hold is refused even where none is needed: its holder thinks
    /// that it does.
    pub(crate) fn of(headers: &HeaderMap, key: &TokenKey, now: Timestamp) -> Result<Self, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(Self::Anybody) };
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(unauthorized("the Authorization field holds no bearer token"));
        }
        match token::verify(key, token.trim(), now) {
            Ok(claims) => Ok(Self::Holder(Arc::new(claims))),
            Err(error) => Err(unauthorized(&format!("the token is not taken: {error}"))),
        }
    }

    /// What its token says.
    pub(crate) fn claims(&self) -> Option<Arc<Claims>> {
        match self {
            Self::Holder(claims) => Some(Arc::clone(claims)),
            Self::Anybody => None,
        }
    }

    /// What it may see.
    pub(crate) fn viewer(&self) -> Viewer {
        match self {
            Self::Holder(claims) => Viewer::Tenant(claims.tenant.clone()),
            Self::Anybody => Viewer::Public,
        }
    }

    /// On whose behalf it acts; 401 when it has no token.
    pub(crate) fn tenant(&self) -> Result<&Tenant, Problem> {
        match self {
            Self::Holder(claims) => Ok(&claims.tenant),
            Self::Anybody => Err(unauthorized("this needs a token")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(head.extensions.get().cloned().unwrap_or(Self::Anybody))
    }
}

/// The holder of a token. Where there is none, the answer is 401.
#[derive(Debug)]
pub(crate) struct Holder(pub(crate) Arc<Claims>);

impl<S: Sync> FromRequestParts<S> for Holder {
    type Rejection = Failure;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Failure> {
        match head.extensions.get() {
            Some(Caller::Holder(claims)) => Ok(Self(Arc::clone(claims))),
            _ => Err(unauthorized("this needs a token").into()),
        }
    }
}

/// A switch in a query: `1` or `true`, `0` or `false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub(crate) enum Switch {
    #[serde(rename = "1")]
    One,
    #[serde(rename = "true")]
    True,
    #[serde(rename = "0")]
    Zero,
    #[default]
    #[serde(rename = "false")]
    False,
}

impl Switch {
    pub(crate) const fn is_on(self) -> bool {
        matches!(self, Self::One | Self::True)
    }
}

pub(super) fn unauthorized(detail: &str) -> Problem {
    Problem::new(401, "unauthorized", "A token that holds is needed")
        .detail(detail)
        .hint("send Authorization: Bearer TOKEN; mmn up keeps one in creds/client.token")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ns(1_800_000_000_000_000_000);

    fn caller(value: &str) -> Result<Caller, Problem> {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
        Caller::of(&headers, &TokenKey::new(&[7; 32]), NOW)
    }

    #[test]
    fn a_holder_is_known_by_the_token() {
        let claims = Claims {
            sub: "anna".into(),
            tenant: "lab".parse().unwrap(),
            iat: 0,
            exp: None,
            jti: "t1".into(),
        };
        let token = token::mint(&TokenKey::new(&[7; 32]), &claims).unwrap();
        for scheme in ["Bearer", "bearer"] {
            let caller = caller(&format!("{scheme} {token}")).unwrap();
            assert_eq!(caller.tenant().unwrap().as_str(), "lab");
        }
        for wrong in ["Bearer", "Bearer x", "Basic eDp5", "Bearer  ", &token] {
            let problem = caller(wrong).unwrap_err();
            assert_eq!(problem.status, 401, "{wrong}");
            assert!(!problem.to_string().contains(&token), "a token is never repeated");
        }
        assert_eq!(Caller::Anybody.tenant().unwrap_err().status, 401);
        assert_eq!(Caller::Anybody.viewer(), Viewer::Public);
    }
}
