"""Fixtures for databases.

A test that uses one of them runs twice, on SQLite and on PostgreSQL, unless it is marked with
`only("sqlite")` or `only("postgresql")`. Each conftest.py imports the fixtures that its tests use.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import factories
import msgspec
import postgresql
import pytest
from database_pool import DatabasePool
from ffrtmp_master.clock import utc_now
from ffrtmp_master.settings import Settings
from ffrtmp_master.store import credentials, epochs, migrate
from ffrtmp_master.store.engine import reading_engine, writing_engine
from postgresql import Cluster, Database
from session_files import make_once
from sqlalchemy import Engine, text

ENGINES = ("sqlite", "postgresql")

_TEMPLATE = "ffrtmp_template"

_started: list[tuple[Cluster, DatabasePool]] = []


def only(engine: str) -> pytest.MarkDecorator:
    """Return a mark for a test that runs on one engine only."""
    return pytest.mark.parametrize("engine", [engine], indirect=True)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The database engine of the test."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that all tests of this process share; each test has its own database."""
    if _started:
        # The fixture of another folder has started the server, and stops it after the last test.
        yield _started[0][0]
        return
    with postgresql.running() as started:
        database = started.create(_TEMPLATE)
        fill(database)
        _started.append((started, DatabasePool(started, _TEMPLATE)))
        yield started
        _started.clear()


@pytest.fixture(scope="session")
def template_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and the credentials, which serves as a template."""
    return make_once(
        tmp_path_factory, "template.db", lambda file: fill(Database(f"sqlite:///{file}"))
    )


@pytest.fixture
def database(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[Database]:
    """A separate database for the test.

    It has the schema and the credentials if the test uses `migrated`; otherwise it is empty.
    """
    is_empty = "migrated" not in request.fixturenames
    if engine == "sqlite":
        file = tmp_path / "farm.db"
        if not is_empty:
            shutil.copy(request.getfixturevalue("template_file"), file)
        yield Database(f"sqlite:///{file}")
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    if is_empty:
        name = f"test_{uuid4().hex}"
        yield cluster.create(name)
        cluster.drop(name)
        return
    with _started[0][1].lend() as pooled:
        yield pooled


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    """Settings for an empty database."""
    return settings_for(database, tmp_path)


@pytest.fixture
def migrated(settings: Settings) -> Settings:
    """Settings for a database with the schema and the credentials."""
    return settings


@pytest.fixture
def new_database(
    request: pytest.FixtureRequest, engine: str, tmp_path: Path
) -> Callable[[], AbstractContextManager[Database]]:
    """A function that creates further databases with the schema and the credentials."""

    @contextmanager
    def create() -> Iterator[Database]:
        name = f"test_{uuid4().hex}"
        if engine == "sqlite":
            file = tmp_path / f"{name}.db"
            shutil.copy(request.getfixturevalue("template_file"), file)
            yield Database(f"sqlite:///{file}")
            return
        request.getfixturevalue("cluster")
        with _started[0][1].lend() as pooled:
            yield pooled

    return create


def settings_for(database: Database, folder: Path) -> Settings:
    """Return settings of a master that stores its files in a folder."""
    return Settings(
        listen_address="127.0.0.1",
        certificate_file=folder / "certificate.pem",
        key_file=folder / "key.pem",
        database_url=database.url,
        database_password_file=database.password_file,
        data_dir=folder,
        max_artifact_bytes=100_000,
        max_source_bytes=100_000,
    )


def fill(database: Database) -> None:
    """Migrate an empty database and add the credentials of the factories."""
    with writing(database) as engine:
        migrate.upgrade(engine)
        with engine.connect() as connection, connection.begin():
            credentials.sync(connection, factories.HOLDERS)


def begin_new_epoch(settings: Settings) -> None:
    """Begin a new epoch of a database, as after a restart of the database server."""
    with writing(settings) as engine, engine.begin() as connection:
        if settings.is_shared:
            connection.execute(text("UPDATE epochs SET server = 'an earlier process'"))
        epochs.begin_epoch(connection, utc_now(), is_start=True)


@contextmanager
def writing(source: Settings | Database) -> Iterator[Engine]:
    """Yield an engine that can write, and close it at the end of the context."""
    url, password = _url_and_password(source)
    opened = writing_engine(url, password)
    try:
        yield opened
    finally:
        opened.dispose()


@contextmanager
def reading(source: Settings | Database) -> Iterator[Engine]:
    """Yield an engine that cannot write, and close it at the end of the context."""
    url, password = _url_and_password(source)
    opened = reading_engine(url, password)
    try:
        yield opened
    finally:
        opened.dispose()


def _url_and_password(source: Settings | Database) -> tuple[str, str | None]:
    if isinstance(source, Settings):
        return source.database_url, source.database_password()
    if source.password_file is None:
        return source.url, None
    return source.url, source.password_file.read_text(encoding="utf-8").strip()


def as_document(settings: Settings, **changed: object) -> dict[str, object]:
    """Return settings, with the given changes, in the form of the settings file."""
    plain: dict[str, object] = msgspec.to_builtins(settings, enc_hook=str)
    return plain | changed
