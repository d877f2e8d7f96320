//! Sessions of browsers: a cookie in place of the `Authorization` field.
//!
//! The cookie holds a token of the API, made for it, that ends after [`LIFETIME_S`]: the anchor keeps no session, but
//! remembers which were ended (`ended`). No
//! script can read it (`HttpOnly`) and no other site sends it (`SameSite=Strict`); what changes something, and the
//! WebSocket, want the `Origin` of this API besides. A code signs in once and ends after [`CODE_LIFETIME`], so that a
//! link may carry it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use data_encoding::BASE32_NOPAD;
use mmn_schema::problem::Problem;
use mmn_schema::rest::{SignIn, SignInCode, WhoAmI};
use mmn_schema::time::Timestamp;
use serde_json::json;

use super::Api;
use super::call::{Call, Caller, Holder, Peer, unauthorized};
use super::ended::SESSION;
use super::host::same_origin;
use super::reply::{self, Answer, internal};
use super::route::{Access, Route};
use super::token::{self, Claims, TokenKey};

/// How long a session lasts, in seconds: 30 days.
pub(super) const LIFETIME_S: i64 = 30 * 24 * 3600;
/// How long a code is taken.
const CODE_LIFETIME: Duration = Duration::from_secs(600);
/// The most codes that wait to be used; beyond it the oldest is forgotten.
const MAX_CODES: usize = 64;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::post("/api/v1/session", "signIn", sign_in)
            .summary("Signs a browser in: the cookie of the answer stands for the token.")
            .access(Access::Open)
            .body::<SignIn>(|| json!({ "code": "mfrggzdfmztwq2lk" }))
            .value::<WhoAmI>(200, "Whom the session speaks for.")
            .told("Set-Cookie", "The session.")
            .problems(&[429]),
        Route::delete("/api/v1/session", "signOut", sign_out)
            .summary("Signs a browser out: its session is void from then on, also where somebody has a copy of it.")
            .access(Access::Open)
            .answer(204, "The browser forgets the session.", vec![])
            .told("Set-Cookie", "The session, ended."),
        Route::post("/api/v1/session/codes", "createSignInCode", make_code)
            .summary("Makes a code that signs a browser in once, on behalf of whoever asks.")
            .value::<SignInCode>(201, "The code."),
    ]
}

/// What sessions need: the cookie's name, and the codes that wait.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// Cookies know hosts and no ports: the name tells two anchors on one machine apart.
    cookie: String,
    /// Whether browsers may send it over TLS alone.
    secure: bool,
    codes: Codes,
}

impl Sessions {
    pub(crate) fn new(port: u16, secure: bool) -> Self {
        Self { cookie: format!("mmn_session_{port}"), secure, codes: Codes::default() }
    }

    /// Whose session a request belongs to. A session that does not hold is none: its browser is to sign in again.
    pub(crate) fn caller(&self, key: &TokenKey, request: &Request<Body>) -> Result<Caller, Problem> {
        let headers = request.headers();
        let Some(token) = cookie(headers, &self.cookie) else { return Ok(Caller::Anybody) };
        let Ok(claims) = token::verify(key, token, crate::clock::wall()) else { return Ok(Caller::Anybody) };
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        if !reads || headers.contains_key(header::UPGRADE) {
            if !headers.contains_key(header::ORIGIN) {
                return Err(Problem::new(403, "wrong-origin", "A session is for pages of this origin")
                    .detail("the request has a session's cookie, and no Origin")
                    .hint("programs send Authorization: Bearer TOKEN"));
            }
            same_origin(request.uri(), headers)?;
        }
        Ok(Caller::Holder(Arc::new(claims)))
    }

    fn set_cookie(&self, value: &str, max_age_s: i64) -> Result<HeaderValue, Problem> {
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}",
            self.cookie
        );
        HeaderValue::try_from(cookie).map_err(internal)
    }
}

async fn sign_in(mut call: Call) -> Answer {
    // Nobody is signed in to somebody else's account by another page.
    same_origin(&call.head.uri, &call.head.headers)?;
    let (api, now) = (Arc::clone(&call.api), crate::clock::wall());
    let peer = call.head.extensions.get::<Peer>().map(|peer| peer.0);
    if let Some(wait) = peer.and_then(|peer| api.guesses.wait(peer, crate::clock::now())) {
        return Err(Problem::new(429, "rate-limited", "Too many requests")
            .detail("too much was tried that is wrong")
            .retry_after(wait.as_secs() + 1)
            .into());
    }
    let by = call.body().await?;
    let holder = match who(&api, by, now).await {
        Ok(holder) => holder,
        Err(problem) => {
            if let Some(peer) = peer.filter(|_| problem.status == 401) {
                api.guesses.wrong(peer, crate::clock::now());
            }
            return Err(problem.into());
        }
    };
    let claims = of_session(&holder, now);
    let token = token::mint(&api.key, &claims).map_err(internal)?;
    let lasts_s = claims.exp.unwrap_or_default().saturating_sub(claims.iat);
    let expires_at = claims.expires_at();
    let who = WhoAmI { subject: claims.sub, tenant: claims.tenant, expires_at };
    let mut response = reply::ok(call.headers(), &who);
    response.headers_mut().insert(header::SET_COOKIE, api.sessions.set_cookie(&token, lasts_s)?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// On whose behalf somebody signs in.
async fn who(api: &Api, by: SignIn, now: Timestamp) -> Result<Arc<Claims>, Problem> {
    match by {
        SignIn::Token(text) => {
            let claims = token::verify(&api.key, text.trim(), now)
                .map_err(|error| unauthorized(&format!("the token is not taken: {error}")))?;
            // Nor is a session that was ended a way into another one.
            if api.ended.holds(&api.anchor, &claims).await? {
                return Err(unauthorized("the token is not taken: its session was ended"));
            }
            Ok(Arc::new(claims))
        }
        SignIn::Code(code) => api
            .sessions
            .codes
            .take(&code, crate::clock::now())
            .ok_or_else(|| unauthorized("the code is not taken: it was used, or its time is over")),
    }
}

async fn sign_out(call: Call) -> Answer {
    same_origin(&call.head.uri, &call.head.headers)?;
    let api = &call.api;
    if let Some(token) = cookie(call.headers(), &api.sessions.cookie)
        && let Ok(claims) = token::verify(&api.key, token, crate::clock::wall())
        && !api.ended.holds(&api.anchor, &claims).await?
    {
        api.ended.end(&api.anchor, &claims).await?;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::SET_COOKIE, call.api.sessions.set_cookie("", 0)?);
    Ok(response)
}

async fn make_code(Holder(claims): Holder, call: Call) -> Answer {
    let code = call.api.sessions.codes.make(claims, crate::clock::now());
    let lifetime_ns = i64::try_from(CODE_LIFETIME.as_nanos()).unwrap_or(i64::MAX);
    let expires_at = Timestamp::from_unix_ns(crate::clock::wall().unix_ns().saturating_add(lifetime_ns));
    let mut response = reply::value(StatusCode::CREATED, call.headers(), &SignInCode { code, expires_at });
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What the token of a session says: it never outlives the one that it was made for.
fn of_session(holder: &Claims, now: Timestamp) -> Claims {
    let iat = now.unix_ns() / 1_000_000_000;
    let exp = iat.saturating_add(LIFETIME_S);
    Claims {
        sub: holder.sub.clone(),
        tenant: holder.tenant.clone(),
        iat,
        exp: Some(holder.exp.map_or(exp, |end| end.min(exp))),
        jti: format!("{SESSION}{}", secret()),
    }
}

/// The value of a cookie (RFC 6265, section 4.2.1).
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// 128 random bits.
fn secret() -> String {
    let mut text = BASE32_NOPAD.encode(&rand::random::<[u8; 16]>());
    text.make_ascii_lowercase();
    text
}

/// Codes that wait to be used, with those on whose behalf they sign in.
#[derive(Default)]
struct Codes(Mutex<HashMap<String, (Instant, Arc<Claims>)>>);

impl Codes {
    fn make(&self, claims: Arc<Claims>, now: Instant) -> String {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, (ends, _)| *ends > now);
        if codes.len() >= MAX_CODES
            && let Some(oldest) =
                codes.iter().min_by_key(|(_, (ends, _))| *ends).map(|(code, _)| code.clone())
        {
            codes.remove(&oldest);
        }
        let code = secret();
        codes.insert(code.clone(), (now + CODE_LIFETIME, claims));
        code
    }

    fn take(&self, code: &str, now: Instant) -> Option<Arc<Claims>> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.remove(code).filter(|(ends, _)| *ends > now).map(|(_, claims)| claims)
    }
}

impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codes(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(exp: Option<i64>) -> Arc<Claims> {
        let (sub, jti) = ("anna".to_owned(), "t1".to_owned());
        Arc::new(Claims { sub, tenant: "lab".parse().unwrap(), iat: 0, exp, jti })
    }

    #[test]
    fn a_code_signs_in_once_and_in_time() {
        let (codes, now) = (Codes::default(), crate::clock::now());
        let code = codes.make(claims(None), now);
        assert!(codes.take("another", now).is_none());
        assert_eq!(codes.take(&code, now).unwrap().sub, "anna");
        assert!(codes.take(&code, now).is_none());
        let late = codes.make(claims(None), now);
        assert!(codes.take(&late, now + CODE_LIFETIME).is_none());
        assert!(!format!("{codes:?}").contains(&late));
    }

    #[test]
    fn codes_that_nobody_uses_take_bounded_room() {
        let (codes, now) = (Codes::default(), crate::clock::now());
        let made: Vec<_> =
            (0..100).map(|at| codes.make(claims(None), now + Duration::from_millis(at))).collect();
        assert_eq!(codes.0.lock().unwrap().len(), MAX_CODES);
        assert!(codes.take(&made[0], now).is_none() && codes.take(&made[99], now).is_some());
    }

    #[test]
    fn a_session_ends_no_later_than_its_token() {
        let now = Timestamp::from_unix_ns(1_800_000_000_000_000_000);
        assert_eq!(of_session(&claims(None), now).exp, Some(1_800_000_000 + LIFETIME_S));
        let brief = of_session(&claims(Some(1_800_000_060)), now);
        assert_eq!((brief.exp, brief.tenant.as_str()), (Some(1_800_000_060), "lab"));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let headers = HeaderMap::from_iter([
            (header::COOKIE, "a=1; mmn_session_1=x; mmn_session_8677=y.z".parse().unwrap()),
            (header::COOKIE, "b=2".parse().unwrap()),
        ]);
        assert_eq!(cookie(&headers, "mmn_session_8677"), Some("y.z"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "mmn_session"), None);
    }

    #[test]
    fn a_session_counts_for_its_own_origin_alone() {
        let key = TokenKey::new(&[7; 32]);
        let sessions = Sessions::new(8677, true);
        let token = token::mint(&key, &of_session(&claims(None), crate::clock::wall())).unwrap();
        let set = sessions.set_cookie(&token, 60).unwrap();
        assert!(set.to_str().unwrap().ends_with("; HttpOnly; SameSite=Strict; Secure"));
        let asked = |method: Method, origin: Option<&str>, upgrade: bool, token: &str| {
            let mut request = Request::builder()
                .method(method)
                .uri("/api/v1/measurements")
                .header("host", "127.0.0.1:8677")
                .header("cookie", format!("mmn_session_8677={token}"));
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            if upgrade {
                request = request.header("upgrade", "websocket");
            }
            sessions.caller(&key, &request.body(Body::empty()).unwrap())
        };
        let own = Some("http://127.0.0.1:8677");
        for (method, origin, upgrade, good) in [
            (Method::GET, None, false, true),
            (Method::GET, None, true, false),
            (Method::GET, own, true, true),
            (Method::POST, own, false, true),
            (Method::POST, None, false, false),
            (Method::DELETE, Some("http://127.0.0.1:8678"), false, false),
            (Method::POST, Some("null"), false, false),
        ] {
            let caller = asked(method.clone(), origin, upgrade, &token);
            assert_eq!(caller.is_ok(), good, "{method} {origin:?} {upgrade}");
            if let Ok(caller) = caller {
                assert_eq!(caller.tenant().unwrap().as_str(), "lab");
            }
        }
        // One that does not hold is none.
        assert!(asked(Method::POST, None, false, "x.y.z").unwrap().tenant().is_err());
    }
}
