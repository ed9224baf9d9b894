"""The command `ffrtmp login`, which stores the connection to a farm as a profile."""

import sys
from pathlib import Path

import click
import msgspec
from ffrtmp_client.options import problems
from ffrtmp_client.value_rules import NAME, RULES

from ffrtmp_cli.connection import is_same_master, open_master, read_token
from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.examples import examples
from ffrtmp_cli.name_rules import is_name
from ffrtmp_cli.output import json_output
from ffrtmp_cli.profiles import (
    NO_PROFILE,
    Profile,
    Profiles,
    read_profiles,
    store_token,
    token_path,
    write_profiles,
)


class LoginDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/login/1", kw_only=True):
    """A stored profile.

    Attributes:
        profile: The name of the profile, which is now the default.
        url: The URL of the master.
        ca_file: The path of the certificate of the farm's CA.
        token_file: The path of the file with the token.
        file: The path of the file with the profiles.
        nodes: The number of nodes of the farm.
    """

    profile: str
    url: str
    ca_file: str
    token_file: str
    file: str
    nodes: int


@click.command(
    "login",
    epilog=examples(
        "ffrtmp login demo --url $MASTER --ca-file $CA --token-file $TOKEN",
        "ffrtmp login other --url $MASTER --ca-file $CA < $TOKEN",
    ),
)
@click.argument("name", default="default")
@click.option("--url", envvar="FFRTMP_URL", metavar="URL", help="URL of the master, with https.")
@click.option(
    "--ca-file", envvar="FFRTMP_CA_FILE", metavar="FILE", help="Certificate of the farm's CA."
)
@click.option(
    "--token-file",
    envvar="FFRTMP_TOKEN_FILE",
    metavar="FILE",
    help="File with the token, which remains there. Without it, the token is read from standard "
    "input or asked for, and stored.",
)
@click.option(
    "--client-cert",
    envvar="FFRTMP_CLIENT_CERT",
    metavar="FILE",
    help="Client certificate, if the master requests one.",
)
@click.option(
    "--client-key",
    envvar="FFRTMP_CLIENT_KEY",
    metavar="FILE",
    help="Private key of the client certificate.",
)
@json_output(LoginDocument)
def command(
    name: str,
    *,
    url: str | None,
    ca_file: str | None,
    token_file: str | None,
    client_cert: str | None,
    client_key: str | None,
) -> tuple[LoginDocument, str]:
    """Store the connection to a farm as the profile NAME, and make it the default.

    The connection is checked first. Values that are not given are those of the present profile
    NAME, if there is one with the same URL. The token must have the role viewer, submitter or
    admin.
    """
    if not is_name(name):
        raise CommandError(f"the name of a profile must be {RULES[NAME]}", ExitCode.USAGE)
    stored = read_profiles()
    before = stored.profiles.get(name, NO_PROFILE)
    if url and not is_same_master(url, before.url):
        before = NO_PROFILE
    url, ca_file = url or before.url, ca_file or before.ca_file
    if not url or not ca_file:
        raise CommandError(
            "login needs --url, the URL of the master, and --ca-file, the certificate of the "
            "farm's CA (.secrets/FARM/pki/ca.pem on the control node)",
            ExitCode.USAGE,
        )
    # The file of the profiles is text, which cannot contain all paths.
    given = {
        "ca_file": ca_file,
        "token_file": token_file,
        "client_cert": client_cert,
        "client_key": client_key,
    }
    faults = list(problems(given))
    if faults:
        raise CommandError(". ".join(faults), ExitCode.USAGE)
    token = _ask_token() if token_file is None else read_token(token_file)
    is_kept = token_file not in {None, "-"}
    profile = Profile(
        url=url,
        ca_file=_absolute(ca_file),
        token_file=_absolute(token_file) if is_kept else str(token_path(name)),
        client_cert=_absolute(client_cert) if client_cert else before.client_cert,
        client_key=_absolute(client_key) if client_key else before.client_key,
    )
    with open_master(profile, token=token) as master:
        nodes = len(master.get("/v1/nodes")["items"])
    if not is_kept:
        store_token(name, token)
    file = write_profiles(Profiles(default=name, profiles={**stored.profiles, name: profile}))
    document = LoginDocument(
        profile=name,
        url=url,
        ca_file=profile.ca_file,
        token_file=profile.token_file,
        file=str(file),
        nodes=nodes,
    )
    return document, f"Profile {name} of {url} is stored in {file} and is now the default."


def _ask_token() -> str:
    """Return the token from standard input. On a terminal, it is asked for without an echo."""
    if sys.stdin.isatty():
        answer: str = click.prompt("Token", hide_input=True, err=True)
        return answer.strip()
    token = read_token("-")
    if not token:
        raise CommandError(
            "standard input contains no token. Use --token-file FILE, or: ffrtmp login ... < FILE",
            ExitCode.USAGE,
        )
    return token


def _absolute(path: str | None) -> str:
    return str(Path(path or "").expanduser().absolute())
