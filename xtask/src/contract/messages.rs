//! The message types of the contract: one line each.

use anyhow::Result;
use data_encoding::HEXLOWER;
use mmn_schema::encoding::Encoding;
use mmn_schema::{announce, api, control, dispatch, enrol, event, problem, rest, select, status, stream};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A type that travels as a message of its own.
pub(super) struct Message {
    /// Its name, which is its schema's file name too.
    pub(super) name: &'static str,
    /// Under which heading it stands in the reference.
    pub(super) group: &'static str,
    /// Its schema.
    pub(super) schema: fn() -> Schema,
    /// Adds its schema to those of a generator.
    add: fn(&mut SchemaGenerator) -> Schema,
    /// Reads it from JSON, and writes it in both encodings: the JSON of its type, and CBOR in hexadecimal digits.
    pub(super) record: fn(&Value) -> Result<(Value, String)>,
}

macro_rules! messages {
    ($($group:literal { $($module:ident :: $name:ident,)* })*) => {
        /// All of them, in the order of the reference.
        pub(super) const MESSAGES: &[Message] = &[$($(
            Message {
                name: stringify!($name),
                group: $group,
                schema: schema::<$module::$name>,
                add: SchemaGenerator::subschema_for::<$module::$name>,
                record: record::<$module::$name>,
            },
        )*)*];
    };
}

messages! {
    "Coming and going" {
        announce::Announcement,
        announce::Discover,
        announce::Heartbeat,
        enrol::EnrolRequest,
        enrol::EnrolAnswer,
        event::Event,
    }
    "Work and results" {
        dispatch::ToInstance,
        dispatch::TaskBatch,
        dispatch::Receipt,
        dispatch::ResultBatch,
        dispatch::Synced,
    }
    "Orders" {
        control::Control,
        control::Controlled,
        control::NodeOrder,
        control::NodeAnswer,
    }
    "REST" {
        api::MeasurementRequest,
        api::Measurement,
        api::Plan,
        api::ResultRecord,
        api::TaskTrace,
        api::VpView,
        api::ModuleView,
        api::KindView,
        api::Rollup,
        api::Limits,
        rest::MoreInputs,
        rest::InputsTaken,
        rest::InputsPage,
        rest::SelectRequest,
        rest::Selected,
        rest::WhoAmI,
        rest::SignIn,
        rest::SignInCode,
        rest::Status,
        status::NetworkStatus,
        status::Availability,
        status::AvailabilityTable,
        select::Selection,
        problem::Problem,
    }
    "WebSocket" {
        stream::FromClient,
        stream::FromAnchor,
    }
}

/// Every type that the messages are made of, by name: the definitions of JSON Schemas that refer to each other.
pub(super) fn bundle() -> Map<String, Value> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    for message in MESSAGES {
        (message.add)(&mut generator);
    }
    generator.take_definitions(true)
}

fn schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

fn record<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(Value, String)> {
    let value: T = serde_json::from_value(value.clone())?;
    Ok((serde_json::to_value(&value)?, HEXLOWER.encode(&Encoding::Cbor.encode(&value)?)))
}
