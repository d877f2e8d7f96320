//! A module for each kind: the classes of its results, and its parameters.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

use super::types::{Kind, Member, words};
use super::{GENERATED, docstring};
use crate::contract::description;

/// What every result has, by names that no kind's result takes.
const TAKEN: &[&str] = &[
    "answered",
    "attempt",
    "body",
    "check",
    "cursor",
    "duration_ns",
    "final",
    "input",
    "instance",
    "kind",
    "ok",
    "outcome",
    "part",
    "reason",
    "simulated",
    "started_at",
    "started_at_ns",
    "summary",
    "target",
    "task",
    "to_dict",
    "to_json",
    "vp",
    "vp_id",
    "vp_name",
];

/// Classes that have short ways of their own, in `_extras.py`: those whose names end in `Extras`.
const EXTRAS: &[&str] = &["DnsResult", "TraceHop"];

/// The module of a kind.
pub(super) fn module(kind: &Kind<'_>) -> Result<String> {
    let mut names = kind.made_of(kind.params_type);
    let results = kind.made_of(kind.result_type);
    names.extend(results.iter().cloned());
    let mut text = String::new();
    let mut declared: Vec<&str> = Vec::new();
    for name in &names {
        if let Some(words) = words(kind.schema(name))
            && !declared.contains(&name.as_str())
        {
            declared.push(name);
            text.push('\n');
            for line in description(kind.schema(name)).lines() {
                text.extend([format!("# {line}").trim_end(), "\n"]);
            }
            writeln!(text, "{}{name}: TypeAlias = Literal[{}]", kind.prefix, words.join(", "))?;
        }
    }
    params(&mut text, kind)?;
    for name in results.iter().filter(|name| *name != kind.result_type && kind.is_class(name)) {
        let class = format!("{}{name}", kind.prefix);
        begin(&mut text, &class, "Piece", &description(kind.schema(name)))?;
        for member in kind.members(name)? {
            attribute(&mut text, &member)?;
        }
    }
    result(&mut text, kind)?;
    Ok(head(kind, &text)? + &text)
}

/// The index of the modules.
pub(super) fn index(all: &[Kind<'_>]) -> Result<String> {
    let mut imports = String::new();
    for kind in all {
        writeln!(imports, "    from .{} import (", kind.name)?;
        for name in exported(kind) {
            writeln!(imports, "        {name} as {name},")?;
        }
        imports.push_str("    )\n");
    }
    let (mut table, mut names) = (String::new(), String::new());
    for kind in all {
        writeln!(table, "    \"{}\": \"{}Result\",", kind.name, kind.prefix)?;
        writeln!(names, "    \"{}Result\",", kind.prefix)?;
    }
    let mut durations = String::new();
    for kind in all {
        let params = kind.params()?;
        let names =
            params.iter().filter(|(_, of, _)| of == "Duration").map(|(name, ..)| format!("\"{name}\""));
        let names: Vec<String> = names.collect();
        writeln!(durations, "    \"{}\": frozenset(({},)),", kind.name, names.join(", "))?;
    }
    Ok(format!(
        "\"\"\"The kinds of measurement that mmn is built with: a module each, with the classes of its results.

{GENERATED}
\"\"\"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._results import Result

if TYPE_CHECKING:
{imports}
# The class of each kind's results. Its module is imported when it is wanted.
BUILT_IN = {{
{table}}}

# The parameters of each that are durations: a number of seconds will do for them.
DURATIONS: dict[str, frozenset[str]] = {{
{durations}}}

__all__ = [
    \"BUILT_IN\",
    \"DURATIONS\",
{names}    \"result_class\",
]


def result_class(kind: str) -> type[Any]:
    \"\"\"The class of a kind's results: `Result` for kinds that mmn was not built with.\"\"\"
    name = BUILT_IN.get(kind)
    return Result if name is None else _imported(kind, name)


def _imported(kind: str, name: str) -> type[Any]:
    made = globals().get(name)
    if made is None:
        from importlib import import_module

        made = globals()[name] = getattr(import_module(f\"{{__name__}}.{{kind}}\"), name)
    return made  # type: ignore[no-any-return]


def __getattr__(name: str) -> Any:
    # The classes of a kind, and of the pieces of its results, begin with its name.
    for kind in BUILT_IN:
        if name.startswith(kind.capitalize()):
            return _imported(kind, name)
    raise AttributeError(f\"module {{__name__!r}} has no attribute {{name!r}}\")
"
    ))
}

/// The classes of a kind.
fn exported(kind: &Kind<'_>) -> Vec<String> {
    let pieces = kind.made_of(kind.result_type);
    let pieces = pieces.iter().filter(|name| *name != kind.result_type && kind.is_class(name));
    let mut names: Vec<String> = pieces.map(|name| format!("{}{name}", kind.prefix)).collect();
    names.extend([format!("{}Params", kind.prefix), format!("{}Result", kind.prefix)]);
    names.sort();
    names
}

fn head(kind: &Kind<'_>, text: &str) -> Result<String> {
    let mut head = String::new();
    docstring(
        &mut head,
        &format!("Results of the kind `{}`. {}\n\n{GENERATED}", kind.name, kind.description),
        "",
    );
    let typing = ["Any", "Literal", "TypeAlias"].into_iter().filter(|name| uses(text, name));
    let typing: Vec<&str> = ["TYPE_CHECKING"].into_iter().chain(typing).chain(["TypedDict"]).collect();
    write!(head, "\nfrom __future__ import annotations\n\nfrom typing import {}\n\n", typing.join(", "))?;
    let results: Vec<&str> = ["Piece", "Result"].into_iter().filter(|name| uses(text, name)).collect();
    let extras: Vec<String> = EXTRAS.iter().map(|class| format!("{class}Extras")).collect();
    for extras in extras.iter().filter(|extras| uses(text, extras)) {
        writeln!(head, "from .._extras import {extras}")?;
    }
    let fields = if uses(text, "Octets") { "Octets, field" } else { "field" };
    writeln!(head, "from .._field import {fields}\nfrom .._results import {}", results.join(", "))?;
    let values = ["instant", "instant_ns", "octets"].into_iter().filter(|name| uses(text, name));
    let values: Vec<&str> = values.collect();
    if !values.is_empty() {
        writeln!(head, "from .._values import {}", values.join(", "))?;
    }
    head.push_str("\nif TYPE_CHECKING:\n");
    if uses(text, "datetime") {
        head.push_str("    from datetime import datetime\n\n");
    }
    head.push_str("    from .._request import Duration\n\n__all__ = [\n");
    for name in exported(kind) {
        writeln!(head, "    \"{name}\",")?;
    }
    head.push_str("]\n");
    Ok(head)
}

/// Whether a word stands in the code.
fn uses(text: &str, word: &str) -> bool {
    let code = text.lines().filter(|line| line.starts_with("class ") || line.contains(": "));
    code.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .any(|other| other == word)
}

fn params(text: &mut String, kind: &Kind<'_>) -> Result<()> {
    writeln!(text, "\n\nclass {}Params(TypedDict, total=False):", kind.prefix)?;
    let about = format!("The parameters of the kind `{}`. What is not given takes its default.", kind.name);
    docstring(text, &about, "    ");
    for (name, of, told) in kind.params()? {
        writeln!(text, "\n    {name}: {of}")?;
        docstring(text, &told, "    ");
    }
    Ok(())
}

fn result(text: &mut String, kind: &Kind<'_>) -> Result<()> {
    let about = description(kind.schema(kind.result_type));
    let about = format!("{about}\n\nWhat is not *ok* has no body: its attributes are `None`, or empty.");
    begin(text, &format!("{}Result", kind.prefix), "Result", &about)?;
    if kind.of_target {
        text.push_str("\n    if TYPE_CHECKING:\n\n        @property\n        def target(self) -> str: ...\n");
    }
    let members = kind.members(kind.result_type)?;
    for member in members.iter().filter(|member| !TAKEN.contains(&member.attribute.as_str())) {
        // What has no body has no list in it either.
        let empty = member.typed.text.starts_with("list[").then(|| "[]".to_owned());
        attribute(text, &Member { default: empty.or(member.default.clone()), ..member.clone() })?;
    }
    for number in kind.summary {
        let part = |name: &str| number.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, unit, told) = (part("name"), part("unit"), part("description"));
        if members.iter().any(|member| member.name == name) {
            continue;
        }
        let of = if unit == "ratio" { "float" } else { "int" };
        writeln!(text, "\n    {name}: {of} | None = field(\"{name}\", summary=True)")?;
        let unit = if unit == "1" { String::new() } else { format!(", in {unit}") };
        let mut letters = told.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let told: String = first.into_iter().chain(letters).collect();
        docstring(text, &format!("{told}{unit}."), "    ");
    }
    Ok(())
}

fn begin(text: &mut String, class: &str, base: &str, about: &str) -> Result<()> {
    let extras = if EXTRAS.contains(&class) { format!("{class}Extras, ") } else { String::new() };
    writeln!(text, "\n\nclass {class}({extras}{base}):")?;
    docstring(text, if about.is_empty() { "As the contract has it." } else { about }, "    ");
    text.push_str("\n    __slots__ = ()\n");
    Ok(())
}

fn attribute(text: &mut String, member: &Member) -> Result<()> {
    let Member { name, attribute, typed, default, description } = member;
    let mut arguments = format!("\"{name}\"");
    if let Some(convert) = &typed.convert {
        write!(arguments, ", {convert}")?;
    }
    if typed.each {
        arguments.push_str(", each=True");
    }
    if let Some(default) = default {
        write!(arguments, ", default={default}")?;
    }
    writeln!(text, "\n    {attribute}: {} = field({arguments})", typed.text)?;
    docstring(text, description, "    ");
    if typed.convert.as_deref() == Some("instant") && !typed.each {
        let of = if typed.is_optional() { "int | None" } else { "int" };
        writeln!(text, "\n    {attribute}_ns: {of} = field(\"{name}\", instant_ns)")?;
        docstring(text, "The same in nanoseconds since 1970 (UTC).", "    ");
    }
    Ok(())
}
