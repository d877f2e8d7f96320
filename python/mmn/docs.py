"""Writes docs/reference/python.md and docs/llms.txt from the sources of the package: `docs.py [--check]`.

Signatures, types and docstrings are read, nothing is imported. What is said by hand in docs/llms.txt stands in llms.head.md.
"""

from __future__ import annotations

import ast
import pathlib
import sys
import textwrap
from collections.abc import Iterator

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE / "python/mmn"
DOCS = HERE.parents[1] / "docs"
KINDS = ("ping", "trace", "multipath", "dns", "http", "udp", "tcp")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# What stands in the reference, in its order: the file, and the names in it.
PARTS = {
    "Connecting": [("_network.py", "connect"), ("_network.py", "Network")],
    "Vantage points": [("_vps.py", "VantagePoint")],
    "Measurements": [("_measurement.py", "Measurement"), ("_measurement.py", "Feed"), ("_measurement.py", "Ledger")],
    "Results": [("_results.py", "Result"), ("_results.py", "Results"), ("_results.py", "Reason"), ("_results.py", "collect")],
}
AIO = ("connect", "Network", "VantagePoint", "AsyncMeasurement", "AsyncFeed")
# Classes whose members are told with those of the classes that are made of them.
BASES = {
    "Network": ("_calls.py", "NetworkCalls"),
    "VantagePoint": ("_vps.py", "Place"),
    "Measurement": ("_measurement.py", "Started"),
    "AsyncMeasurement": ("_measurement.py", "Started"),
    "Result": ("_native.pyi", "Record"),
    "TraceHop": ("_extras.py", "TraceHopExtras"),
    "DnsResult": ("_extras.py", "DnsResultExtras"),
    "Task": ("module/__init__.py", "_Base"),
    "AsyncTask": ("module/__init__.py", "_Base"),
}


def read(file: str) -> dict[str, Definition]:
    """The classes and functions of a file, by name."""
    tree = ast.parse((PACKAGE / file).read_text())
    return {node.name: node for node in tree.body if isinstance(node, Definition)}


def doc(node: Definition | ast.Module) -> str:
    return (ast.get_docstring(node) or "").replace("``", "`")


def first(text: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(text.split("\n\n")[0].split())


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """How it is called, without `self`."""
    args = node.args
    given = [arg for arg in args.args if arg.arg not in ("self", "cls")]
    defaults: list[ast.expr | None] = [None] * (len(given) - len(args.defaults)) + [*args.defaults]
    told = [argument(arg, default) for arg, default in zip(given, defaults, strict=True)]
    if args.vararg is not None:
        told.append("*" + argument(args.vararg, None))
    elif args.kwonlyargs:
        told.append("*")
    told += [argument(arg, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if args.kwarg is not None:
        told.append("**" + argument(args.kwarg, None))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    word = "await " if isinstance(node, ast.AsyncFunctionDef) and "Iterator" not in returns else ""
    return f"{word}{node.name}({', '.join(told)}){returns}"


def argument(arg: ast.arg, default: ast.expr | None) -> str:
    annotation = f": {ast.unparse(arg.annotation)}" if arg.annotation is not None else ""
    return arg.arg + annotation + (f" = {ast.unparse(default)}" if default is not None else "")


def members(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Name, spelling and docstring of all that a class has for its users, those of its base first; without the kinds."""
    if node.name in BASES:
        file, base = BASES[node.name]
        found = read(file)[base]
        assert isinstance(found, ast.ClassDef)
        yield from members(found)
    for place, item in enumerate(node.body):
        after = node.body[place + 1] if place + 1 < len(node.body) else None
        said = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said = str(after.value.value).strip().replace("``", "`")
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
            yield item.target.id, f"{item.target.id}: {ast.unparse(item.annotation)}", said
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) or item.name.startswith("_"):
            continue
        marks = {by.id for by in item.decorator_list if isinstance(by, ast.Name)}
        is_setter = any(isinstance(by, ast.Attribute) for by in item.decorator_list)
        if is_setter or "overload" in marks or (node.name == "NetworkCalls" and item.name in KINDS):
            continue
        if "property" in marks:
            assert item.returns is not None
            yield item.name, f"{item.name}: {ast.unparse(item.returns)}", doc(item)
        else:
            yield item.name, signature(item), doc(item)


def paragraphs(text: str) -> str:
    """A docstring as Markdown: what is indented is code, and parameters are a list."""
    out, code = list[str](), False
    for line in text.splitlines():
        indented = line.startswith("    ") and not out_of_args(out)
        if indented != code and line.strip():
            out += ["```python"] if indented else ["```", ""]
            code = indented
        out.append(line[4:] if indented else line)
    if code:
        out.append("```")
    return "\n".join(out).replace("\n\n```\n", "\n```\n")


def out_of_args(lines: list[str]) -> bool:
    return any(line.strip() == "Args:" for line in lines)


def section(node: Definition, level: int, known: frozenset[str] = frozenset()) -> str:
    head = "#" * level
    if not isinstance(node, ast.ClassDef):
        return f"{head} {node.name}\n\n```text\n{signature(node)}\n```\n\n{paragraphs(doc(node))}\n"
    text = f"{head} {node.name}\n\n{paragraphs(doc(node))}\n"
    rows = [f"- `{spelling}`" + (f": {' '.join(said.split())}" if said else "") for name, spelling, said in members(node) if name not in known]
    return text + ("\n" + "\n".join(rows) + "\n" if rows else "")


def errors() -> list[ast.ClassDef]:
    return [node for node in read("_errors.py").values() if isinstance(node, ast.ClassDef)]


def params(kind: str) -> list[tuple[str, str, str]]:
    found = read(f"kinds/{kind}.py")[f"{kind.capitalize()}Params"]
    assert isinstance(found, ast.ClassDef)
    return list(members(found))


def pieces(kind: str) -> list[ast.ClassDef]:
    """The classes of a kind's results, the result first."""
    known = [node for name, node in read(f"kinds/{kind}.py").items() if isinstance(node, ast.ClassDef) and not name.endswith("Params")]
    return sorted(known, key=lambda node: node.name != f"{kind.capitalize()}Result")


def aliases(kind: str) -> dict[str, str]:
    """The words that parameters and fields take."""
    tree = ast.parse((PACKAGE / f"kinds/{kind}.py").read_text())
    found = [node for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value]
    words = {node.target.id: ast.unparse(node.value) for node in found if isinstance(node.target, ast.Name) and node.value}
    return {name: value.replace("Literal[", "").rstrip("]").replace("'", "`") for name, value in words.items() if "Literal" in value}


def module() -> str:
    """The kit for modules, where the package has one."""
    if not (PACKAGE / "module/__init__.py").exists():
        return ""
    tree = ast.parse((PACKAGE / "module/__init__.py").read_text())
    public = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    )
    known = {**read("module/_schema.py"), **read("module/__init__.py")}
    parts = [section(known[name], 3) for name in public if name in known]
    return f"## mmn.module\n\n{paragraphs(doc(tree))}\n\n" + "\n".join(parts)


def reference() -> str:
    text = [
        "# The Python package mmn\n",
        "Made of the package's types and docstrings by `python/mmn/docs.py`; changes belong there. [The guide](../guides/python.md)",
        "is the place to begin, [docs/llms.txt](../llms.txt) has all of this on one page for a language model.\n",
        "Times are integers in nanoseconds (`_ns`), instants are datetimes in UTC, and what was not measured is `None`. A duration",
        "that is given (`Duration`) is a number of seconds, a text such as `\"500ms\"`, or a timedelta. Vantage points (`Vps`) are",
        "given as [a selection](selection.md), one vantage point, or several.\n",
    ]
    for title, parts in PARTS.items():
        text.append(f"## {title}\n")
        text += [section(read(file)[name], 3) for file, name in parts]
    text.append("## Errors\n\n```text\n" + textwrap.dedent(first_tree()) + "\n```\n")
    known = frozenset(name for node in errors() if node.name == "MeasurementError" for name, _, _ in members(node))
    text += [section(node, 3, known if node.name != "MeasurementError" else frozenset()) for node in errors()]
    text.append("## Kinds\n")
    text.append(
        "Each kind is a method of vantage points, which waits for one result, and one of networks, which begins a `Measurement`:\n"
        "\n```text\nvp.KIND(target, *, deadline=None, PARAMETERS) -> Result\n"
        "net.KIND(targets, *, vps=None, deadline=None, label=None, PARAMETERS) -> Measurement\n"
        "net.open(\"KIND\", *, vps=None, PARAMETERS) -> Feed\n```\n"
    )
    for kind in KINDS:
        tree = ast.parse((PACKAGE / f"kinds/{kind}.py").read_text())
        words = aliases(kind)
        text.append(f"### {kind}\n\n{first(doc(tree)).partition('. ')[2]}\n\n#### Parameters\n")
        text += [f"- `{spelling}`: {' '.join(said.split())}" for _, spelling, said in params(kind)]
        text.append("")
        text += [section(node, 4) for node in pieces(kind)]
        if words:
            text.append("#### Words\n")
            text += [f"- `{name}`: {value}" for name, value in words.items()]
            text.append("")
    text.append("## mmn.aio\n\nThe same for asyncio. What waits is awaited.\n")
    known_aio = read("aio.py")
    text += [section(known_aio[name], 3) for name in AIO]
    text.append(module())
    return "\n".join(text).rstrip() + "\n"


def first_tree() -> str:
    """The tree of exceptions, which the errors' file begins with."""
    tree = ast.parse((PACKAGE / "_errors.py").read_text())
    return "\n".join(line for line in doc(tree).split("\n\n", 1)[1].splitlines())


def brief(node: ast.ClassDef) -> str:
    lines = [f"{node.name}: {first(doc(node))}"]
    lines += [f"  {spelling}" + (f"  # {first(said)}" if said else "") for _, spelling, said in members(node)]
    return "\n".join(lines)


def llms() -> str:
    text = [(HERE / "llms.head.md").read_text().rstrip(), "\n## The whole API\n\n```text"]
    for parts in PARTS.values():
        for file, name in parts:
            node = read(file)[name]
            text.append(brief(node) if isinstance(node, ast.ClassDef) else f"mmn.{signature(node)}  # {first(doc(node))}")
    text.append("Errors:\n" + first_tree())
    text.append("mmn.aio has the same; awaited: " + ", ".join(
        sorted({
            f"{name}.{item.name}"
            for name in AIO
            if isinstance(node := read("aio.py")[name], ast.ClassDef)
            for item in node.body
            if isinstance(item, ast.AsyncFunctionDef) and not item.name.startswith("_") and item.name != "run"
        })
    ) + "; `async for` over measurements and feed.run(…); `async with` over networks, measurements and feeds")
    text.append("```\n\n## Kinds: parameters and results\n")
    for kind in KINDS:
        tree = ast.parse((PACKAGE / f"kinds/{kind}.py").read_text())
        words = aliases(kind)
        text.append(f"### {kind}: {first(doc(tree)).partition('. ')[2]}\n\n```text\nparameters:")
        text += [f"  {spelled(spelling, words)}  # {first(said)}" for _, spelling, said in params(kind)]
        for node in pieces(kind):
            fields = ", ".join(spelled(spelling, words) for _, spelling, _ in members(node))
            text.append(f"{node.name}({fields})")
        text.append("```\n")
    if (kit := module()):
        text.append("## Modules in Python\n\n" + kit.split("\n\n", 1)[1].split("\n### ", 1)[0].rstrip())
    return "\n".join(text).rstrip() + "\n"


def spelled(spelling: str, words: dict[str, str]) -> str:
    """A field with the words that it takes, where they are few."""
    name, _, type_ = spelling.partition(": ")
    for alias, value in words.items():
        if alias in type_ and len(value) < 120:
            type_ = type_.replace(alias, value.replace("`", "'").replace(", ", "|"))
    return f"{name}: {type_}"


def stale() -> list[pathlib.Path]:
    """The pages that are not what they would be made into."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text() != text]


def pages() -> dict[pathlib.Path, str]:
    return {DOCS / "reference/python.md": reference(), DOCS / "llms.txt": llms()}


def main() -> None:
    if "--check" in sys.argv[1:]:
        for path in stale():
            sys.exit(f"{path} is not what the package's sources make: run python/mmn/docs.py")
        return
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
