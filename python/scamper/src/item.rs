//! What every result has: its record, the list and the cycle that it belongs to, and how values become Python's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use mmn_warts::records::list::{Cycle, List};
use mmn_warts::values::{Data, IcmpType, Micros, Text, Time};
use mmn_warts::{Record, Tables, json};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

/// A record and what it refers to.
pub(crate) struct Item<T> {
    pub(crate) body: Box<T>,
    pub(crate) of: Membership,
}

/// The list and the cycle of a record.
#[derive(Clone, Default)]
pub(crate) struct Membership {
    pub(crate) list: Option<Arc<List>>,
    pub(crate) pass: Option<Arc<Pass>>,
}

/// A cycle. Its end is known once it has been read, to those who hold it already too.
pub(crate) struct Pass {
    pub(crate) cycle: Cycle,
    pub(crate) list: Option<Arc<List>>,
    stop: AtomicU32,
}

impl Pass {
    pub(crate) fn new(cycle: Cycle, list: Option<Arc<List>>) -> Self {
        let stop = AtomicU32::new(cycle.about.stop.unwrap_or(0));
        Self { cycle, list, stop }
    }

    /// When it ended, in seconds since 1970.
    pub(crate) fn stop(&self) -> Option<u32> {
        Some(self.stop.load(Ordering::Relaxed)).filter(|stop| *stop != 0)
    }

    pub(crate) fn ended(&self, stop: u32) {
        self.stop.store(stop, Ordering::Relaxed);
    }

    /// The cycle, with its end.
    pub(crate) fn known(&self) -> Cycle {
        let mut cycle = self.cycle.clone();
        cycle.about.stop = self.stop();
        cycle
    }
}

impl Membership {
    /// What JSON says of them.
    pub(crate) fn tables(&self) -> Tables {
        let mut tables = Tables::default();
        if let Some(list) = &self.list {
            // A list and a cycle can't be out of order.
            let _ = tables.learn(&Record::List((**list).clone()));
        }
        if let Some(pass) = &self.pass {
            let _ = tables.learn(&Record::CycleDef(pass.known()));
        }
        tables
    }
}

impl<T: Clone + Into<Record>> Item<T> {
    /// The record by itself.
    pub(crate) fn record(&self) -> Record {
        (*self.body).clone().into()
    }

    /// A line of JSON, as scamper writes it.
    pub(crate) fn json(&self) -> Option<String> {
        json::value(&self.record(), &self.of.tables()).map(|value| value.to_string())
    }
}

/// A result: a class over a record, what all of them have, properties that are a field of the record and no more, and its own
/// methods.
macro_rules! result {
    (
        $(#[doc = $doc:literal])+
        $class:ident($body:ty) {
            numbers { $($(#[doc = $number_doc:literal])* $number:ident: $type:ident = $field:ident or $absent:literal;)* }
            addresses { $($(#[doc = $address_doc:literal])* $address:ident = $of:ident;)* }
            $($methods:tt)*
        }
    ) => {
        $(#[doc = $doc])+
        #[pyclass(frozen, module = "scamper")]
        pub(crate) struct $class {
            pub(crate) item: Arc<crate::item::Item<$body>>,
            pub(crate) instance: Option<Py<PyAny>>,
        }

        #[pymethods]
        impl $class {
            /// The instance that measured.
            #[getter]
            fn inst(&self, py: Python<'_>) -> Option<Py<PyAny>> {
                self.instance.as_ref().map(|instance| instance.clone_ref(py))
            }
            /// The list that it belongs to.
            #[getter]
            fn list(&self) -> Option<crate::list::ScamperList> {
                self.item.of.list.clone().map(crate::list::ScamperList)
            }
            /// The cycle that it belongs to.
            #[getter]
            fn cycle(&self) -> Option<crate::list::ScamperCycle> {
                self.item.of.pass.clone().map(crate::list::ScamperCycle::of)
            }
            /// A number that its user gave it.
            #[getter]
            fn userid(&self) -> u32 {
                self.item.body.userid.unwrap_or(0)
            }
            /// Why it failed.
            #[getter]
            fn errmsg(&self) -> Option<String> {
                crate::item::text(self.item.body.errmsg.as_ref())
            }
            /// When it began.
            #[getter]
            fn start(&self) -> Option<std::time::SystemTime> {
                crate::item::time(self.item.body.start)
            }
            $(
                $(#[doc = $number_doc])*
                #[getter]
                fn $number(&self) -> $type {
                    self.item.body.$field.unwrap_or($absent)
                }
            )*
            $(
                $(#[doc = $address_doc])*
                #[getter]
                fn $address(&self) -> Option<crate::addr::ScamperAddr> {
                    crate::addr::addr(self.item.body.$of.as_ref())
                }
            )*
            /// A line of JSON.
            fn to_json(&self) -> Option<String> {
                self.item.json()
            }
            $($methods)*
        }
    };
}

pub(crate) use result;

/// An iterator that makes what comes next when it is asked for.
#[pyclass(module = "scamper", name = "_Iterator")]
pub(crate) struct Items {
    at: usize,
    len: usize,
    make: Make,
}

type Make = Box<dyn Fn(Python<'_>, usize) -> PyResult<Py<PyAny>> + Send + Sync>;

#[pymethods]
impl Items {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.at >= self.len {
            return Ok(None);
        }
        self.at += 1;
        (self.make)(py, self.at - 1).map(Some)
    }

    fn __length_hint__(&self) -> usize {
        self.len - self.at
    }
}

/// An iterator over so many items.
pub(crate) fn iter<T>(len: usize, make: impl Fn(usize) -> T + Send + Sync + 'static) -> Items
where
    T: for<'py> IntoPyObjectExt<'py>,
{
    Items { at: 0, len, make: Box::new(move |py, at| make(at).into_py_any(py)) }
}

/// An iterator over items that are there already.
pub(crate) fn iter_of<T>(items: Vec<T>) -> Items
where
    T: for<'py> IntoPyObjectExt<'py> + Clone + Send + Sync + 'static,
{
    iter(items.len(), move |at| items.get(at).cloned())
}

/// A text; what is no UTF-8 is replaced.
pub(crate) fn text(text: Option<&Text>) -> Option<String> {
    text.map(|text| text.to_str().into_owned())
}

/// An instant.
pub(crate) fn time(time: Option<Time>) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(span(time?))
}

/// An instant that is zero when it is not known.
pub(crate) fn known(instant: Option<Time>) -> Option<SystemTime> {
    time(instant.filter(|instant| *instant != Time::default()))
}

/// Seconds and microseconds as a duration.
pub(crate) fn span(time: Time) -> Duration {
    Duration::from_secs(time.sec.into()) + Duration::from_micros(time.usec.into())
}

/// A duration; absent is zero.
pub(crate) fn micros(micros: Option<Micros>) -> Duration {
    Duration::from_micros(micros.map_or(0, |micros| micros.0).into())
}

/// Octets; none is `None`.
pub(crate) fn octets(data: Option<&Data>) -> Option<std::borrow::Cow<'_, [u8]>> {
    data.map(|data| data.0.as_slice()).filter(|octets| !octets.is_empty()).map(std::borrow::Cow::Borrowed)
}

/// What an ICMP message is, of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icmp {
    EchoReply,
    Unreachable,
    PortUnreachable,
    TooBig,
    TimeExceeded,
    TimestampReply,
    Other,
}

impl Icmp {
    /// By type and code (RFC 792, RFC 4443).
    pub(crate) fn of(v6: bool, icmp: Option<IcmpType>) -> Self {
        let icmp = icmp.unwrap_or_default();
        match (v6, icmp.kind, icmp.code) {
            (false, 0, _) | (true, 129, _) => Self::EchoReply,
            (false, 3, 3) | (true, 1, 4) => Self::PortUnreachable,
            (false, 3, 4) | (true, 2, _) => Self::TooBig,
            (false, 3, _) | (true, 1, _) => Self::Unreachable,
            (false, 11, _) | (true, 3, _) => Self::TimeExceeded,
            (false, 14, _) => Self::TimestampReply,
            _ => Self::Other,
        }
    }

    /// Whether it is of the type destination unreachable.
    pub(crate) fn is_unreachable(self, v6: bool) -> bool {
        matches!(self, Self::Unreachable | Self::PortUnreachable) || (!v6 && self == Self::TooBig)
    }

    /// Whether it quotes what it answers.
    pub(crate) fn quotes(self) -> bool {
        matches!(self, Self::Unreachable | Self::PortUnreachable | Self::TooBig | Self::TimeExceeded)
    }
}
