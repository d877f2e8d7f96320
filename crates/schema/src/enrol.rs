//! How a node gets credentials for a module: it keeps the module's seed, and an anchor signs its public key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::InstanceId;

/// A node asks for the user JWT of one of its modules, on `mmn.v1.enrol.<vp>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnrolRequest {
    /// The instance that the key is for. The JWT's rights are this instance's alone.
    pub instance: InstanceId,
    /// The module's public NKEY (`U…`).
    pub public_key: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnrolAnswer {
    /// The key is registered.
    Enrolled {
        /// The NATS user JWT.
        jwt: String,
    },
    /// The anchor declines.
    Refused {
        /// Why.
        detail: String,
    },
}
