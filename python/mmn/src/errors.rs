//! Errors as the exceptions of `mmn._errors`, which Python defines.

use std::error::Error as _;

use mmn_client::ClientError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::value;

/// What to do where a token is wanted.
const TOKEN: &str = "`mmn creds new client NAME` on the anchor's machine makes a token: give it as connect(url, token=…), or its \
                     file's name in MMN_TOKEN_FILE; the token of this machine's own `mmn up` is shown to that one alone";

/// An exception of `mmn._errors`, made of `arguments`.
pub(crate) fn make<'py>(
    py: Python<'py>,
    class: &str,
    arguments: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
) -> PyErr {
    let made = (|| py.import("mmn._errors")?.getattr(class)?.call1(arguments.into_pyobject(py)?))();
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A connection is used in a child of the process that made it.
pub(crate) fn forked(py: Python<'_>, parent: u32) -> PyErr {
    let text = format!(
        "this connection belongs to process {parent}, of which this is a child: call mmn.connect() again here"
    );
    make(py, "ForkError", (text,))
}

/// What a caller gave is wrong.
pub(crate) fn usage(py: Python<'_>, text: &str) -> PyErr {
    make(py, "UsageError", (text,))
}

/// Something broke that should not.
pub(crate) fn broken(text: &str) -> PyErr {
    PyRuntimeError::new_err(text.to_owned())
}

/// Why a call gave no answer.
pub(crate) fn of_client(py: Python<'_>, error: &ClientError) -> PyErr {
    match error {
        ClientError::Problem(problem) => {
            let mut problem = problem.clone();
            if problem.status == 401 {
                // What the API itself says speaks of header fields.
                problem.hint = Some(TOKEN.to_owned());
            }
            match value::of_json(py, &serde_json::json!(problem)) {
                Ok(problem) => make(py, "ApiError", (problem,)),
                Err(error) => error,
            }
        }
        ClientError::Url { .. } | ClientError::Trust(_) => usage(py, &told(error)),
        ClientError::NotRunning { data_dir } => {
            let text = format!(
                "no mmn is running on {}: start one with `mmn up`, or give connect() a URL and a token",
                data_dir.display()
            );
            make(py, "NotRunning", (text,))
        }
        _ => make(py, "ConnectionLost", (told(error),)),
    }
}

/// An error and what caused it.
fn told(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
