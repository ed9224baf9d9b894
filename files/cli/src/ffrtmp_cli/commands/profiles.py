"""The command `ffrtmp profiles`, which lists the stored connections."""

import click
import msgspec

from ffrtmp_cli.examples import examples
from ffrtmp_cli.output import json_output
from ffrtmp_cli.profiles import read_profiles
from ffrtmp_cli.text_table import text_table


class ProfileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A profile.

    Attributes:
        name: The name of the profile.
        is_default: Whether commands use it if no profile is named.
        url: The URL of the master.
        ca_file: The path of the certificate of the farm's CA.
        token_file: The path of the file with the token.
    """

    name: str
    is_default: bool
    url: str
    ca_file: str
    token_file: str


class ProfilesDocument(msgspec.Struct, tag_field="schema", tag="ffrtmp/profiles/1", kw_only=True):
    """The stored profiles.

    Attributes:
        profiles: The profiles, sorted by name.
    """

    profiles: tuple[ProfileEntry, ...]


@click.command("profiles", epilog=examples("ffrtmp profiles"))
@json_output(ProfilesDocument)
def command() -> tuple[ProfilesDocument, str]:
    """List the profiles that `ffrtmp login` has stored. The default is marked with *."""
    stored = read_profiles()
    entries = [
        ProfileEntry(
            name=name,
            is_default=name == stored.default,
            url=profile.url,
            ca_file=profile.ca_file,
            token_file=profile.token_file,
        )
        for name, profile in sorted(stored.profiles.items())
    ]
    rows = [("*" if entry.is_default else "", entry.name, entry.url) for entry in entries]
    text = text_table(("", "profile", "master"), rows) if rows else "There are no profiles."
    return ProfilesDocument(profiles=tuple(entries)), text
