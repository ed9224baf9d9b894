"""The commands `ffrtmp profiles`, which list, select and remove stored connections."""

import click
import msgspec

from ffrtmp_cli.command_group import ListGroup
from ffrtmp_cli.examples import examples
from ffrtmp_cli.output import json_output
from ffrtmp_cli.profiles import Profiles, read_profiles, token_path, write_profiles
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


@click.group("profiles", cls=ListGroup)
def command() -> None:
    """List, select and remove profiles. Without a command, list them."""


@command.command("list", epilog=examples("ffrtmp profiles"))
@json_output(ProfilesDocument)
def list_profiles() -> tuple[ProfilesDocument, str]:
    """List the profiles that `ffrtmp login` has stored. The default is marked with *."""
    return _described(read_profiles())


@command.command("use", epilog=examples("ffrtmp profiles use demo"))
@click.argument("name")
@json_output(ProfilesDocument)
def use(name: str) -> tuple[ProfilesDocument, str]:
    """Make a profile the default."""
    stored = read_profiles()
    stored.find(name)
    changed = Profiles(default=name, profiles=stored.profiles)
    write_profiles(changed)
    return _described(changed)


@command.command("remove", epilog=examples("ffrtmp profiles remove other"))
@click.argument("name")
@json_output(ProfilesDocument)
def remove(name: str) -> tuple[ProfilesDocument, str]:
    """Remove a profile, and its token if login has stored it. The token remains valid."""
    stored = read_profiles()
    stored.find(name)
    changed = Profiles(
        default=None if stored.default == name else stored.default,
        profiles={key: profile for key, profile in stored.profiles.items() if key != name},
    )
    write_profiles(changed)
    token_path(name).unlink(missing_ok=True)
    return _described(changed)


def _described(stored: Profiles) -> tuple[ProfilesDocument, str]:
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
