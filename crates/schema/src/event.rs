//! What happened in the network, for those who watch it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{InstanceId, MeasurementId, VpId};
use crate::time::{self, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When, by the observer's clock.
    #[serde(with = "time::compact")]
    #[schemars(with = "Timestamp")]
    pub at: Timestamp,
    /// What: `module-joined`, `module-degraded`, `module-suspect`, `module-lost`, `module-healthy`, `module-left`,
    /// `breaker-open`, `breaker-half-open`, `breaker-closed`, `vp-joined`, `vp-lost`, `measurement-accepted`,
    /// `measurement-done`, `storage-full`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vp: Option<VpId>,
    /// Which instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Which measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<MeasurementId>,
    /// In words.
    pub text: String,
}
