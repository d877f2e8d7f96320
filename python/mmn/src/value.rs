//! Values of the contract as Python's, and Python's as JSON.

use std::fmt;

use cbor4ii::core::utils::SliceReader;
use pyo3::IntoPyObjectExt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};
use serde_json::{Map, Value as Json};

use crate::errors;

/// How deeply a caller's values may be nested.
const MAX_DEPTH: usize = 64;

/// What CBOR holds: of whatever kind, hence of any form.
pub(crate) fn of_cbor(py: Python<'_>, bytes: &[u8]) -> PyResult<Py<PyAny>> {
    let mut reader = cbor4ii::serde::Deserializer::new(SliceReader::new(bytes));
    Value { py, depth: MAX_DEPTH }
        .deserialize(&mut reader)
        .map_err(|error| errors::broken(&format!("a result can't be read: {error}")))
}

/// The next value. What Python says of it is told as it is.
#[derive(Clone, Copy)]
struct Value<'py> {
    py: Python<'py>,
    depth: usize,
}

impl Value<'_> {
    fn made<E: de::Error>(self, value: impl for<'p> IntoPyObjectExt<'p>) -> Result<Py<PyAny>, E> {
        value.into_py_any(self.py).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Py<PyAny>;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Py<PyAny>, D::Error> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| D::Error::custom("nested too deeply"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Py<PyAny>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that Python has a word for")
    }

    fn visit_none<E: de::Error>(self) -> Result<Py<PyAny>, E> {
        Ok(self.py.None())
    }

    fn visit_unit<E: de::Error>(self) -> Result<Py<PyAny>, E> {
        Ok(self.py.None())
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Py<PyAny>, E> {
        self.made(flag)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Py<PyAny>, E> {
        self.made(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Py<PyAny>, E> {
        self.made(number)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Py<PyAny>, E> {
        self.made(number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Py<PyAny>, E> {
        Ok(PyString::new(self.py, text).into_any().unbind())
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Py<PyAny>, E> {
        Ok(PyBytes::new(self.py, bytes).into_any().unbind())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Py<PyAny>, A::Error> {
        let list = PyList::empty(self.py);
        while let Some(item) = items.next_element_seed(self)? {
            list.append(item).map_err(A::Error::custom)?;
        }
        Ok(list.into_any().unbind())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Py<PyAny>, A::Error> {
        let dict = PyDict::new(self.py);
        while let Some(key) = entries.next_key_seed(Key(self.py))? {
            let value = entries.next_value_seed(self)?;
            dict.set_item(key, value).map_err(A::Error::custom)?;
        }
        Ok(dict.into_any().unbind())
    }
}

/// The key of an entry: a text, of which there are few.
struct Key<'py>(Python<'py>);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Py<PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Py<PyAny>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Py<PyAny>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text or an integer")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Py<PyAny>, E> {
        Ok(PyString::intern(self.0, text).into_any().unbind())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Py<PyAny>, E> {
        number.into_py_any(self.0).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Py<PyAny>, E> {
        number.into_py_any(self.0).map_err(E::custom)
    }
}

/// What JSON holds.
pub(crate) fn of_json(py: Python<'_>, value: &Json) -> PyResult<Py<PyAny>> {
    match value {
        Json::Null => Ok(py.None()),
        Json::Bool(flag) => flag.into_py_any(py),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => integer.into_py_any(py),
            (None, Some(integer)) => integer.into_py_any(py),
            (None, None) => number.as_f64().into_py_any(py),
        },
        Json::String(text) => text.into_py_any(py),
        Json::Array(values) => {
            let values = values.iter().map(|value| of_json(py, value)).collect::<PyResult<Vec<_>>>()?;
            values.into_py_any(py)
        }
        Json::Object(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(key, of_json(py, value)?)?;
            }
            dict.into_py_any(py)
        }
    }
}

/// A caller's value as JSON. Bytes have no place in a request.
pub(crate) fn to_json(value: &Bound<'_, PyAny>) -> PyResult<Json> {
    nested(value, MAX_DEPTH)
}

fn nested(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Json> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(errors::usage(value.py(), "a value of the request is nested too deeply"));
    };
    if value.is_none() {
        return Ok(Json::Null);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Json::String(text.to_cow()?.into_owned()));
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Json::Bool(value.extract()?));
    }
    if value.is_instance_of::<PyInt>() {
        let signed = value.extract::<i64>().map(Json::from);
        return signed.or_else(|_| value.extract::<u64>().map(Json::from));
    }
    if value.is_instance_of::<PyFloat>() {
        let number = serde_json::Number::from_f64(value.extract()?);
        return number
            .map(Json::Number)
            .ok_or_else(|| errors::usage(value.py(), "a number of the request is not finite"));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let items = value.try_iter()?.map(|item| nested(&item?, depth));
        return Ok(Json::Array(items.collect::<PyResult<_>>()?));
    }
    if is_mapping(value)? {
        let mut entries = Map::new();
        for entry in value.call_method0(intern!(value.py(), "items"))?.try_iter()? {
            let (key, value): (String, Bound<'_, PyAny>) = entry?.extract()?;
            entries.insert(key, nested(&value, depth)?);
        }
        return Ok(Json::Object(entries));
    }
    let name = value.get_type().name()?.to_string();
    Err(errors::usage(value.py(), &format!("a request can't hold a value of the type {name}")))
}

/// Not a cast: that takes a `KeyboardInterrupt` amid its question for a no, and loses it.
fn is_mapping(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_instance_of::<PyDict>() {
        return Ok(true);
    }
    value.is_instance(&value.py().import(intern!(value.py(), "collections.abc"))?.getattr("Mapping")?)
}
