"""Where the bytes of sources and artifacts are: the kind of database says it."""

from sqlalchemy import Engine

from ffrtmp_master.settings import Settings
from ffrtmp_master.store.artifacts import used_by_artifacts, used_by_sources
from ffrtmp_master.store.content.base import ContentStore
from ffrtmp_master.store.content.database import DatabaseContent
from ffrtmp_master.store.content.files import FileContent
from ffrtmp_master.store.engine import writing_engine

# An upload's row is written right after its bytes; so long nobody takes it for unused.
_UNUSED_AFTER_S = 3600.0


class ContentStores:
    """Both kinds of content: in the database where masters share one, else in files."""

    artifacts: ContentStore
    sources: ContentStore

    def __init__(self, settings: Settings, password: str | None, reading: Engine) -> None:
        """Open both; `reading` reads what is used."""
        # Connections beside the writer's, where a database takes more than one that writes.
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
        """Remove what no artifact and no source refers to; count what went."""
        return await self.artifacts.remove_unused(
            used_by_artifacts, older_than_s
        ) + await self.sources.remove_unused(used_by_sources, older_than_s)

    def close(self) -> None:
        """Close the connections that are its own."""
        if self.writing is not None:
            self.writing.dispose()
