//! The checked-in contract agrees with itself: recorded messages hold against the schemas, and no reference is open.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn contract(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/v1").join(folder)
}

fn json(path: &Path) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

#[test]
fn recorded_messages_hold_against_their_schemas() -> Result<(), Box<dyn Error>> {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(contract("recorded"))? {
        let path = entry?.path();
        let recorded = json(&path)?;
        let name = recorded.get("message").and_then(Value::as_str).unwrap_or_default();
        let validator =
            jsonschema::draft202012::new(&json(&contract("schema").join(format!("{name}.json")))?)?;
        for form in ["json", "means"] {
            let message = recorded.get(form).unwrap_or(&Value::Null);
            for error in validator.iter_errors(message) {
                wrong.push(format!("{}, {form}{}: {error}", path.display(), error.instance_path()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn schemas_of_kinds_are_schemas() -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(contract("kinds"))? {
        let kind = json(&entry?.path())?;
        for part in ["/kind/params", "/kind/result"] {
            let schema = kind.pointer(part).unwrap_or(&Value::Null);
            jsonschema::draft202012::new(schema).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[test]
fn no_reference_of_the_api_is_open() -> Result<(), Box<dyn Error>> {
    let document = json(&contract("openapi.json"))?;
    let mut open = Vec::new();
    references(&document, &mut |reference| {
        let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
        if target.is_none() {
            open.push(reference.to_owned());
        }
    });
    assert!(open.is_empty(), "{open:?}");
    Ok(())
}

#[test]
fn types_for_python_are_python() -> Result<(), Box<dyn Error>> {
    // Compiled and run, and every name in it that stands between quotes is looked up.
    const LOOK_UP: &str = "\
import py_compile, runpy, sys, typing
py_compile.compile(sys.argv[1], cfile=sys.argv[2], doraise=True)
types = runpy.run_path(sys.argv[1])
for name, known in list(types.items()):
    if typing.is_typeddict(known):
        typing.get_type_hints(known, types)
    elif type(known) is typing.ForwardRef or typing.get_args(known):
        typing.get_type_hints(type(name, (), {'__annotations__': {'it': known}}), types)
";
    let folder = tempfile::tempdir()?;
    let output = Command::new("python3")
        .args(["-I", "-B", "-c", LOOK_UP])
        .arg(contract("mmn_types.py"))
        .arg(folder.path().join("mmn_types.pyc"))
        .output()?;
    assert!(output.status.success(), "\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn references<'v>(value: &'v Value, found: &mut impl FnMut(&'v str)) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(reference) if name == "$ref" => found(reference),
                    _ => references(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}
