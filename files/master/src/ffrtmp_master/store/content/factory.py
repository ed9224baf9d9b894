"""Choice of the content stores by the kind of database."""

from sqlalchemy import Engine

from ffrtmp_master.settings import Settings
from ffrtmp_master.store.artifacts import used_by_artifacts, used_by_sources
from ffrtmp_master.store.content.base import ContentStore
from ffrtmp_master.store.content.database import DatabaseContent
from ffrtmp_master.store.content.files import FileContent
from ffrtmp_master.store.engine import writing_engine

# Newer content is never removed, because its row is written right after its bytes.
_UNUSED_AFTER_S = 3600.0


class ContentStores:
    """The stores of artifacts and sources: a shared database, otherwise files."""

    artifacts: ContentStore
    sources: ContentStore

    def __init__(self, settings: Settings, password: str | None, reading: Engine) -> None:
        """Open both stores.

        Args:
            settings: The settings of the master.
            password: The password of the database, if there is one.
            reading: The engine to read with.
        """
        # Connections separate from the writer's, for databases that allow several writers.
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
        """Remove content that no artifact and no source refers to; return the number removed."""
        return await self.artifacts.remove_unused(
            used_by_artifacts, older_than_s
        ) + await self.sources.remove_unused(used_by_sources, older_than_s)

    def close(self) -> None:
        """Close the connections that this object opened."""
        if self.writing is not None:
            self.writing.dispose()
