//! Web servers and their pages.

use mmn_probe::time::Nanos;

use super::Build;
use crate::plan::units::megabits;
use crate::plan::{Broken, Certificate, Content, Page, Web, file};

/// The most octets of a page.
const MOST: u32 = 64 << 20;

impl Build<'_> {
    pub(super) fn web(&mut self, number: usize, at: usize, web: &file::Web) {
        let item = format!("[[web]] {number} at \"{}\"", web.host);
        let Some(host) = self.host_of(at, &item, &web.host) else { return };
        let pages: Vec<_> = web.page.iter().map(|page| self.page(at, &item, page)).collect();
        if !web.http && web.tls.is_none() {
            self.problems.add(Some(at), format!("{item}: it has http, or tls, or both"));
        }
        let certificate = web.tls.map(|tls| match tls {
            file::Tls::Valid => Certificate::Valid,
            file::Tls::Expired => Certificate::Expired,
            file::Tls::WrongName => Certificate::WrongName,
            file::Tls::SelfSigned => Certificate::SelfSigned,
        });
        let names = web.names.iter().map(|name| name.to_ascii_lowercase().into()).collect();
        self.plan.webs.push(Web { host, names, http: web.http, certificate, pages });
        if web.http {
            self.serve(host, &[], &[80]);
        }
        if web.tls.is_some() {
            self.serve(host, &[], &[443]);
        }
    }

    fn page(&mut self, at: usize, item: &str, page: &file::Page) -> Page {
        let path = page.path.as_deref().unwrap_or("/");
        let status = page.status.unwrap_or(if page.location.is_some() { 302 } else { 200 });
        if !path.starts_with('/') || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.problems
                .add(Some(at), format!("{item}: the path \"{path}\" begins with / and has no blanks"));
        }
        if !(200..=599).contains(&status) {
            self.problems.add(Some(at), format!("{item}: status is 200 to 599"));
        }
        let bad = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(char::is_control));
        if bad(&page.location) || bad(&page.content_type) {
            self.problems.add(Some(at), format!("{item}: location and type have no control characters"));
        }
        if page.bytes.is_some_and(|bytes| bytes > MOST) || page.bytes.is_some() && page.body.is_some() {
            self.problems.add(Some(at), format!("{item}: body, or bytes up to {MOST}"));
        }
        let body = match (&page.body, page.bytes) {
            (Some(body), _) => Content::Text(body.as_str().into()),
            (None, bytes) => Content::Filler(bytes.unwrap_or(0).min(MOST)),
        };
        let bits_per_s = page.mbps.and_then(megabits);
        if page.mbps.is_some() && bits_per_s.is_none() {
            self.problems.add(Some(at), format!("{item}: mbps is positive"));
        }
        Page {
            path: path.into(),
            status,
            content_type: page.content_type.as_deref().unwrap_or("text/plain").into(),
            body,
            location: page.location.as_deref().map(Into::into),
            wait: self.duration(Some(at), &format!("{item}: wait_ms"), page.wait_ms, Nanos::ZERO),
            bits_per_s,
            broken: page.broken.map(|broken| match broken {
                file::Broken::Reset => Broken::Reset,
                file::Broken::Cut => Broken::Cut,
                file::Broken::Garbage => Broken::Garbage,
                file::Broken::Hang => Broken::Hang,
            }),
        }
    }
}
