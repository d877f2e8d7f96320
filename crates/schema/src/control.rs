//! Orders: to one instance on its `ctl` subject, and to a node on its `node` subject. Each is a request, and each is
//! answered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::dispatch::Input;
use crate::id::{Epoch, InstanceId, KindName, MeasurementId};
use crate::outcome::Reason;

/// An order to one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Control {
    /// Stop these tasks: what is queued ends as cancelled, what runs is stopped as soon as it can be.
    Cancel {
        /// The asker's term.
        epoch: Epoch,
        /// Of which measurement.
        measurement: MeasurementId,
        /// Which tasks; absent: all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        indices: Option<Vec<u64>>,
    },
    /// Take nothing new, finish what is held, then stop.
    Drain,
    /// What would these tasks cost, and which would be refused? Nothing is sent to the network.
    Quote {
        /// Of which kind.
        kind: KindName,
        /// With which parameters.
        #[serde(default)]
        params: Body,
        /// The inputs, at most [`MAX_QUOTE_INPUTS`].
        inputs: Vec<Input>,
    },
}

/// The most inputs of one [`Control::Quote`].
pub const MAX_QUOTE_INPUTS: usize = 1000;

/// The answer to a [`Control`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Controlled {
    /// Done, or under way.
    Done {
        /// How many tasks it concerned.
        #[serde(default)]
        tasks: u64,
    },
    /// What the tasks of a quote would cost.
    Quoted(Quote),
    /// It can't be done.
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// What tasks would cost at one vantage point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quote {
    /// The most packets that it sends, over all inputs that are not refused.
    pub packets: u64,
    /// The most bytes that it sends, IP headers included.
    pub bytes: u64,
    /// The longest time that one task takes, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ns: Option<u64>,
    /// Inputs that would be refused: position and reason.
    #[serde(default)]
    pub refused: Vec<QuoteRefusal>,
}

/// An input that would be refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuoteRefusal {
    /// The input's position in the quote.
    pub input: u64,
    /// Why.
    pub reason: Reason,
}

/// An order to a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeOrder {
    /// Which modules are there?
    List,
    /// Start a module: the text of its manifest, kept as `modules.d/NAME.toml`.
    Add {
        /// Its name.
        name: String,
        /// Its manifest (TOML).
        manifest: String,
    },
    /// Drain a module, stop it, and remove its manifest.
    Remove {
        /// Its name.
        name: String,
    },
    /// Drain one instance, or all of a module, and leave it stopped.
    Drain {
        /// Its name.
        name: String,
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
    },
    /// Start it again, after a drain; also after a drain that left it stopped.
    Restart {
        /// Its name.
        name: String,
        /// Only this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
    },
}

/// The answer to a [`NodeOrder`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeAnswer {
    /// Done, or under way; the modules as they are now.
    Done {
        /// The modules.
        modules: Vec<crate::announce::ModuleStatus>,
    },
    /// It can't be done.
    Refused {
        /// Why.
        reason: Reason,
    },
}
