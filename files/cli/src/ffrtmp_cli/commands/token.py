"""The commands `ffrtmp token`, which list, create and revoke tokens."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from ffrtmp_client.api import Json, Master
from ffrtmp_shared.atomic_file import write_atomically

from ffrtmp_cli.command_group import ListGroup
from ffrtmp_cli.connection import connected
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_rules import check_name
from ffrtmp_cli.output import json_output, print_message
from ffrtmp_cli.run_text import time_text
from ffrtmp_cli.text_table import text_table


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The properties of a token, without the token itself.

    Attributes:
        name: The name of the token.
        role: `viewer`, `submitter`, `admin` or `agent`.
        node: The node of a token with the role agent.
        expires_at: The time at which it expires, if any.
        created_at: The time at which it was created; null if Ansible manages it.
        created_by: The name of the token with which it was created.
        last_used_at: The time of its last use, with a resolution of one minute.
        is_provisioned: Whether Ansible manages it, so that it must be changed there.
    """

    name: str
    role: str
    node: str | None
    expires_at: str | None
    created_at: str | None
    created_by: str | None
    last_used_at: str | None = None
    is_provisioned: bool = False


class TokensDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/tokens/1", kw_only=True):
    """Tokens.

    Attributes:
        tokens: The tokens, sorted by name.
    """

    tokens: tuple[TokenEntry, ...]


class NewTokenDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/new-token/1", kw_only=True):
    """A new token.

    Attributes:
        properties: Its properties.
        token: The token; null if it was written to a file.
        file: The file to which it was written, if any.
    """

    properties: TokenEntry
    token: str | None
    file: str | None


class RevokedDocument(
    msgspec.Struct, tag_field="schema", tag="ffrtmp/revoked-token/1", kw_only=True
):
    """A revoked token.

    Attributes:
        name: The name of the token.
    """

    name: str


@click.group("token", cls=ListGroup)
def command() -> None:
    """List, create and revoke tokens, which needs the role admin. Without a command, list them."""


@command.command("list", epilog=examples("ffrtmp token"))
@json_output(TokensDocument)
@connected
def list_tokens(master: Master) -> tuple[TokensDocument, str]:
    """List the tokens of the farm, without the tokens themselves."""
    entries = [_entry(token) for token in master.pages("/v1/tokens")]
    rows = [
        (
            entry.name,
            entry.role,
            entry.node or "",
            time_text(entry.expires_at) or "never",
            time_text(entry.last_used_at),
            "Ansible" if entry.is_provisioned else entry.created_by or "",
        )
        for entry in entries
    ]
    text = text_table(("token", "role", "node", "expires", "last used", "created by"), rows)
    return TokensDocument(tokens=tuple(entries)), text


@command.command(
    "create",
    epilog=examples(
        "ffrtmp token create dashboard --role viewer --expires-in-days 90 --output dashboard.token"
    ),
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(("viewer", "submitter", "admin", "agent")),
    required=True,
    help="Role of the token.",
)
@click.option("--node", help="Node of a token with the role agent.")
@click.option(
    "--expires-in-days", type=click.IntRange(1, 36_500), help="Days until the token expires."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the token to this new file, which only you can read, instead of printing it.",
)
@json_output(NewTokenDocument)
@connected
def create(
    master: Master,
    name: str,
    *,
    role: str,
    node: str | None,
    expires_in_days: int | None,
    output: str | None,
) -> tuple[NewTokenDocument, str]:
    """Create a token. The master returns it only once and stores only its digest."""
    check_name("token", name)
    if output is not None and Path(output).exists():
        raise CommandError(f"{output} exists: choose another file", ExitCode.USAGE)
    body: Json = {"name": name, "role": role}
    if node is not None:
        body["node"] = check_name("node", node)
    if expires_in_days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=expires_in_days)).isoformat()
    created = master.send("POST", "/v1/tokens", body)
    token: str = created["token"]
    if output is None:
        print_message("The token is shown only once:")
        return NewTokenDocument(properties=_entry(created), token=token, file=None), token
    try:
        write_atomically(Path(output), f"{token}\n".encode(), is_durable=True)
    except OSError as error:
        # Without its value, the token is useless.
        master.send("DELETE", f"/v1/tokens/{name}")
        raise CommandError(
            f"{output} cannot be written: {error.strerror}. The token was not created"
        ) from error
    document = NewTokenDocument(properties=_entry(created), token=None, file=output)
    return document, f"The token {name} is in {output}."


@command.command("revoke", epilog=examples("ffrtmp token revoke dashboard"))
@click.argument("name")
@json_output(RevokedDocument)
@connected
def revoke(master: Master, name: str) -> tuple[RevokedDocument, str]:
    """Revoke a token. Masters refuse it within two seconds."""
    master.send("DELETE", f"/v1/tokens/{check_name('token', name)}")
    return RevokedDocument(name=name), f"The token {name} is revoked."


def _entry(token: Json) -> TokenEntry:
    return msgspec.convert(token, TokenEntry)
