"""The JSON file with the record of benchmark results, and the page that is generated from it."""

from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.figures import Line, number
from bench.machine import Machine
from bench.parts import PARTS


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A result, and the machine on which it was measured."""

    line: Line
    machine: Machine


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The latest result of each benchmark case, by the key of the case."""

    entries: dict[str, Entry]

    def with_entry(self, entry: Entry) -> "Record":
        """Return a copy of the record in which an entry replaces the previous one of its case."""
        return Record(entries=self.entries | {entry.line.key: entry})


def read(path: Path) -> Record:
    """Read a record; return an empty record if the file does not exist."""
    if not path.exists():
        return Record(entries={})
    return msgspec.json.decode(path.read_bytes(), type=Record)


def write(record: Record, folder: Path, part: str) -> Path:
    """Write the record and the page of a part of the farm; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name, order = PARTS[part].page, list(PARTS[part].cases)
    entries = [record.entries[key] for key in order if key in record.entries]
    # Cases also give whole numbers, which a record that was read has as fractions.
    normalized = msgspec.json.decode(msgspec.json.encode(record), type=Record)
    document = msgspec.json.encode(normalized, order="deterministic")
    (folder / f"{name}.json").write_bytes(msgspec.json.format(document, indent=2) + b"\n")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - Markdown of trusted values
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = folder / f"{name}.md"
    text = environment.get_template(f"{part}.md.j2").render(
        entries=entries,
        machines=_machines(entries),
        number=number,
    )
    page.write_text(text)
    return page


def _machines(entries: list[Entry]) -> list[dict[str, object]]:
    """Return each machine once, with the cases whose entries have the same description of it."""
    found: dict[Machine, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.machine, []).append(f"`{entry.line.key}`")
    return [{"seen": machine, "lines": cases} for machine, cases in found.items()]
