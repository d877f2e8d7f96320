//! Enrolment: a node sends the public key of one of its modules, and gets it signed. The node's right to speak for
//! the vantage point is NATS's to enforce: it may publish on that vantage point's subject alone.

use async_nats::Message;
use mmn_bus::identity::UserRequest;
use mmn_schema::encoding::{self, CONTENT_TYPE, Encoding};
use mmn_schema::enrol::{EnrolAnswer, EnrolRequest};
use mmn_schema::id::VpId;
use mmn_schema::subject::Subject;

use super::{Actor, unix_s};
use crate::clock;

/// How long a module's credentials last, in seconds. Its node asks again at each start.
const LIFETIME_S: u64 = 30 * 24 * 3600;

impl Actor {
    pub(super) fn on_enrolment_message(&mut self, message: &Message) {
        let subject = message.subject.as_str();
        let kind = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(CONTENT_TYPE))
            .map(async_nats::HeaderValue::as_str);
        let Ok(Subject::Enrol(vp)) = Subject::parse(&self.shared.prefix, subject) else {
            return self.drop_garbage("enrol", subject, &"no subject of an enrolment");
        };
        let encoding = Encoding::of(kind, &message.payload).unwrap_or(Encoding::Json);
        let answer = match encoding::decode::<EnrolRequest>(kind, &message.payload) {
            Ok(request) => self.enrol(&vp, &request),
            Err(error) => {
                self.drop_garbage("enrol", subject, &error);
                EnrolAnswer::Refused { detail: error.to_string() }
            }
        };
        if let Some(reply) = &message.reply {
            self.send(reply.to_string(), None, encoding, &answer);
        }
    }

    fn enrol(&self, vp: &VpId, request: &EnrolRequest) -> EnrolAnswer {
        let refuse = |error: &dyn std::fmt::Display| EnrolAnswer::Refused { detail: error.to_string() };
        let public_key = match request.public_key.parse() {
            Ok(key) => key,
            Err(error) => return refuse(&error),
        };
        let now_s = unix_s(clock::wall());
        let user = UserRequest {
            name: request.instance.as_str(),
            vps: &[vp.as_str()],
            public_key: &public_key,
            issued_at_s: now_s,
            expires_at_s: Some(now_s + LIFETIME_S),
        };
        match self.issuer.user(&user) {
            Ok(jwt) => EnrolAnswer::Enrolled { jwt: jwt.to_string() },
            Err(error) => refuse(&error),
        }
    }
}
