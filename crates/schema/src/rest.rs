//! The smaller bodies of the REST API, beside those of [`crate::api`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Coverage;
use crate::dispatch::Input;
use crate::id::{Tenant, VpId};
use crate::select::Selection;
use crate::time::Timestamp;

/// Inputs for an open measurement: the body of `POST /api/v1/measurements/{id}/inputs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoreInputs {
    /// The inputs.
    pub inputs: Vec<Input>,
}

/// What inputs became: the answer to [`MoreInputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputsTaken {
    /// The index of the first task that they became. They are numbered by input, then by vantage point.
    pub first: u64,
    /// How many tasks they became.
    pub tasks: u64,
}

/// A part of a measurement's inputs: the answer to `GET /api/v1/measurements/{id}/inputs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InputsPage {
    /// The inputs, in the order in which they were given.
    pub items: Vec<Input>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many inputs there are, over all pages.
    pub total: u64,
}

/// A selection to try: the body of `POST /api/v1/select`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectRequest {
    /// The selection, in any of its spellings.
    pub select: Selection,
    /// Whether the answer has `ids` instead of `vps`: a third of it, for who has the vantage points already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ids_only: bool,
}

/// What a selection means and matches: the answer to [`SelectRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Selected {
    /// The selection as text.
    pub select: String,
    /// The vantage points that it chooses now; empty where `ids_only` was asked for.
    pub vps: Vec<SelectedVp>,
    /// Their ids alone, where `ids_only` was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<VpId>,
    /// How the choice covers the network.
    pub coverage: Coverage,
}

/// A vantage point that a selection chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SelectedVp {
    /// Which one.
    pub vp: VpId,
    /// Its name.
    pub name: String,
    /// Whether it is one of a pool of which one is taken at dispatch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooled: bool,
    /// Whether it is part of a simulated Internet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// Who asks, as the anchor sees it: the answer to `GET /api/v1/whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// The holder of the token.
    pub subject: String,
    /// On whose behalf it asks.
    pub tenant: Tenant,
    /// From when on the token is no longer taken; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// What a browser signs in with: the body of `POST /api/v1/session`. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignIn {
    /// A bearer token of the API.
    Token(String),
    /// A code that signs in once, see [`SignInCode`].
    Code(String),
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignIn(…)")
    }
}

/// A code that signs a browser in once: the answer to `POST /api/v1/session/codes`. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignInCode {
    /// The code.
    pub code: String,
    /// From when on it is no longer taken, by the anchor's clock.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for SignInCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInCode").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Whether an anchor is alive, or ready: the answer to `GET /healthz` and `GET /readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Whether it is.
    pub ok: bool,
    /// What it is doing otherwise, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
