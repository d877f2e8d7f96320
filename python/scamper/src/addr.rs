//! `ScamperAddr`.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use mmn_warts::Address;
use pyo3::exceptions::{PyKeyError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// An address: IPv4, IPv6, Ethernet or `FireWire`.
#[pyclass(module = "scamper", frozen, subclass)]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ScamperAddr(pub(crate) Address);

/// The address, when there is one.
pub(crate) fn addr(address: Option<&Address>) -> Option<ScamperAddr> {
    address.cloned().map(ScamperAddr)
}

impl ScamperAddr {
    fn parse(text: &str) -> Option<Address> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(address.into());
        }
        let octets: Option<Vec<u8>> = text
            .split(':')
            .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
            .collect();
        let octets = octets?;
        match octets.len() {
            6 => Some(Address::new(3, &octets)),
            8 => Some(Address::new(4, &octets)),
            _ => None,
        }
    }

    fn of_octets(octets: &[u8]) -> Option<Address> {
        let kind = match octets.len() {
            4 => 1,
            16 => 2,
            6 => 3,
            8 => 4,
            _ => return None,
        };
        Some(Address::new(kind, octets))
    }

    fn ip(&self) -> Option<IpAddr> {
        match self.0 {
            Address::V4(address) => Some(address.into()),
            Address::V6(address) => Some(address.into()),
            _ => None,
        }
    }

    /// The other address, of its own class or a text.
    fn other(other: &Bound<'_, PyAny>) -> Option<Address> {
        if let Ok(other) = other.cast::<Self>() {
            return Some(other.get().0.clone());
        }
        Self::parse(&other.extract::<Cow<'_, str>>().ok()?)
    }
}

#[pymethods]
impl ScamperAddr {
    #[new]
    fn new(addr: &Bound<'_, PyAny>) -> PyResult<Self> {
        let address = if let Ok(text) = addr.extract::<Cow<'_, str>>() {
            Self::parse(&text)
        } else if let Ok(octets) = addr.cast::<PyBytes>() {
            Self::of_octets(octets.as_bytes())
        } else {
            return Err(PyTypeError::new_err("an address is made of a string or bytes"));
        };
        address.map(Self).ok_or_else(|| PyValueError::new_err(format!("no address: {addr}")))
    }

    fn __getnewargs__(&self) -> (Cow<'_, [u8]>,) {
        (self.0.octets(),)
    }

    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        state.set_item("type", self.0.kind())?;
        state.set_item("addr", PyBytes::new(py, &self.0.octets()))?;
        Ok(state)
    }

    /// Says whether it is what this address was made of: an address does not change.
    fn __setstate__(&self, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let item = |name: &str| {
            state.get_item(name)?.ok_or_else(|| PyKeyError::new_err(format!("the state lacks {name:?}")))
        };
        let kind: u8 = item("type")?.extract()?;
        let octets: Vec<u8> = item("addr")?.extract()?;
        if Address::new(kind, &octets) == self.0 {
            Ok(())
        } else {
            Err(PyValueError::new_err("the state is another address's"))
        }
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("ScamperAddr('{}')", self.0)
    }

    fn __format__(&self, py: Python<'_>, spec: &str) -> PyResult<String> {
        pyo3::types::PyString::new(py, &self.0.to_string()).call_method1("__format__", (spec,))?.extract()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn __richcmp__(&self, py: Python<'_>, other: &Bound<'_, PyAny>, op: pyo3::basic::CompareOp) -> Py<PyAny> {
        let Some(other) = Self::other(other) else { return py.NotImplemented() };
        let order = self.0.kind().cmp(&other.kind()).then_with(|| self.0.cmp(&other));
        let holds: bool = op.matches(order);
        pyo3::types::PyBool::new(py, holds).to_owned().into_any().unbind()
    }

    /// Its octets, as they stand in a packet.
    #[getter]
    fn packed(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.octets()).filter(|octets| !octets.is_empty())
    }

    fn is_linklocal(&self) -> bool {
        match self.0 {
            Address::V4(address) => address.is_link_local(),
            Address::V6(address) => address.is_unicast_link_local(),
            _ => false,
        }
    }

    fn is_rfc1918(&self) -> bool {
        matches!(self.0, Address::V4(address) if address.is_private())
    }

    /// Whether it is a global unicast address of IPv6, of `2000::/3`.
    fn is_unicast(&self) -> bool {
        matches!(self.0, Address::V6(address) if address.octets()[0] & 0xe0 == 0x20)
    }

    fn is_6to4(&self) -> bool {
        matches!(self.0, Address::V6(address) if address.segments()[0] == 0x2002)
    }

    fn is_ipv4(&self) -> bool {
        matches!(self.0, Address::V4(_))
    }

    fn is_ipv6(&self) -> bool {
        matches!(self.0, Address::V6(_))
    }

    /// Whether it is of a range that is not of the public Internet (the IANA's special-purpose registries).
    pub(crate) fn is_reserved(&self) -> bool {
        self.ip().is_some_and(|address| match address {
            IpAddr::V4(address) => RESERVED_V4
                .iter()
                .any(|(prefix, len)| u32::from(address) >> (32 - len) == prefix >> (32 - len)),
            IpAddr::V6(address) => {
                let address = u128::from(address);
                address >> 125 != 1
                    || RESERVED_V6.iter().any(|(prefix, len)| address >> (128 - len) == prefix >> (128 - len))
            }
        })
    }
}

const RESERVED_V4: &[(u32, u32)] = &[
    (0x0000_0000, 8),
    (0x0a00_0000, 8),
    (0x6440_0000, 10),
    (0x7f00_0000, 8),
    (0xa9fe_0000, 16),
    (0xac10_0000, 12),
    (0xc000_0000, 24),
    (0xc000_0200, 24),
    (0xc058_6300, 24),
    (0xc0a8_0000, 16),
    (0xc612_0000, 15),
    (0xc633_6400, 24),
    (0xcb00_7100, 24),
    (0xe000_0000, 3),
];

/// Within `2000::/3`.
const RESERVED_V6: &[(u128, u32)] = &[
    (0x2001_0000 << 96, 32),
    (0x2001_0002 << 96, 48),
    (0x2001_0003 << 96, 32),
    (0x2001_0004_0112 << 80, 48),
    (0x2001_0010 << 96, 28),
    (0x2001_0020 << 96, 28),
    (0x2001_0db8 << 96, 32),
    (0x2002 << 112, 16),
];
