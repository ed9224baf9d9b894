"""Profiles: connections to farms by name, which `ffrtmp login` stores in a TOML file.

The file `profiles.toml` contains the paths of certificates and tokens, but no secrets:

    default = "prod"

    [profiles.prod]
    url = "https://master1:8080"
    ca_file = "/etc/ffmpeg-rtmp/pki/ca.pem"
    token_file = "/etc/ffmpeg-rtmp/operator.token"
"""

import json
import os
import tomllib
from pathlib import Path

import msgspec
from ffrtmp_shared.atomic_file import write_atomically

from ffrtmp_cli.errors import CommandError, ExitCode

_FILE = "profiles.toml"
_MAX_BYTES = 1_000_000


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The connection to a farm.

    Attributes:
        url: The URL of the master.
        ca_file: The path of the certificate of the farm's CA.
        token_file: The path of the file with the token.
        client_cert: The path of the client certificate, if the master requests one.
        client_key: The path of the private key of `client_cert`.
    """

    url: str
    ca_file: str
    token_file: str
    client_cert: str | None = None
    client_key: str | None = None


NO_PROFILE = Profile(url="", ca_file="", token_file="")
"""A connection without values."""


class Profiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All profiles by name, and the name of the one that is used if none is named."""

    default: str | None = None
    profiles: dict[str, Profile] = {}

    def find(self, name: str) -> Profile:
        """Return the profile with this name. Raises CommandError if there is none."""
        found = self.profiles.get(name)
        if found is None:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise CommandError(
                f"there is no profile {name} (known: {known}). Create it: "
                f"ffrtmp login {name} --url https://HOST:8080 --ca-file FILE",
                ExitCode.USAGE,
            )
        return found


def config_directory() -> Path:
    """Return the directory with the profiles and the tokens of the user."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification of base directories requires that a relative path is ignored.
    root = Path(base) if base.startswith("/") else Path.home() / ".config"
    return root / "ffmpeg-rtmp"


def token_path(name: str) -> Path:
    """Return the path of the file in which `login` stores the token of a profile."""
    return config_directory() / "tokens" / name


def read_profiles() -> Profiles:
    """Return the stored profiles, of which there may be none. Raises CommandError."""
    file = config_directory() / _FILE
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        # A longer file was not written by login, and is cut in a way that makes it invalid.
        return msgspec.convert(tomllib.loads(content[:_MAX_BYTES].decode()), Profiles)
    except FileNotFoundError:
        return Profiles()
    except (OSError, ValueError) as error:
        raise CommandError(
            f"{file} cannot be read: {error}. Correct the file, or remove it and run ffrtmp login"
        ) from error


def write_profiles(profiles: Profiles) -> Path:
    """Store the profiles and return the path of their file. Raises OSError."""
    file = config_directory() / _FILE
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, _as_toml(profiles).encode(), is_durable=True)
    return file


def store_token(name: str, token: str) -> Path:
    """Store the token of a profile in a file that only the user can read. Raises OSError."""
    file = token_path(name)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, f"{token}\n".encode(), is_durable=True)
    return file


def _as_toml(profiles: Profiles) -> str:
    lines = [] if profiles.default is None else [f"default = {_text(profiles.default)}"]
    for name, profile in sorted(profiles.profiles.items()):
        lines += ["", f"[profiles.{_text(name)}]"]
        values = msgspec.structs.asdict(profile)
        lines += [f"{key} = {_text(value)}" for key, value in values.items() if value is not None]
    return "\n".join(lines).lstrip("\n") + "\n"


def _text(value: str) -> str:
    """Return a string of TOML. Its escapes of characters are those of JSON."""
    return json.dumps(value, ensure_ascii=False)
