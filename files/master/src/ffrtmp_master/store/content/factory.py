"""Choice of the content stores by the kind of database."""

from sqlalchemy import Engine

from ffrtmp_master.settings import Settings
from ffrtmp_master.store.artifacts import used_by_artifacts, used_by_sources
from ffrtmp_master.store.content.base import ContentStore
from ffrtmp_master.store.content.database import DatabaseContent
from ffrtmp_master.store.content.files import FileContent
from ffrtmp_master.store.engine import close_connections, writing_engine

# Newer content is kept even if no row refers to it, because the row is written after the bytes.
_UNUSED_AFTER_S = 3600.0


class ContentStores:
    """The content stores for artifacts and sources, in a shared database or else in files."""

    artifacts: ContentStore
    sources: ContentStore

    def __init__(self, settings: Settings, password: str | None, reading: Engine) -> None:
        """Open both stores.

        Args:
            settings: The settings of the master.
            password: The password of the database, if there is one.
            reading: The engine to read with.
        """
        # The engine for connections separate from the writer's, if the database is shared.
        self.writing: Engine | None = None
        artifacts_max, sources_max = settings.max_artifact_bytes, settings.max_source_bytes
        if settings.is_shared:
            self.writing = writing_engine(settings.database_url, password)
            self.artifacts = DatabaseContent("artifact", artifacts_max, self.writing, reading)
            self.sources = DatabaseContent("source", sources_max, self.writing, reading)
        else:
            folder = settings.data_dir
            self.artifacts = FileContent(folder / "artifacts", artifacts_max, reading)
            self.sources = FileContent(folder / "sources", sources_max, reading)

    async def remove_unused(self, older_than_s: float = _UNUSED_AFTER_S) -> int:
        """Remove content to which no artifact or source refers. Return the number removed."""
        return await self.artifacts.remove_unused(
            used_by_artifacts, older_than_s
        ) + await self.sources.remove_unused(used_by_sources, older_than_s)

    def close(self) -> None:
        """Close the connections that this object opened. Later operations open others."""
        if self.writing is not None:
            close_connections(self.writing)
