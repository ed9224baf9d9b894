"""Connection of a command to a master: its options, and the errors that end the command."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
from ffrtmp_client.api import Master
from ffrtmp_client.errors import ApiError, CertificateError, RefusedError

from ffrtmp_cli.errors import CommandError, ExitCode
from ffrtmp_cli.profiles import NO_PROFILE, Profile, read_profiles

F = TypeVar("F", bound=Callable[..., Any])

TOKEN_FILE_MAX_BYTES = 16_384
"""Maximum size of a file with a token, in bytes."""

IS_CONNECTED = "is_connected"
"""The attribute of a function of a command that connects to a master."""

_SHOWN = {
    "master_url": "--url",
    "ca_file": "--ca-file",
    "client_cert": "--client-cert",
    "client_key": "--client-key",
    "timeout_s": "--timeout-s",
    "token": "the token",
}
"""Names of the options, with which the client's messages replace those of the Ansible modules."""

_NOT_FOUND = 404
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_HTTPS_PORT = 443

CONNECTION_OPTIONS = (
    click.Option(
        ["--profile"],
        envvar="FFRTMP_PROFILE",
        metavar="NAME",
        help="Profile of the farm.  [default: that of the last login]",
    ),
    click.Option(
        ["--url"], envvar="FFRTMP_URL", metavar="URL", help="URL of the master, with https."
    ),
    click.Option(
        ["--ca-file"],
        envvar="FFRTMP_CA_FILE",
        metavar="FILE",
        help="Certificate of the farm's CA.",
    ),
    click.Option(
        ["--token-file"],
        envvar="FFRTMP_TOKEN_FILE",
        metavar="FILE",
        help="File with the token; - is standard input.",
    ),
    click.Option(
        ["--client-cert"],
        envvar="FFRTMP_CLIENT_CERT",
        metavar="FILE",
        help="Client certificate, if the master requests one.",
    ),
    click.Option(
        ["--client-key"],
        envvar="FFRTMP_CLIENT_KEY",
        metavar="FILE",
        help="Private key of the client certificate.",
    ),
    click.Option(
        ["--timeout-s"],
        envvar="FFRTMP_TIMEOUT_S",
        type=click.FloatRange(0.1, 3600),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Timeout of each network operation.",
    ),
)
"""The options of every command that connects to a master."""

_NAMES = ("profile", "url", "ca_file", "token_file", "client_cert", "client_key", "timeout_s")


def connectable(function: F) -> Callable[..., Any]:
    """Add the options of the connection to a function, and pass it `connect`.

    `connect` opens the connection and is a context manager that yields the master. An error of the
    connection or of the master ends the command with a message.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        given = {name: options.pop(name) for name in _NAMES}
        timeout_s = given.pop("timeout_s")

        def connect() -> contextlib.AbstractContextManager[Master]:
            return open_master(resolve_profile(**given), timeout_s)

        return function(*arguments, connect=connect, **options)

    call.__dict__["__click_params__"] = [
        *reversed(CONNECTION_OPTIONS),
        *call.__dict__.get("__click_params__", []),
    ]
    return call


def connected(function: F) -> Callable[..., Any]:
    """Add the options of the connection to a function, and pass it the connection as `master`.

    An error of the connection or of the master ends the command with a message.
    """

    @functools.wraps(function)
    def call(
        *arguments: Any,
        connect: Callable[[], contextlib.AbstractContextManager[Master]],
        **options: Any,
    ) -> Any:
        with connect() as master:
            return function(*arguments, master=master, **options)

    decorated = connectable(call)
    setattr(decorated, IS_CONNECTED, True)
    return decorated


def resolve_profile(
    *,
    profile: str | None,
    url: str | None,
    ca_file: str | None,
    token_file: str | None,
    client_cert: str | None,
    client_key: str | None,
) -> Profile:
    """Return the connection: that of a profile, with the values that options replace.

    If `url` is that of another master, nothing of the profile is used: its token must not be sent
    to another farm.

    Args:
        profile: Name of the profile. If it is None, the default is used.
        url: URL of the master.
        ca_file: Path of the certificate of the CA.
        token_file: Path of the file with the token.
        client_cert: Path of the client certificate.
        client_key: Path of its private key.

    Raises:
        CommandError: There is no such profile, or a value is missing.
    """
    base = NO_PROFILE
    # If options replace all values, a profile of another farm must not add its certificate.
    if profile is not None or None in (url, ca_file, token_file):
        stored = read_profiles()
        name = profile or stored.default
        base = NO_PROFILE if name is None else stored.find(name)
    is_other = bool(url and base.url) and not is_same_master(str(url), base.url)
    if is_other:
        base = NO_PROFILE
    found = Profile(
        url=url or base.url,
        ca_file=ca_file or base.ca_file,
        token_file=token_file or base.token_file,
        client_cert=client_cert or base.client_cert,
        client_key=client_key or base.client_key,
    )
    missing = [
        option
        for option, value in (
            ("--url", found.url),
            ("--ca-file", found.ca_file),
            ("--token-file", found.token_file),
        )
        if not value
    ]
    if missing and is_other:
        raise CommandError(
            f"--url {url} is not the URL of the profile, whose token and certificates are "
            f"therefore not used. Set {', '.join(missing)}, or select another --profile",
            ExitCode.USAGE,
        )
    if missing:
        raise CommandError(
            "no farm is selected. Store its connection: ffrtmp login --url https://HOST:8080 "
            f"--ca-file FILE. Or set {', '.join(missing)}",
            ExitCode.USAGE,
        )
    return found


def is_same_master(url: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host, port and path."""
    try:
        return _parts(url) == _parts(other)
    except ValueError:
        return False


def _parts(url: str) -> tuple[str, str | None, int, str]:
    """Return the parts of a URL that select a master. Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _HTTPS_PORT, parts.path.rstrip("/")


def read_token(path: str) -> str:
    """Return the token in a file, or in standard input if the path is `-`.

    White space at its beginning and end is removed. Raises CommandError if it cannot be read.
    """
    try:
        if path == "-":
            content = sys.stdin.buffer.read(TOKEN_FILE_MAX_BYTES)
        else:
            with Path(path).open("rb") as opened:
                content = opened.read(TOKEN_FILE_MAX_BYTES)
        return content.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CommandError(
            f"the token file {path} cannot be read: {reason}. Set --token-file, or run ffrtmp login"
        ) from error


@contextlib.contextmanager
def open_master(
    profile: Profile, timeout_s: float = 30.0, token: str | None = None
) -> Iterator[Master]:
    """Yield a client of the master of a profile.

    Args:
        profile: The connection.
        timeout_s: Timeout of each network operation, in seconds.
        token: The token, instead of that in the file of the profile.

    Raises:
        CommandError: The body failed because of the master, the network or a file.
    """
    token = read_token(profile.token_file) if token is None else token
    try:
        master = Master(
            profile.url,
            token,
            profile.ca_file,
            timeout_s,
            client_cert=profile.client_cert,
            client_key=profile.client_key,
            shown=_SHOWN,
        )
        with contextlib.closing(master):
            yield master
    except CertificateError as error:
        # Imported here, because the library of certificates is needed only for this message.
        from ffrtmp_cli.certificate_names import explain_rejection  # noqa: PLC0415

        raise CommandError(explain_rejection(profile, error)) from error
    except RefusedError as error:
        raise _refusal(profile, error) from error
    except ApiError as error:
        raise CommandError(str(error)) from error
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # The functions that interpret responses expect the forms that the API specifies.
        raise CommandError(
            f"a response of {profile.url} does not have the expected form "
            f"({type(error).__name__}: {error}). Check that --url is the farm's master, and that "
            "it has the release of this command"
        ) from error


def _refusal(profile: Profile, error: RefusedError) -> CommandError:
    """Return the error for a request that the master has refused."""
    message, *details = str(error).splitlines() or [f"the master answered {error.status}"]
    if error.status == _UNAUTHORIZED:
        message += f". Replace the token in {profile.token_file}, or run ffrtmp login"
    elif error.status == _FORBIDDEN:
        message += ". Use a token with this role: ffrtmp login, or --token-file"
    code = ExitCode.NOT_FOUND if error.status == _NOT_FOUND else ExitCode.FAILED
    return CommandError(message, code, tuple(details), error.status)
