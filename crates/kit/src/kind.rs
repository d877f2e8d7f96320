//! What a measurement says of itself, and the two styles of performing it.

use mmn_probe::conditions::{Conditions, Wish};
use mmn_probe::machine::Machine;
use mmn_probe::time::Nanos;
use mmn_schema::announce::{InputShape, SchemaVersion, SummaryField};
use mmn_schema::body::Body;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::code;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;

use crate::context::{Context, Family};
use crate::outcome::{Failure, Measured};
use crate::self_test::SelfTest;

/// A kind of measurement: its name and its types.
///
/// The doc comments of `Params` and its fields are the help texts of the command line and of the forms; their serde
/// defaults are the defaults everywhere. Durations are [`crate::Span`]s, so that requests carry their unit.
pub trait Kind: 'static {
    /// Its name, the field's own word in lower case: `ping`.
    const NAME: &'static str;
    /// The version of its parameters and results.
    const VERSION: SchemaVersion;
    /// What it measures, in a sentence.
    const DESCRIPTION: &'static str;
    /// What one input is.
    const INPUT: InputShape = InputShape::Target;
    /// The module that performs it by default: `packet` for all packet kinds.
    const MODULE: &'static str;

    /// How it is to be done. Absent fields take their defaults; unknown ones are refused.
    type Params: DeserializeOwned + Serialize + JsonSchema;
    /// What it found.
    type Body: DeserializeOwned + Serialize + JsonSchema;

    /// The numbers of its summaries.
    fn summary_fields() -> Vec<SummaryField>;

    /// Checks what types can't say: ranges, and parameters that exclude each other. The text names the parameter.
    fn check(params: &Self::Params) -> Result<(), String>;

    /// The most that one task with these parameters sends, IP headers included.
    fn cost(params: &Self::Params) -> Cost;

    /// What an instance does before it is given work of this kind. Absent: nothing but to read its default parameters.
    fn self_test() -> Option<SelfTest<Self::Params>> {
        None
    }
}

/// What one task costs at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Packets sent.
    pub packets: u64,
    /// Bytes sent, IP headers included.
    pub bytes: u64,
    /// How long it takes, in nanoseconds.
    pub duration_ns: u64,
}

/// A measurement that is a machine of `mmn-probe`: it runs on whatever drives packets and time.
#[expect(async_fn_in_trait, reason = "performed on a current-thread runtime; futures need not be Send")]
pub trait PacketKind: Kind {
    /// The machine.
    type Machine: Machine + Send + 'static;
    /// What machines for many targets share; `()` where that is nothing but the parameters.
    type Plan: 'static;

    /// The address family that the parameters ask for.
    fn family(params: &Self::Params) -> Family;

    /// The lane that the parameters ask for.
    fn lane(_: &Self::Params) -> Wish {
        Wish::Any
    }

    /// What one probe of it looks like, where all that a task does is to send one echo request: then very many targets can
    /// share a lane without a machine for each. Absent: it always needs its machine.
    fn bulk(_: &Self::Params) -> Option<BulkTask> {
        None
    }

    /// What came of a task that was performed in bulk, its body written already: there are very many of them, and most are
    /// alike.
    fn of_bulk(
        _: &Self::Params,
        _: &Self::Plan,
        _: &mmn_probe::bulk::Sample,
        _: &Conditions,
    ) -> Result<Measured<Body>, Failure> {
        Err(Failure::failed(code::INTERNAL, "this kind is not performed in bulk"))
    }

    /// What machines share, made once of the parameters.
    fn plan(params: &Self::Params) -> Result<Self::Plan, Failure>;

    /// A machine for one target. `key` is fresh random bytes: forged replies don't know them.
    fn machine(
        params: &Self::Params,
        plan: &Self::Plan,
        target: IpAddr,
        key: [u8; 16],
    ) -> Result<Self::Machine, Failure>;

    /// The target of a machine.
    fn target(machine: &Self::Machine) -> IpAddr;

    /// The source address of its probes, where the driver told.
    fn source(machine: &Self::Machine) -> Option<IpAddr>;

    /// What the machine found, once it is done. `input` is the target as it was asked for.
    fn measured(
        params: &Self::Params,
        input: &str,
        target: IpAddr,
        machine: &Self::Machine,
        conditions: &Conditions,
    ) -> Result<Measured<Self::Body>, Failure>;

    /// Whether [`Self::complete`] has something to add: then each task has a future of its own.
    fn completes(_: &Self::Params) -> bool {
        false
    }

    /// Adds to what the machine found what takes no probe. It has to be done by the task's deadline.
    async fn complete(_: &dyn Context, _: &Self::Params, _: &mut Self::Body) {}
}

/// A task that is one echo request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkTask {
    /// What the request looks like.
    pub shape: mmn_probe::bulk::Shape,
    /// How long to wait for the reply.
    pub timeout: Nanos,
    /// The address family that the target must have.
    pub family: Family,
    /// Whether it must go this way, or only may.
    pub wished: bool,
}

/// A measurement that holds a conversation: TCP, TLS, HTTP, DNS.
#[expect(async_fn_in_trait, reason = "performed on a current-thread runtime; futures need not be Send")]
pub trait SessionKind: Kind {
    /// Performs it on one input. The future is dropped when the task is cancelled or its time is over.
    async fn run(
        context: &dyn Context,
        params: &Self::Params,
        input: &Input,
    ) -> Result<Measured<Self::Body>, Failure>;
}
