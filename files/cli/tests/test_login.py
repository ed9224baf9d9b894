"""Tests of ffrtmp login: the stored profile, and connections that are rejected."""

import stat
from pathlib import Path

import msgspec
import pytest
import trustme
from cryptography import x509
from ffrtmp_cli.connection import resolve_profile
from ffrtmp_cli.profiles import Profile, Profiles, write_profiles
from modules.farm import Farm

from .conftest import Document, Ffrtmp


def test_login_stores_the_token_and_the_profile(
    farm: Farm, document: Document, config_home: Path
) -> None:
    found = document(
        "login", "prod", "--url", farm.url, "--ca-file", str(farm.ca_file), stdin=farm.operator
    )
    assert (found["profile"], found["nodes"]) == ("prod", 0)
    token = config_home / "ffmpeg-rtmp" / "tokens" / "prod"
    assert found["token_file"] == str(token)
    assert token.read_text() == f"{farm.operator}\n"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert farm.operator not in Path(found["file"]).read_text()
    assert document("runs")["schema"] == "ffrtmp/runs/1"
    listed = document("profiles")["profiles"]
    assert [(entry["name"], entry["is_default"]) for entry in listed] == [("prod", True)]


def test_login_leaves_a_token_file_where_it_is(
    farm: Farm, profile: Profile, document: Document, config_home: Path
) -> None:
    """The other values are those of the profile before."""
    found = document("login", "test", "--token-file", profile.token_file)
    assert (found["url"], found["token_file"]) == (farm.url, profile.token_file)
    assert not (config_home / "ffmpeg-rtmp" / "tokens").exists()


def test_profiles_are_selected_and_removed(
    farm: Farm, profile: Profile, document: Document, ffrtmp: Ffrtmp, config_home: Path
) -> None:
    document("login", "new", "--url", farm.url, "--ca-file", str(farm.ca_file), stdin=farm.operator)
    assert ffrtmp("profiles").out.split()[2:4] == ["*", "new"]
    used = document("profiles", "use", "test")["profiles"]
    assert [entry["name"] for entry in used if entry["is_default"]] == ["test"]
    token = config_home / "ffmpeg-rtmp" / "tokens" / "new"
    assert token.exists()
    left = document("profiles", "remove", "new")["profiles"]
    assert [entry["name"] for entry in left] == ["test"]
    assert not token.exists()
    assert ffrtmp("profiles", "use", "new").code == 2


def test_login_needs_a_url_and_a_ca(ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("login", stdin="token")
    assert outcome.code == 2
    assert "--url" in outcome.err
    assert "--ca-file" in outcome.err


def test_login_checks_the_token(farm: Farm, ffrtmp: Ffrtmp, config_home: Path) -> None:
    outcome = ffrtmp("login", "--url", farm.url, "--ca-file", str(farm.ca_file), stdin="wrong")
    assert outcome.code == 1
    assert "token" in outcome.err
    assert not (config_home / "ffmpeg-rtmp").exists()


def test_another_farms_ca_is_named_with_the_issuer(
    farm: Farm, ffrtmp: Ffrtmp, tmp_path: Path, config_home: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA(organization_name="Another farm").cert_pem.write_to_path(str(other))
    outcome = ffrtmp("login", "--url", farm.url, "--ca-file", str(other), stdin=farm.operator)
    assert outcome.code == 1
    own = x509.load_pem_x509_certificate(farm.ca_file.read_bytes()).subject
    profiles = x509.load_pem_x509_certificate(other.read_bytes()).subject
    assert own != profiles
    for name in (own, profiles):
        assert name.rfc4514_string() in outcome.err
    assert "ffrtmp login --ca-file" in outcome.err
    assert not (config_home / "ffmpeg-rtmp").exists()


def test_a_profile_with_another_farms_ca_is_rejected(
    farm: Farm, profile: Profile, ffrtmp: Ffrtmp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAs of the same name are distinguished by their keys."""
    other = tmp_path / "other.pem"
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(other))
    monkeypatch.setenv("FFRTMP_CA_FILE", str(other))
    outcome = ffrtmp("runs")
    assert outcome.code == 1
    certificate = x509.load_pem_x509_certificate(other.read_bytes())
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert identifier.value.digest[:8].hex(":") in outcome.err
    assert outcome.err.count("(key ") == 2


def test_a_farm_that_requires_client_certificates(
    document: Document, ffrtmp: Ffrtmp, tmp_path: Path, template_file: Path
) -> None:
    farm = Farm(tmp_path)
    farm.install(template_file)
    farm.require_certificates()
    farm.start()
    try:
        connection = ("login", "own", "--url", farm.url, "--ca-file", str(farm.ca_file))
        refused = ffrtmp(*connection, stdin=farm.operator)
        assert refused.code == 1
        assert "set --client-cert and --client-key" in refused.err
        own = ("--client-cert", str(tmp_path / "host.pem"), "--client-key", "host.key")
        unusable = ffrtmp(*connection, *own, stdin=farm.operator)
        assert "--client-cert" in unusable.err
        own = (*own[:3], str(tmp_path / "host.key"))
        assert document(*connection, *own, stdin=farm.operator)["profile"] == "own"
        assert document("runs")["runs"] == []
        other = tmp_path / "other.pem"
        trustme.CA(organization_name="Another farm").cert_pem.write_to_path(str(other))
        named = ffrtmp("runs", "--ca-file", str(other))
        assert "O=Another farm" in named.err
        assert "it was issued by" in named.err
    finally:
        farm.stop()


def test_commands_without_a_profile_name_the_remedy(ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("runs")
    assert outcome.code == 2
    assert "ffrtmp login --url" in outcome.err


def test_an_unknown_profile_is_named_with_those_that_exist(
    profile: Profile, ffrtmp: Ffrtmp
) -> None:
    outcome = ffrtmp("runs", "--profile", "absent")
    assert outcome.code == 2
    assert "no profile absent (known: test)" in outcome.err


def test_a_damaged_profile_file_is_reported(ffrtmp: Ffrtmp, config_home: Path) -> None:
    file = config_home / "ffmpeg-rtmp" / "profiles.toml"
    file.parent.mkdir()
    file.write_text("default = 3\n")
    outcome = ffrtmp("runs")
    assert outcome.code == 1
    assert str(file) in outcome.err


def test_options_need_no_profile(farm: Farm, ffrtmp: Ffrtmp, tmp_path: Path) -> None:
    outcome = ffrtmp(
        "runs", "--url", farm.url, "--ca-file", str(farm.ca_file), "--token-file", "-",
        stdin=f"{farm.operator}\n",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("by_environment", [False, True])
def test_the_token_of_a_profile_is_not_sent_to_another_master(
    ffrtmp: Ffrtmp,
    profile: Profile,
    farm: Farm,
    monkeypatch: pytest.MonkeyPatch,
    by_environment: bool,
) -> None:
    stored = msgspec.structs.replace(profile, url="https://another-farm.example:8080")
    write_profiles(Profiles(default="test", profiles={"test": stored}))
    options = ("--url", farm.url)
    if by_environment:
        monkeypatch.setenv("FFRTMP_URL", farm.url)
        options = ()
    outcome = ffrtmp("runs", *options, "--ca-file", str(farm.ca_file))
    assert outcome.code == 2
    assert "is not the URL of the profile" in outcome.err
    assert "Set --token-file" in outcome.err
    assert "--ca-file, --token-file" in ffrtmp("runs", *options).err


def test_nothing_of_a_profile_is_used_for_another_master(profile: Profile) -> None:
    stored = msgspec.structs.replace(profile, client_cert="own.pem", client_key="own.key")
    write_profiles(Profiles(default="test", profiles={"test": stored}))
    given: dict[str, str | None] = {"profile": "test", "client_cert": None, "client_key": None}
    other = resolve_profile(
        **given, url="https://other:8080", ca_file="other.pem", token_file="other"
    )
    assert other == Profile(url="https://other:8080", ca_file="other.pem", token_file="other")
    same = resolve_profile(**given, url=f"{profile.url}/", ca_file=None, token_file=None)
    assert (same.token_file, same.client_key) == (profile.token_file, "own.key")


def test_login_to_another_master_keeps_no_certificate(profile: Profile, ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("login", "test", "--url", "https://other:8080", stdin="token")
    assert outcome.code == 2
    assert "--ca-file" in outcome.err


def test_a_missing_token_file_is_reported(farm: Farm, profile: Profile, ffrtmp: Ffrtmp) -> None:
    outcome = ffrtmp("runs", "--token-file", "absent")
    assert outcome.code == 1
    assert "the token file absent cannot be read" in outcome.err
