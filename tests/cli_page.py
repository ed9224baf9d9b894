"""The page docs/cli.md and its JSON Schema, generated from the commands of ffrtmp.

`make cli-page` writes both files.
"""

import inspect
import json
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from cli_catalog import CommandEntry, command_entries, document_types, json_schema, schema_name
from ffrtmp_cli.connection import CONNECTION_OPTIONS
from ffrtmp_cli.errors import ExitCode

PAGE = "docs/cli.md"
SCHEMA = "docs/cli.schema.json"

_INTRODUCTION = """\
# The command `ffrtmp`

With `ffrtmp`, you queue runs, follow them, read results and operate a farm, without Ansible and
without root. This page is generated from the command (`make cli-page`), and a test runs its
examples against a master, from top to bottom, except for those of commands that measure the host.

`make setup-dev` installs the command into `.venv`; `. .venv/bin/activate` adds it to the path. Run
the examples in one shell in the root of the repository. They need the values of your farm, which
are these for `make demo`:

```bash
SECRETS=.secrets/local                    # the farm's CA and tokens
CA=$SECRETS/pki/ca.pem                    # the CA of the master's certificate
TOKEN=$SECRETS/tokens/operator            # a file with a token
CLIP=files/media/bigbuckbunny-720p.mp4    # a clip
MASTER=$(ansible 'master[0]' --inventory inventories/local \\
  --module-name ansible.builtin.debug --args var=farm_master_url |
  grep --only-matching 'https://[^"]*')
```

## Conventions

- Standard output contains only the result; progress, messages and errors go to standard error.
  Colors are used only on a terminal, and not if `NO_COLOR` is set.
- With `--json`, a command prints one JSON document on one line, whose field `schema` names its form
  ([documents](#documents)). Errors are then problem documents (RFC 9457) on standard error, with
  the additional field `exit_code`. Fields may be added to a document; if a field is removed or
  changes its meaning, the number at the end of `schema` increases.
- A run is selected by its id, by at least the last four characters of its id, or by `last`, the
  newest run.
- The word `list` may be omitted: `ffrtmp jobs` is `ffrtmp jobs list`.
- A token is read from a file, from standard input or from a prompt. There is no option for the
  token itself, because all users of a computer can read the arguments of its processes.

| exit code | meaning |
|---|---|
"""
_EXIT_CODES = {
    ExitCode.OK: "success",
    ExitCode.FAILED: "the command failed; the message says what to do",
    ExitCode.USAGE: "the arguments, the profile or the suite to check are not valid",
    ExitCode.NOT_FOUND: "the run, job, node, token or suite to check does not exist",
    ExitCode.JOBS_FAILED: "the run has ended, but not all of its jobs succeeded",
    ExitCode.REGRESSION: "a regression, for `ffrtmp compare --fail-on-regression`",
    ExitCode.UNDECIDED: "undecided or not comparable, for `ffrtmp compare --fail-on-regression`",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C; `ffrtmp run` says how to attach again",
}
_CONNECTION = """
## Connection

`ffrtmp login` checks a connection and stores it as a profile in
`$XDG_CONFIG_HOME/ffmpeg-rtmp/profiles.toml`, by default `~/.config/ffmpeg-rtmp/profiles.toml`. The
profile of the last login is the default. Every command that connects to a farm has these options,
which replace the values of the profile. If `--url` is that of another master, no value of the
profile is used, so that its token is not sent there:

"""
_JOB_VARIABLES = """\
The examples for jobs need a job that has succeeded, and one that is queued. While its only node is
drained, the farm does not start jobs:

```bash
JOB=$(ffrtmp jobs last --state succeeded --json | jq --raw-output '.jobs[0].id')
ffrtmp nodes drain worker1
ffrtmp run files/suites/demo.yml --detach --wait-for-nodes
QUEUED_JOB=$(ffrtmp jobs last --json | jq --raw-output '.jobs[0].id')
```
"""
_DOCUMENTS = """
## Documents

These are the documents that the commands print with `--json`. [cli.schema.json](cli.schema.json) is
their JSON Schema. Times are texts in ISO 8601.
"""
_COLUMNS = 120


def cli_page() -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION]
    parts += [f"| {int(code)} | {meaning} |\n" for code, meaning in _EXIT_CODES.items()]
    parts += [_CONNECTION, _option_table(CONNECTION_OPTIONS), "\n## Commands\n"]
    parts += [part for entry in command_entries() for part in _command(entry)]
    parts.append(_DOCUMENTS)
    described: set[type] = set()
    parts += [part for kind in document_types() for part in _document(kind, described)]
    return "".join(parts)


def schema_text() -> str:
    """Return the text of the JSON Schema."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


def _command(entry: CommandEntry) -> Iterator[str]:
    """Yield the section of a command."""
    context = click.Context(entry.command, info_name=entry.name)
    usage = entry.command.get_usage(context).removeprefix("Usage: ")
    yield f"\n### {entry.name}\n\n"
    yield f"`{' '.join(usage.split())}`\n\n"
    yield f"{_wrapped(_prose(entry.command.help or ''))}\n"
    shared = set(CONNECTION_OPTIONS)
    options = [
        option
        for option in entry.command.params
        if isinstance(option, click.Option) and option not in shared and option.name != "as_json"
    ]
    if options:
        yield f"\n{_option_table(options)}"
    if entry.document_type is not None:
        name = schema_name(entry.document_type)
        yield f"\n`--json` prints [{name}](#{_anchor(name)})."
        if entry.is_connected:
            yield " The options of the [connection](#connection) are accepted, too."
        yield "\n"
    if entry.path[1:] == ("jobs", "show"):
        yield f"\n{_JOB_VARIABLES}"
    if entry.examples:
        # The test runs only blocks of bash.
        language, prompt = ("console", "$ ") if entry.is_on_host else ("bash", "")
        lines = "".join(f"{prompt}{example}\n" for example in entry.examples)
        yield f"\n```{language}\n{lines}```\n"


def _option_table(options: typing.Iterable[click.Option]) -> str:
    lines = ["| option | meaning |", "|---|---|"]
    for option in options:
        names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
        metavar = "" if option.is_flag else f" `{_metavar(option)}`"
        text = _prose(option.help or "").removesuffix(".")
        text = re.sub(r" +\[default: (.*)\]$", r"; default: \1", text).replace(".;", ";")
        if option.show_default and option.default not in {None, ()}:
            values = option.default if isinstance(option.default, tuple) else (option.default,)
            text += f"; default: {', '.join(f'`{value}`' for value in values)}"
        variable = f"; environment: `{option.envvar}`" if option.envvar else ""
        lines.append(f"| {names}{metavar} | {text.replace('|', chr(92) + '|')}{variable} |")
    return "\n".join(lines) + "\n"


def _metavar(option: click.Option) -> str:
    if option.metavar is not None:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return " ".join(str(choice) for choice in option.type.choices)
    return {"integer": "NUMBER", "float": "NUMBER", "path": "FILE"}.get(
        option.type.name.removesuffix(" range"), "TEXT"
    )


def _document(kind: type[msgspec.Struct], described: set[type]) -> Iterator[str]:
    """Yield the section of a document, with the objects in it that were not described before."""
    yield f"\n### {schema_name(kind)}\n\n{_wrapped(_summary(kind))}\n\n"
    yield _field_table(kind)
    for part in _structs_of(kind):
        if part in described:
            continue
        described.add(part)
        yield f"\n**{part.__name__}**: {_summary(part)}\n\n{_field_table(part)}"


def _structs_of(kind: type) -> Iterator[type]:
    """Yield the types of the objects in a document, each after the one that contains it."""
    for field_type in typing.get_type_hints(kind).values():
        for found in _types_in(field_type):
            yield found
            yield from _structs_of(found)


def _types_in(field_type: Any) -> Iterator[type]:
    if isinstance(field_type, type) and issubclass(field_type, msgspec.Struct):
        yield field_type
    for argument in typing.get_args(field_type):
        yield from _types_in(argument)


def _field_table(kind: type) -> str:
    meanings = _attributes(kind)
    lines = ["| field | type | meaning |", "|---|---|---|"]
    settings = kind.__struct_config__
    if settings.tag is not None:
        lines.append(f"| `{settings.tag_field}` | text | `{settings.tag}` |")
    for name, field_type in typing.get_type_hints(kind).items():
        lines.append(f"| `{name}` | {_type_text(field_type)} | {meanings.get(name, '')} |")
    return "\n".join(lines) + "\n"


_TYPE_NAMES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    Any: "any value",
}


def _type_text(field_type: Any) -> str:
    """Return a type as text, such as `list of JobEntry` or `number or null`."""
    origin, arguments = typing.get_origin(field_type), typing.get_args(field_type)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(dict.fromkeys(map(_type_text, arguments)))
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in {tuple, list}:
        return f"list of {_type_text(arguments[0])}"
    if origin is dict:
        return f"object of {_type_text(arguments[1])}" if arguments[1] is not Any else "object"
    is_struct = isinstance(field_type, type) and issubclass(field_type, msgspec.Struct)
    return str(field_type.__name__) if is_struct else _TYPE_NAMES.get(field_type, "text")


def _attributes(kind: type) -> dict[str, str]:
    """Return the meanings of fields in the docstring of a type."""
    _, _, text = inspect.getdoc(kind).partition("\nAttributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()).removesuffix(".") for name, meaning in found}


def _summary(kind: type) -> str:
    text = (inspect.getdoc(kind) or "").partition("\nAttributes:")[0]
    return " ".join(text.split())


def _prose(text: str) -> str:
    """Return paragraphs of a docstring, each on one line."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _wrapped(text: str) -> str:
    """Return paragraphs as lines that are no longer than those of other pages."""
    return "\n\n".join(
        textwrap.fill(paragraph, _COLUMNS, break_on_hyphens=False, break_long_words=False)
        for paragraph in text.split("\n\n")
    )


def _anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub forms it."""
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Write the page and the schema."""
    root = Path(__file__).resolve().parents[1]
    (root / PAGE).write_text(cli_page(), encoding="utf-8")
    (root / SCHEMA).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
