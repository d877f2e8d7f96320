//! A method for each kind: of a vantage point, and of the network.

use std::fmt::Write;

use anyhow::Result;

use super::GENERATED;
use super::types::Kind;

/// How the methods wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Sync,
    Async,
}

/// Of what they are methods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    VantagePoint,
    Network,
}

/// The longest line of a description.
const WIDTH: usize = 108;

impl Style {
    pub(super) const fn module(self) -> &'static str {
        match self {
            Self::Sync => "_calls",
            Self::Async => "_aio_calls",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Sync => "",
            Self::Async => "Async",
        }
    }

    const fn iterator(self) -> &'static str {
        match self {
            Self::Sync => "Iterator",
            Self::Async => "AsyncIterator",
        }
    }
}

/// The module with all of them.
pub(super) fn module(all: &[Kind<'_>], style: Style) -> Result<String> {
    let (prefix, home) = (style.prefix(), if style == Style::Sync { "_measurement" } else { "aio" });
    let loops = if style == Style::Sync { "" } else { ", for asyncio" };
    let place = if style == Style::Sync { "_vps" } else { "aio" };
    let measurements = if style == Style::Sync {
        format!("    from .{home} import Feed, Measurement\n")
    } else {
        format!("    from .{home} import AsyncFeed, AsyncMeasurement, VantagePoint\n")
    };
    let vantage_point =
        if style == Style::Sync { format!("    from .{place} import VantagePoint\n") } else { String::new() };
    let mut text = format!(
        "\"\"\"A method for each kind of measurement{loops}.

{GENERATED}
\"\"\"

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import {abc}
    from typing import Any, Literal

    from typing_extensions import Unpack

",
        abc = match style {
            Style::Sync => "Callable, Iterable, Iterator",
            Style::Async => "Iterable",
        },
    );
    // In the order in which imports are sorted.
    if style == Style::Sync {
        text.push_str(&measurements);
        text.push_str("    from ._request import Duration, Vps\n");
        text.push_str(&vantage_point);
    } else {
        text.push_str("    from ._request import Duration, Vps\n");
        text.push_str(&measurements.replace(", VantagePoint", ""));
    }
    for kind in all {
        let mut names = vec![format!("{}Params", kind.prefix), format!("{}Result", kind.prefix)];
        for (_, of, _) in kind.params()? {
            let words = of.split(|letter: char| !letter.is_alphanumeric());
            names.extend(words.filter(|word| word.starts_with(&kind.prefix)).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        writeln!(text, "    from .kinds.{} import {}", kind.name, names.join(", "))?;
    }
    let waits = if style == Style::Async { "async " } else { "" };
    write!(
        text,
        "

class VantagePointCalls:
    \"\"\"What can be measured from a vantage point.\"\"\"

    __slots__ = ()

    {waits}def _measured(self, kind: str, target: str | None, deadline: Duration | None, params: dict[str, Any]) -> Any:
        raise NotImplementedError
"
    )?;
    for kind in all {
        method(&mut text, kind, style, Of::VantagePoint)?;
    }
    write!(
        text,
        "

class NetworkCalls:
    \"\"\"What can be measured from many vantage points.\"\"\"

    __slots__ = ()

    def _many(
        self,
        kind: str,
        given: str | Iterable[str] | None,
        vps: Vps | None,
        deadline: Duration | None,
        label: str | None,
        params: dict[str, Any],
    ) -> Any:
        raise NotImplementedError

    def _open(
        self, kind: str, vps: Vps | None, deadline: Duration | None, label: str | None, params: dict[str, Any]
    ) -> Any:
        raise NotImplementedError
"
    )?;
    for kind in all {
        method(&mut text, kind, style, Of::Network)?;
    }
    opening(&mut text, all, prefix)?;
    if style == Style::Sync {
        driving(&mut text, all, style)?;
    }
    Ok(text)
}

fn method(text: &mut String, kind: &Kind<'_>, style: Style, of: Of) -> Result<()> {
    let params = kind.params()?;
    let (waits, awaits) =
        if style == Style::Async && of == Of::VantagePoint { ("async ", "await ") } else { ("", "") };
    writeln!(text, "\n    {waits}def {}(\n        self,", kind.name)?;
    text.push_str(match of {
        Of::VantagePoint => "        target: str,\n        *,\n",
        Of::Network => "        targets: str | Iterable[str],\n        *,\n        vps: Vps | None = None,\n",
    });
    for (name, of, _) in &params {
        writeln!(text, "        {name}: {} | None = None,", of.replace("Octets", "bytes"))?;
    }
    text.push_str("        deadline: Duration | None = None,\n");
    let result = format!("{}Result", kind.prefix);
    let (returns, way) = match of {
        Of::VantagePoint => {
            (result, "Waits for the result. Raises a `MeasurementError` when it does not end as *ok*.")
        }
        Of::Network => {
            text.push_str("        label: str | None = None,\n");
            let way = match style {
                Style::Sync => {
                    "Results are iterated as they arrive. Without `vps` the anchor chooses one vantage point."
                }
                Style::Async => {
                    "Results are iterated by `async for`, as they arrive. Without `vps` the anchor chooses one vantage point."
                }
            };
            (format!("{}Measurement[{result}]", style.prefix()), way)
        }
    };
    let mut lines = vec![kind.description.clone(), String::new(), way.to_owned(), String::new()];
    lines.push("Args:".to_owned());
    for (name, _, told) in &params {
        wrapped(&format!("{name}: {told}"), &mut lines);
    }
    let deadline = "deadline: How long each task may take, retries included: seconds, or a text such as \"500ms\". Default: 30 s.";
    wrapped(deadline, &mut lines);
    if of == Of::Network {
        wrapped(
            "vps: From where: a selection such as \"germany+eyeball\", a vantage point, or several.",
            &mut lines,
        );
        wrapped("label: A word that is kept with the measurement.", &mut lines);
    }
    let plain = lines.join("\n").replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    writeln!(text, "    ) -> {returns}:")?;
    let mut indent = "        \"\"\"";
    for line in plain.lines() {
        text.extend([format!("{indent}{line}").trim_end(), "\n"]);
        indent = "        ";
    }
    text.push_str("        \"\"\"\n        params = {\n");
    for (name, _, _) in &params {
        writeln!(text, "            \"{}\": {name},", name.trim_end_matches('_'))?;
    }
    text.push_str("        }\n");
    match of {
        Of::VantagePoint => writeln!(
            text,
            "        return {awaits}self._measured(\"{}\", target, deadline, params)  # type: ignore[no-any-return]",
            kind.name
        )?,
        Of::Network => writeln!(
            text,
            "        return self._many(\"{}\", targets, vps, deadline, label, params)  # type: ignore[no-any-return]",
            kind.name
        )?,
    }
    Ok(())
}

/// What every `open` has beside the parameters of its kind.
const OPENING: &str = "vps: Vps | None = None,
        deadline: Duration | None = None,
        label: str | None = None,";

fn opening(text: &mut String, all: &[Kind<'_>], prefix: &str) -> Result<()> {
    for kind in all {
        write!(
            text,
            "
    @overload
    def open(
        self,
        kind: Literal[\"{name}\"],
        *,
        {OPENING}
        **params: Unpack[{of}Params],
    ) -> {prefix}Feed[{of}Result]: ...
",
            name = kind.name,
            of = kind.prefix
        )?;
    }
    let plain = "self, kind: str, *, vps: Vps | None = None, deadline: Duration | None = None, label: str | None = None, **params: Any";
    write!(
        text,
        "
    @overload
    def open(
        {plain}
    ) -> {prefix}Feed[Any]: ...

    def open(
        {plain}
    ) -> {prefix}Feed[Any]:
        \"\"\"Opens a measurement that takes targets for as long as there are any, in constant memory.

        The parameters are those of the kind, as in the method of its name. See `{prefix}Feed`.
        \"\"\"
        return self._open(kind, vps, deadline, label, params)  # type: ignore[no-any-return]
"
    )?;
    Ok(())
}

/// What every `drive` has beside the parameters of its kind.
const DRIVING: &str = "vps: str | Iterable[VantagePoint],
        more: Callable[[VantagePoint], str | None],
        window: int = 256,
        deadline: Duration | None = None,
        label: str | None = None,";

fn driving(text: &mut String, all: &[Kind<'_>], style: Style) -> Result<()> {
    let iterator = style.iterator();
    write!(
        text,
        "
    def _drive(
        self,
        kind: str,
        vps: str | Iterable[VantagePoint],
        more: Callable[[VantagePoint], str | None],
        window: int,
        deadline: Duration | None,
        label: str | None,
        params: dict[str, Any],
    ) -> Any:
        raise NotImplementedError
"
    )?;
    for kind in all {
        write!(
            text,
            "
    @overload
    def drive(
        self,
        kind: Literal[\"{name}\"],
        *,
        {DRIVING}
        **params: Unpack[{of}Params],
    ) -> {iterator}[{of}Result]: ...
",
            name = kind.name,
            of = kind.prefix
        )?;
    }
    write!(
        text,
        "
    @overload
    def drive(
        self,
        kind: str,
        *,
        {DRIVING}
        **params: Any,
    ) -> {iterator}[Any]: ...

    def drive(
        self,
        kind: str,
        *,
        {DRIVING}
        **params: Any,
    ) -> {iterator}[Any]:
        \"\"\"Measures event by event: `more(vp)` is called whenever a vantage point wants work, and results are yielded.

        `more` gives a target, or `None` when it has none for that vantage point at present; it is asked again after
        further results. The loop ends when it has none for any and nothing is under way. `window` says how many tasks of a
        vantage point may be under way. The parameters are those of the kind, as in the method of its name.
        \"\"\"
        return self._drive(kind, vps, more, window, deadline, label, params)  # type: ignore[no-any-return]
"
    )?;
    Ok(())
}

/// A parameter's description in lines.
fn wrapped(told: &str, lines: &mut Vec<String>) {
    let mut line = "   ".to_owned();
    for word in told.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, "       ".to_owned()));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
}
