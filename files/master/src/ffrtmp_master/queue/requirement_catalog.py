"""Matching of nodes to the requirements of jobs."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
from ffrtmp_shared.models import Registration
from ffrtmp_shared.requirements import Requirements
from sqlalchemy import Connection

from ffrtmp_master.store import statements
from ffrtmp_master.store.rows import NodeRow
from ffrtmp_master.store.statements import Statements


class RequirementSet(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The requirements of a job on its node, and whether the job needs the node exclusively."""

    requirements: Requirements
    exclusive: bool

    @property
    def key(self) -> str:
        """The canonical JSON text of the set; equal sets have equal keys."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_key(cls, key: str) -> "RequirementSet":
        """Decode a set from its key."""
        return msgspec.json.decode(key, type=cls)


def unmet_requirements(requirements: Requirements, node: Registration) -> list[str]:
    """Describe each of the `requirements` that a node does not meet."""
    wanted, facts = requirements, node.facts
    unmet = []
    if wanted.node is not None and wanted.node != node.name:
        unmet.append(f"node {wanted.node}")
    if wanted.encoder is not None and wanted.encoder not in node.encoders:
        unmet.append(f"encoder {wanted.encoder}")
    if wanted.kind is not None and wanted.kind not in node.kinds:
        unmet.append(f"support for {wanted.kind} scenarios")
    if wanted.ffmpeg_under_test and not node.ffmpeg_under_test:
        unmet.append("permission to run a suite's FFmpeg (worker_allow_ffmpeg_under_test)")
    if wanted.architecture is not None and wanted.architecture != facts.architecture:
        unmet.append(f"architecture {wanted.architecture}")
    if wanted.gpu is not None and not any(wanted.gpu.lower() in gpu.lower() for gpu in facts.gpus):
        unmet.append(f"GPU {wanted.gpu}")
    if wanted.memory_bytes_min is not None and facts.memory_bytes < wanted.memory_bytes_min:
        unmet.append(f"{wanted.memory_bytes_min} bytes of memory")
    if wanted.cpu_count_min is not None and facts.cpu_count < wanted.cpu_count_min:
        unmet.append(f"{wanted.cpu_count_min} CPUs")
    unmet.extend(
        f"label {name}={value}"
        for name, value in wanted.labels.items()
        if node.labels.get(name) != value
    )
    return unmet


@dataclass(frozen=True)
class _Met:
    # The ids of the requirement sets that a node meets. They were determined for this revision of
    # its registration, and from the sets with ids up to `learned`.
    revision: int
    learned: int
    ids: frozenset[int]


class RequirementCatalog:
    """An in-memory cache of requirement sets and of the nodes that meet them.

    It holds only data from the database and may be cleared at any time. The writer's thread and the
    event loop both use it.
    """

    def __init__(self) -> None:
        """Create an empty catalog."""
        self._lock = threading.Lock()
        self._sets: dict[int, RequirementSet] = {}
        self._ids: dict[str, int] = {}
        self._for_any: set[int] = set()
        self._for_node: dict[str, set[int]] = {}
        self._nodes: dict[str, Registration] = {}
        self._met: dict[str, _Met] = {}
        self._highest = 0
        # Whether a set was stored since the last rollback.
        self._may_need_rollback = False

    def roll_back(self) -> None:
        """Clear the catalog after a rollback, if it may contain a set that was rolled back."""
        with self._lock:
            if not self._may_need_rollback:
                return
            self._may_need_rollback = False
            for cache in (self._sets, self._ids, self._for_node, self._nodes, self._met):
                cache.clear()
            self._for_any.clear()
            self._highest = 0

    def load_new(self, db: Statements) -> None:
        """Load the requirement sets that were added to the database since the last call."""
        self.register(db.new_requirements(self._highest))

    @property
    def highest(self) -> int:
        """The highest id of a requirement set that was read from the database."""
        return self._highest

    def register(self, stored: Iterable[tuple[int, str]]) -> None:
        """Add requirement sets that were read from the database. Each is given by id and key."""
        for requirement_id, key in stored:
            with self._lock:
                self._add(requirement_id, key)

    def load_from(self, connection: Connection) -> None:
        """Load requirement sets as `load_new` does, on a connection that may be read-only."""
        self.load_new(statements.statements_for(connection))

    def id_of(self, db: Statements, requirement_set: RequirementSet) -> int:
        """Return the id of a requirement set; store the set if it is new."""
        key = requirement_set.key
        known = self._ids.get(key)
        if known is not None:
            return known
        self._may_need_rollback = True
        requirements = msgspec.json.encode(requirement_set.requirements).decode()
        requirement_id = db.requirement(key, requirements, requirement_set.exclusive)
        with self._lock:
            self._store(requirement_id, requirement_set)
        return requirement_id

    def set_of(self, requirement_id: int) -> RequirementSet:
        """Return the requirement set with an id. Raises KeyError if it is not in the catalog."""
        return self._sets[requirement_id]

    def is_exclusive(self, requirement_id: int) -> bool:
        """Return whether the jobs of a requirement set are exclusive; for an unknown set, True."""
        requirement_set = self._sets.get(requirement_id)
        return requirement_set is None or requirement_set.exclusive

    def met_by(self, nodes: Iterable[NodeRow], db: Statements) -> Mapping[str, frozenset[int]]:
        """Return the ids of the requirement sets that each node meets, by the name of the node.

        Nodes that registered since the last call are read from the database.
        """
        rows = list(nodes)
        unread = [
            node.name
            for node in rows
            if node.name not in self._met or self._met[node.name].revision != node.revision
        ]
        if unread:
            texts = db.registrations(unread)
            with self._lock:
                for name, text in texts.items():
                    self._nodes[name] = msgspec.json.decode(text, type=Registration)
        with self._lock:
            return {node.name: self._ids_met(node.name, node.revision) for node in rows}

    def meeting(self, requirement_id: int, names: Iterable[str]) -> list[str]:
        """Return those of the named nodes that are cached and meet a requirement set."""
        with self._lock:
            requirement_set = self._sets.get(requirement_id)
            if requirement_set is None:
                return []
            return [
                name
                for name in names
                if name in self._nodes
                and not unmet_requirements(requirement_set.requirements, self._nodes[name])
            ]

    def node_of(self, requirement_id: int) -> str | None:
        """Return the node that a requirement set requires; None if there is none or no such set."""
        requirement_set = self._sets.get(requirement_id)
        return None if requirement_set is None else requirement_set.requirements.node

    def knows(self, requirement_id: int) -> bool:
        """Return whether the catalog holds a requirement set."""
        return requirement_id in self._sets

    def _add(self, requirement_id: int, key: str) -> None:
        self._store(requirement_id, RequirementSet.from_key(key))
        self._highest = max(self._highest, requirement_id)

    def _store(self, requirement_id: int, requirement_set: RequirementSet) -> None:
        self._sets[requirement_id] = requirement_set
        self._ids[requirement_set.key] = requirement_id
        node = requirement_set.requirements.node
        if node is None:
            self._for_any.add(requirement_id)
        else:
            self._for_node.setdefault(node, set()).add(requirement_id)

    def _ids_met(self, name: str, revision: int) -> frozenset[int]:
        met = self._met.get(name)
        if met is not None and met.revision == revision and met.learned == self._highest:
            return met.ids
        # Unless the node has registered again, only new requirement sets are examined.
        is_new = met is None or met.revision != revision
        examined_up_to = 0 if met is None or is_new else met.learned
        met_ids = frozenset[int]() if met is None or is_new else met.ids
        node = self._nodes[name]
        ids = met_ids | {
            requirement_id
            for requirement_id in (*self._for_any, *self._for_node.get(name, ()))
            if requirement_id > examined_up_to
            and not unmet_requirements(self._sets[requirement_id].requirements, node)
        }
        self._met[name] = _Met(revision, self._highest, ids)
        return ids
