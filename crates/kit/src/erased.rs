//! Kinds behind one object-safe face, so that a module process holds any of them in one list.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use mmn_probe::conditions::{Conditions, Interface, Wish};
use mmn_schema::announce::KindInfo;
use mmn_schema::body::Body;
use mmn_schema::dispatch::Input;
use mmn_schema::outcome::code;
use serde_json::{Map, Value};

use crate::context::{Context, Driven, Family, Performed};
use crate::kind::{BulkTask, Cost, Kind, PacketKind, SessionKind};
use crate::outcome::{Failure, Measured};
use crate::self_test::{SelfTest, Trial};

/// A registered kind.
pub trait Registered: Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The module that performs it by default.
    fn module(&self) -> &'static str;

    /// What it says of itself, with its schemas. `unavailable` is absent here: that is the instance's to know.
    fn info(&self) -> KindInfo;

    /// Reads and checks parameters, once for all tasks that share them.
    fn prepare(&self, params: &Body) -> Result<Box<dyn Measurement>, Failure>;

    /// Its self-test; absent where it has none.
    fn self_test(&self) -> Option<Trial> {
        None
    }

    /// How many tasks of it an instance performs at a time unless its manifest says otherwise; absent where that is as of
    /// others of its style.
    fn concurrency(&self) -> Option<u32> {
        None
    }
}

impl<K: Registered + ?Sized> Registered for &K {
    fn name(&self) -> &'static str {
        (**self).name()
    }
    fn module(&self) -> &'static str {
        (**self).module()
    }
    fn info(&self) -> KindInfo {
        (**self).info()
    }
    fn prepare(&self, params: &Body) -> Result<Box<dyn Measurement>, Failure> {
        (**self).prepare(params)
    }
    fn self_test(&self) -> Option<Trial> {
        (**self).self_test()
    }
    fn concurrency(&self) -> Option<u32> {
        (**self).concurrency()
    }
}

/// Says which interface of this host has an address: see [`Context::interface_of`].
pub type InterfaceOf<'a> = dyn Fn(IpAddr) -> Option<Interface> + 'a;

/// A kind with its parameters: ready to be performed on inputs.
pub trait Measurement {
    /// What one task costs at most; absent where the kind can't say.
    fn cost(&self) -> Option<Cost>;

    /// What one probe of it looks like, where a task is no more than that and may go in bulk.
    fn bulk(&self) -> Option<BulkTask> {
        None
    }

    /// What came of a task that was performed in bulk.
    fn of_bulk(&self, _: &mmn_probe::bulk::Sample, _: &Conditions) -> Result<Measured<Body>, Failure> {
        Err(Failure::failed(code::INTERNAL, "this kind is not performed in bulk"))
    }

    /// The address family of its targets, where all that a task does is to drive one machine: then very many tasks whose
    /// targets are addresses need no future each, by [`Self::machine`] and [`Self::of_machine`].
    fn driven(&self) -> Option<Family> {
        None
    }

    /// The machine for a target, and the lane that it asks for. `key` is fresh random bytes.
    fn machine(&self, _: IpAddr, _: [u8; 16]) -> Result<(Box<dyn Driven>, Wish), Failure> {
        Err(Failure::failed(code::INTERNAL, "this kind has no machine"))
    }

    /// What came of a task whose machine was driven to its end. Its input was the target as addresses are written.
    fn of_machine(&self, _: Performed, _: &InterfaceOf<'_>) -> Result<Measured<Body>, Failure> {
        Err(Failure::failed(code::INTERNAL, "this kind has no machine"))
    }

    /// Performs it on one input.
    fn run<'a>(
        &'a self,
        context: &'a dyn Context,
        input: &'a Input,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>>;
}

/// Registers a packet kind.
pub const fn packet<K: PacketKind>() -> impl Registered {
    Packet::<K>(PhantomData)
}

/// Registers a session kind.
pub const fn session<K: SessionKind>() -> impl Registered {
    Session::<K>(PhantomData)
}

struct Packet<K>(PhantomData<fn() -> K>);
struct Session<K>(PhantomData<fn() -> K>);

impl<K: PacketKind> Registered for Packet<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn module(&self) -> &'static str {
        K::MODULE
    }
    fn info(&self) -> KindInfo {
        info::<K>()
    }
    fn prepare(&self, params: &Body) -> Result<Box<dyn Measurement>, Failure> {
        Ok(Box::new(PreparedPacket::<K>::new(read::<K>(params)?)?))
    }
    fn self_test(&self) -> Option<Trial> {
        trial::<K>(|params| Ok(Box::new(PreparedPacket::<K>::new(params)?)))
    }
}

impl<K: SessionKind> Registered for Session<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }
    fn module(&self) -> &'static str {
        K::MODULE
    }
    fn info(&self) -> KindInfo {
        info::<K>()
    }
    fn prepare(&self, params: &Body) -> Result<Box<dyn Measurement>, Failure> {
        Ok(Box::new(PreparedSession::<K>(read::<K>(params)?)))
    }
    fn self_test(&self) -> Option<Trial> {
        trial::<K>(|params| Ok(Box::new(PreparedSession::<K>(params))))
    }
}

impl<K> fmt::Debug for Packet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packet")
    }
}

impl<K> fmt::Debug for Session<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

struct PreparedPacket<K: PacketKind> {
    params: K::Params,
    plan: K::Plan,
}

struct PreparedSession<K: Kind>(K::Params);

impl<K: PacketKind> PreparedPacket<K> {
    fn new(params: K::Params) -> Result<Self, Failure> {
        let plan = K::plan(&params)?;
        Ok(Self { params, plan })
    }

    fn measured(
        &self,
        input: Option<&str>,
        Performed { machine, mut conditions }: Performed,
        interface_of: &InterfaceOf<'_>,
    ) -> Result<Measured<K::Body>, Failure> {
        let machine: Box<dyn Any> = machine;
        let machine = machine
            .downcast::<K::Machine>()
            .map_err(|_| Failure::failed(code::INTERNAL, "the driver gave another machine back"))?;
        conditions.interface = K::source(&machine).and_then(interface_of);
        let target = K::target(&machine);
        let input = input.map_or_else(|| target.to_string().into(), Cow::Borrowed);
        K::measured(&self.params, &input, target, &machine, &conditions)
    }
}

impl<K: PacketKind> Measurement for PreparedPacket<K> {
    fn cost(&self) -> Option<Cost> {
        Some(K::cost(&self.params))
    }

    fn bulk(&self) -> Option<BulkTask> {
        K::bulk(&self.params)
    }

    fn of_bulk(
        &self,
        sample: &mmn_probe::bulk::Sample,
        conditions: &Conditions,
    ) -> Result<Measured<Body>, Failure> {
        K::of_bulk(&self.params, &self.plan, sample, conditions)
    }

    fn driven(&self) -> Option<Family> {
        (!K::completes(&self.params)).then(|| K::family(&self.params))
    }

    fn machine(&self, target: IpAddr, key: [u8; 16]) -> Result<(Box<dyn Driven>, Wish), Failure> {
        let machine = K::machine(&self.params, &self.plan, target, key)?;
        Ok((Box::new(machine), K::lane(&self.params)))
    }

    fn of_machine(
        &self,
        performed: Performed,
        interface_of: &InterfaceOf<'_>,
    ) -> Result<Measured<Body>, Failure> {
        erase(self.measured(None, performed, interface_of)?)
    }

    fn run<'a>(
        &'a self,
        context: &'a dyn Context,
        input: &'a Input,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move {
            let Input::Target(text) = input else {
                return Err(Failure::refused(code::PARAMETERS, "the input must be one target"));
            };
            let resolution = context.resolve(text, K::family(&self.params)).await?;
            let Some(&target) = resolution.addresses.first() else {
                return Err(Failure::failed(code::UNRESOLVABLE, format_args!("{text} has no address")));
            };
            let mut key = [0; 16];
            context.random(&mut key);
            let (machine, wish) = self.machine(target, key)?;
            let performed = context.drive(target, machine, wish).await?;
            let mut measured =
                self.measured(Some(text), performed, &|source| context.interface_of(source))?;
            if K::completes(&self.params) {
                K::complete(context, &self.params, &mut measured.body).await;
            }
            erase(measured)
        }
        .boxed_local()
    }
}

impl<K: SessionKind> Measurement for PreparedSession<K> {
    fn cost(&self) -> Option<Cost> {
        Some(K::cost(&self.0))
    }

    fn run<'a>(
        &'a self,
        context: &'a dyn Context,
        input: &'a Input,
    ) -> LocalBoxFuture<'a, Result<Measured<Body>, Failure>> {
        async move { erase(K::run(context, &self.0, input).await?) }.boxed_local()
    }
}

type Prepared = Result<Box<dyn Measurement>, Failure>;

fn trial<K: Kind>(prepared: fn(K::Params) -> Prepared) -> Option<Trial> {
    let SelfTest { far_end, task } = K::self_test()?;
    let task = move |address| {
        let (params, input) = task(address);
        K::check(&params).map_err(|error| Failure::refused(code::PARAMETERS, error))?;
        Ok((prepared(params)?, input))
    };
    Some(Trial { far_end, task: Box::new(task) })
}

fn erase<B: serde::Serialize>(measured: Measured<B>) -> Result<Measured<Body>, Failure> {
    let body = Body::of(&measured.body).map_err(|error| Failure::failed(code::INTERNAL, error))?;
    Ok(Measured { answered: measured.answered, summary: measured.summary, body })
}

/// Null, which a client sends that gives no parameters, means all defaults.
fn read<K: Kind>(params: &Body) -> Result<K::Params, Failure> {
    let refuse = |error: &dyn fmt::Display| Failure::refused(code::PARAMETERS, error);
    let params = if *params == Body::null() {
        serde_json::from_value(Value::Object(Map::new())).map_err(|error| refuse(&error))?
    } else {
        params.decode::<K::Params>().map_err(|error| refuse(&error))?
    };
    K::check(&params).map_err(|error| refuse(&error))?;
    Ok(params)
}

/// What a kind says of itself, with its schemas: for whoever knows its types without performing it.
///
/// # Panics
///
/// When its name is no name of a kind.
pub fn info<K: Kind>() -> KindInfo {
    #[expect(clippy::expect_used, reason = "a constant of the program, covered by the registry's test")]
    let name = K::NAME.parse().expect("a kind's name is a kind");
    KindInfo {
        name,
        version: K::VERSION,
        description: K::DESCRIPTION.to_owned(),
        input: K::INPUT,
        params: schemars::schema_for!(K::Params).into(),
        result: schemars::schema_for!(K::Body).into(),
        summary: K::summary_fields(),
        unavailable: None,
    }
}
