"""The API reference page, a self-contained HTML file that lists all operations and types.

The reference pages of the framework are not used, because they load scripts from the internet,
which isolated networks block.
"""

from collections.abc import Iterator
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
summary { cursor: pointer; padding: .3rem 0 }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { background: #8881; overflow-x: auto; padding: .5rem }
table { border-collapse: collapse }
td, th { padding: .1rem 1rem .1rem 0; text-align: left; vertical-align: top }
details > div { margin-left: 1rem }
:root { color-scheme: light dark }
"""
_REFERENCE = "#/components/schemas/"


def render_page(document: dict[str, Any]) -> str:
    """Return the HTML reference page for an OpenAPI document."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    parts = [
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        f"<p>{escape(info.get('description', ''))}",
        'The <a href="/schema/openapi.json">OpenAPI document</a> describes the same API.</p>',
        "<h2>Operations</h2>",
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation(path, method, operation))
    parts.append("<h2>Types</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.extend(_type(name, schema))
    parts.append("</body></html>")
    return "".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    description = operation.get("description") or operation.get("summary", "")
    yield f"<details><summary><code><b>{method.upper()}</b> {escape(path)}</code> "
    yield f"{escape(description.partition(chr(10))[0])}</summary><div><p>{escape(description)}</p>"
    yield "<table>"
    for parameter in operation.get("parameters", ()):
        where = f"{parameter['in']}{', required' if parameter.get('required') else ''}"
        yield f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{where}</td>"
        yield f"<td>{_shape(parameter['schema'])}</td></tr>"
    for kind, schema in _bodies(operation.get("requestBody", {})):
        yield f"<tr><td>body</td><td>{escape(kind)}</td><td>{_shape(schema)}</td></tr>"
    yield "</table><table>"
    for status, response in operation["responses"].items():
        yield f"<tr><td>{status}</td><td>{escape(response['description'])}</td><td>"
        yield ", ".join(f"{_shape(schema)} ({escape(kind)})" for kind, schema in _bodies(response))
        yield "</td></tr>"
    yield "</table></div></details>"


def _type(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary><div>'
    yield f"<p>{escape(schema.get('description', ''))}</p>"
    if "enum" in schema:
        yield f"<p>{escape(', '.join(str(value) for value in schema['enum']))}</p>"
    yield "<table>"
    required = schema.get("required", ())
    for field, value in schema.get("properties", {}).items():
        is_required = "required" if field in required else ""
        yield f"<tr><td><code>{escape(field)}</code></td><td>{is_required}</td>"
        yield f"<td>{_shape(value)}</td></tr>"
    yield "</table></div></details>"


def _bodies(holder: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, media_type in holder.get("content", {}).items():
        yield kind, media_type.get("schema", {})


def _shape(schema: dict[str, Any]) -> str:
    """Return a short description of a schema as HTML, with links to the types it refers to."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(_REFERENCE))
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_shape(option) for option in schema[key])
    kind = schema.get("type", "anything")
    text = escape(kind if isinstance(kind, str) else " or ".join(kind))
    if kind == "array":
        text = f"list of {_shape(schema.get('items', {}))}"
    limits = ", ".join(
        f"{key} {value}"
        for key, value in schema.items()
        if key in ("format", "minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern")
    )
    return f"{text} <small>{escape(limits)}</small>" if limits else text
