//! The request of one hop, as the parameters and the redirects before it make it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::{Method, Request, Uri};

use super::Params;
use super::target::Target;

/// What is sent, whatever the URL.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// The method.
    pub(super) method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    /// As the parameters say.
    pub(super) fn new(params: &Params) -> Result<Self, String> {
        let method = Method::from_bytes(params.method.as_bytes()).map_err(|error| error.to_string())?;
        let mut headers = HeaderMap::new();
        if !params.user_agent.is_empty() {
            let agent = HeaderValue::from_str(&params.user_agent).map_err(|error| error.to_string())?;
            headers.insert(USER_AGENT, agent);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        // Bodies are not decoded here.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut own = HeaderMap::new();
        for header in &params.headers {
            let (name, value) = header.split_once(':').ok_or("headers: no colon")?;
            let name: HeaderName = name.parse().map_err(|_| format!("headers: {name:?} is no name"))?;
            let value = HeaderValue::from_bytes(value.trim().as_bytes());
            own.append(name, value.map_err(|_| format!("headers: {header:?} has no valid value"))?);
        }
        for name in own.keys() {
            headers.remove(name);
        }
        headers.extend(own);
        let body = Bytes::from(params.body.clone().unwrap_or_default());
        Ok(Self { method, headers, body })
    }

    /// What is sent after a redirect with this status (RFC 9110, section 15.4): another origin gets no credentials,
    /// and a request that turns into a GET has no body.
    pub(super) fn redirected(mut self, status: u16, same_origin: bool) -> Self {
        let turns = match status {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if turns {
            self.method = Method::GET;
            self.body = Bytes::new();
            self.headers.remove(CONTENT_TYPE);
        }
        if !same_origin {
            for name in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HOST] {
                self.headers.remove(name);
            }
        }
        self
    }

    /// The request for a URL. A Host field that was given stands for the URL's host, in HTTP/2 as its authority.
    pub(super) fn request(&self, target: &Target, http2: bool) -> Result<Request<Full<Bytes>>, String> {
        let wrong =
            |error: &dyn std::fmt::Display| format!("{} can't be requested: {error}", target.as_str());
        let authority = target.authority();
        let host = HeaderValue::from_str(&authority).map_err(|error| wrong(&error))?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host);
        let given = self.headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        if given.is_some() {
            headers.clear();
        }
        headers.extend(self.headers.clone());
        let text = if http2 {
            headers.remove(HOST);
            let scheme = if target.is_secure() { "https" } else { "http" };
            format!("{scheme}://{}{}", given.unwrap_or(authority), target.path())
        } else {
            target.path()
        };
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = text.parse::<Uri>().map_err(|error| wrong(&error))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}
