"""Output of commands: one document as a table for people, or as JSON for programs.

Standard output contains only the document; progress and messages go to standard error. Each
document is a struct whose tag names its schema, for example:

    class NodeDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/nodes/1"): ...
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from ffrtmp_cli.errors import CommandError

F = TypeVar("F", bound=Callable[..., Any])

DOCUMENT_TYPE = "document_type"
"""The attribute of a function of a command with the type of its document."""


def json_output(
    document_type: type[msgspec.Struct], failure: Callable[[Any], str] | None = None
) -> Callable[[F], Callable[..., None]]:
    """Add the option --json to a function that returns a document and its text.

    Args:
        document_type: The type of the document, which docs/cli.md describes.
        failure: A function that returns why a document means that the command failed, or "". The
            document is printed in either case.

    Returns:
        A decorator. The decorated function has to return the document and the text that is
        printed without --json, and it may return the exit code as the third value.
    """

    def decorate(function: F) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
        @functools.wraps(function)
        def print_document(*arguments: Any, as_json: bool, **options: Any) -> None:
            document, text, *code = function(*arguments, **options)
            print_output(document, text, as_json=as_json)
            reason = "" if failure is None else failure(document)
            if reason:
                raise CommandError(reason)
            if code:
                click.get_current_context().exit(code[0])

        setattr(print_document, DOCUMENT_TYPE, document_type)
        return print_document

    return decorate


def print_output(document: msgspec.Struct, text: str, *, as_json: bool) -> None:
    """Print a document to standard output: as one line of JSON, or its text."""
    content = msgspec.json.encode(document).decode() if as_json else text.rstrip("\n")
    # Click removes colors if the output is not a terminal.
    click.echo(content)


def print_message(text: str) -> None:
    """Print a message or progress to standard error."""
    click.echo(text, err=True)
