//! Values of Python as JSON, and JSON as values of Python.

use data_encoding::BASE64URL_NOPAD;
use mmn_schema::time::Timestamp;
use pyo3::IntoPyObjectExt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyDateTime, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyMapping, PySet, PyString,
    PyTuple, PyType,
};
use serde_json::{Map, Number, Value};

/// How deep a result may be nested.
const MAX_DEPTH: usize = 32;

/// Why a value can't be written: where it stands, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Unwritable {
    path: Vec<String>,
    why: String,
}

impl std::fmt::Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for step in self.path.iter().rev() {
            write!(f, "/{step}")?;
        }
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.why)
    }
}

impl Unwritable {
    fn below(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what errors are mapped by")]
fn unwritable(why: impl ToString) -> Unwritable {
    Unwritable { path: Vec::new(), why: why.to_string() }
}

/// The JSON value of what a function gave. What a data class has as `None` was not measured, and is absent.
pub(super) fn of_python(value: &Bound<'_, PyAny>) -> Result<Value, Unwritable> {
    written(value, 0)
}

fn written(value: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Unwritable> {
    if depth > MAX_DEPTH {
        return Err(unwritable(format_args!("nested more than {MAX_DEPTH} deep")));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(text) = value.cast_exact::<PyString>() {
        return Ok(Value::String(text.to_cow().map_err(unwritable)?.into_owned()));
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if value.is_exact_instance_of::<PyInt>() {
        return integer(value);
    }
    if let Ok(real) = value.cast::<PyFloat>() {
        let real = real.value();
        let number = Number::from_f64(real);
        return number
            .map(Value::Number)
            .ok_or_else(|| unwritable(format_args!("{real} is no number of JSON")));
    }
    if let Ok(entries) = value.cast::<PyDict>() {
        return object(entries.iter().map(Ok), depth, false);
    }
    if let Ok(items) = value.cast::<PyList>() {
        return array(items.iter().map(Ok), depth);
    }
    other(value, depth)
}

fn other(value: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Unwritable> {
    let py = value.py();
    let kind = value.get_type();
    if value.hasattr(intern!(py, "__dataclass_fields__")).unwrap_or(false) && value.cast::<PyType>().is_err()
    {
        return data_class(value, depth);
    }
    // An enumeration before the texts and integers that it may be besides.
    if kind.hasattr(intern!(py, "__members__")).unwrap_or(false) {
        return written(&value.getattr(intern!(py, "value")).map_err(unwritable)?, depth + 1);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::String(text.to_cow().map_err(unwritable)?.into_owned()));
    }
    if value.is_instance_of::<PyInt>() {
        return integer(value);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::String(BASE64URL_NOPAD.encode(bytes.as_bytes())));
    }
    if value.cast::<PyTuple>().is_ok() || value.cast::<PySet>().is_ok() || value.cast::<PyFrozenSet>().is_ok()
    {
        return array(value.try_iter().map_err(unwritable)?, depth);
    }
    if value.cast::<PyDateTime>().is_ok() {
        return instant(value);
    }
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let items = mapping.items().map_err(unwritable)?;
        let pairs = items.iter().map(|pair| pair.extract().map_err(unwritable));
        return object(pairs, depth, false);
    }
    if kind.module().is_ok_and(|module| module == "ipaddress") {
        return Ok(Value::String(value.str().and_then(|text| text.extract()).map_err(unwritable)?));
    }
    let name = kind.fully_qualified_name().map(|name| name.to_string()).unwrap_or_default();
    Err(unwritable(format_args!("a {name} can't be written as JSON")))
}

fn data_class(value: &Bound<'_, PyAny>, depth: usize) -> Result<Value, Unwritable> {
    let fields = value.getattr(intern!(value.py(), "__dataclass_fields__")).map_err(unwritable)?;
    let fields = fields.cast::<PyDict>().map_err(unwritable)?;
    let pairs = fields.keys().into_iter().map(|name| {
        let name_text = name.cast::<PyString>().map_err(unwritable)?.clone();
        let field = value.getattr(name_text).map_err(unwritable)?;
        Ok((name, field))
    });
    object(pairs, depth, true)
}

fn object<'py>(
    pairs: impl Iterator<Item = Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Unwritable>>,
    depth: usize,
    leave_out_none: bool,
) -> Result<Value, Unwritable> {
    let mut map = Map::new();
    for pair in pairs {
        let (name, value) = pair?;
        let Ok(name) = name.cast::<PyString>() else {
            return Err(unwritable("the names of an object are texts"));
        };
        if leave_out_none && value.is_none() {
            continue;
        }
        let name = name.to_cow().map_err(unwritable)?.into_owned();
        let value = written(&value, depth + 1).map_err(|error| error.below(name.clone()))?;
        map.insert(name, value);
    }
    Ok(Value::Object(map))
}

fn array<'py>(
    items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
    depth: usize,
) -> Result<Value, Unwritable> {
    let items = items.enumerate().map(|(at, item)| {
        written(&item.map_err(unwritable)?, depth + 1).map_err(|error| error.below(at.to_string()))
    });
    items.collect::<Result<_, _>>().map(Value::Array)
}

fn integer(value: &Bound<'_, PyAny>) -> Result<Value, Unwritable> {
    if let Ok(integer) = value.extract::<i64>() {
        return Ok(integer.into());
    }
    let positive = value.extract::<u64>();
    positive.map(Value::from).map_err(|_| unwritable("an integer of more than 64 bits"))
}

fn instant(value: &Bound<'_, PyAny>) -> Result<Value, Unwritable> {
    let py = value.py();
    if value.getattr(intern!(py, "tzinfo")).is_ok_and(|zone| zone.is_none()) {
        return Err(unwritable("an instant without a time zone"));
    }
    let text = value.call_method0(intern!(py, "isoformat")).and_then(|text| text.extract::<String>());
    let instant: Timestamp = text.map_err(unwritable)?.parse().map_err(unwritable)?;
    Ok(Value::String(instant.to_string()))
}

/// A JSON value as one of Python.
pub(super) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    match value {
        Value::Null => Ok(py.None().into_bound(py)),
        Value::Bool(flag) => flag.into_bound_py_any(py),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => integer.into_bound_py_any(py),
            (None, Some(integer)) => integer.into_bound_py_any(py),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into_bound_py_any(py),
        },
        Value::String(text) => text.into_bound_py_any(py),
        Value::Array(items) => {
            let items = items.iter().map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        Value::Object(entries) => {
            let dict = PyDict::new(py);
            for (name, value) in entries {
                dict.set_item(name, to_python(py, value)?)?;
            }
            Ok(dict.into_any())
        }
    }
}
