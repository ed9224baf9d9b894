"""Matching of nodes to the requirements of jobs."""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

import msgspec
from ffrtmp_shared.node_models import Registration
from ffrtmp_shared.requirements import Requirements
from ffrtmp_shared.scenario import QUALITY_SETTINGS, RECEIVED_LIVE, VMAF_TARGET
from sqlalchemy import Connection

from ffrtmp_master.settings import DEFAULT_MAX_REQUIREMENT_SETS
from ffrtmp_master.store import statements
from ffrtmp_master.store.errors import UnprocessableError
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


_KIND_NEEDS = {
    RECEIVED_LIVE: (
        "support for live scenarios with measure_received "
        "(an RTMP server, and an agent of this release)"
    ),
    VMAF_TARGET: "support for rate points with vmaf (an agent of this release)",
    QUALITY_SETTINGS: "support for suites with quality (an agent of this release)",
}
"""Descriptions of capabilities in the list of kinds that are not kinds."""


def unmet_requirements(requirements: Requirements, node: Registration) -> list[str]:
    """Describe each of the `requirements` that a node does not meet."""
    wanted, facts = requirements, node.facts
    unmet = []
    if wanted.node is not None and wanted.node != node.name:
        unmet.append(f"node {wanted.node}")
    if wanted.encoder is not None and wanted.encoder not in node.encoders:
        unmet.append(f"encoder {wanted.encoder}")
    if wanted.kind is not None and wanted.kind not in node.kinds:
        unmet.append(_KIND_NEEDS.get(wanted.kind) or f"support for {wanted.kind} scenarios")
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


@dataclass
class _Met:
    # The ids of the requirement sets that a node meets. They were determined for this registration
    # (see NodeRow), and from the sets with ids up to `learned`.
    registration: tuple[UUID, int]
    learned: int
    ids: set[int]


class RequirementCatalog:
    """An in-memory cache of requirement sets and of the nodes that meet them.

    A set is active while it has queued jobs, and for a few seconds afterwards. Only active sets are
    matched to nodes, so that claims do not become slower with the number of sets that were ever
    used. The catalog holds only data from the database and may be cleared at any time. The writer's
    thread and the event loop both use it.
    """

    def __init__(self, max_active: int = DEFAULT_MAX_REQUIREMENT_SETS) -> None:
        """Create an empty catalog.

        Args:
            max_active: The maximum number of sets that are active at the same time. Ten times as
                many sets can be stored.
        """
        self._max_active = max_active
        # For each active set, the number of the step in which it became active, and the number of
        # the step in which a job of it was last seen to be queued.
        self._active: dict[int, int] = {}
        self._last_use: dict[int, int] = {}
        self._step = 0
        # The transaction that last used the catalog, and the step before its first use.
        self._last_db: Statements | None = None
        self._db_step = 0
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

    def roll_back(self, *, is_stale: bool = False) -> None:
        """Clear the catalog after a rollback, if it may contain a set that is not stored.

        `is_stale` states that another master has removed a set that this catalog contains.
        """
        with self._lock:
            if not (self._may_need_rollback or is_stale):
                return
            self._may_need_rollback = False
            for cache in (self._sets, self._ids, self._for_node, self._nodes, self._met):
                cache.clear()
            self._active.clear()
            self._last_use.clear()
            self._for_any.clear()
            self._highest = 0

    def load_new(self, db: Statements) -> None:
        """Load the requirement sets that were added to the database since the last call."""
        is_first = self._highest == 0
        stored = db.new_requirements(self._highest)
        if not is_first:
            self.register(stored)
            return
        with self._lock:
            for requirement_id, key in stored:
                self._add(requirement_id, key)
        self.activate(db.queued_requirements())

    @property
    def highest(self) -> int:
        """The highest id of a requirement set that was read from the database."""
        return self._highest

    def register(self, stored: Iterable[tuple[int, str]]) -> None:
        """Add new requirement sets that were read from the database, each given by id and key."""
        found = list(stored)
        with self._lock:
            for requirement_id, key in found:
                self._add(requirement_id, key)
        self.activate(requirement_id for requirement_id, _ in found)

    @property
    def step(self) -> int:
        """A number that increases with each change of the active sets."""
        return self._step

    @property
    def has_inactive(self) -> bool:
        """True if the catalog contains sets that are not active."""
        return len(self._active) < len(self._sets)

    def activate(self, requirement_ids: Iterable[int]) -> None:
        """Record that jobs of requirement sets are queued.

        Sets that are not in the catalog are ignored.
        """
        with self._lock:
            self._step += 1
            for requirement_id in requirement_ids:
                if requirement_id in self._sets:
                    self._last_use[requirement_id] = self._step
                    self._active.setdefault(requirement_id, self._step)

    def deactivate_others(self, queued: Collection[int], step: int) -> None:
        """Deactivate requirement sets without queued jobs.

        Args:
            queued: The sets with queued jobs, as read from the database.
            step: The value of `step` before `queued` was read. Sets that were used since then
                remain active.
        """
        with self._lock:
            for requirement_id in self._active.keys() - set(queued):
                if self._last_use[requirement_id] <= step:
                    del self._active[requirement_id], self._last_use[requirement_id]

    def activation(self, requirement_id: int) -> int | None:
        """Return the step in which a requirement set became active; None if it is not active."""
        return self._active.get(requirement_id)

    def remove(self, requirement_ids: Iterable[int]) -> None:
        """Remove requirement sets that have been removed from the database."""
        with self._lock:
            for requirement_id in requirement_ids:
                removed = self._sets.pop(requirement_id, None)
                if removed is None:
                    continue
                # The same set may have been stored again with another id.
                if self._ids.get(removed.key) == requirement_id:
                    del self._ids[removed.key]
                self._active.pop(requirement_id, None)
                self._last_use.pop(requirement_id, None)
                self._for_any.discard(requirement_id)
                self._for_node.get(removed.requirements.node or "", set()).discard(requirement_id)
                for met in self._met.values():
                    met.ids.discard(requirement_id)

    def remove_missing(self, db: Statements) -> None:
        """Remove the requirement sets that another master has removed from the database.

        Args:
            db: A transaction of the writer. It sees the sets that were stored in the transaction
                itself, and all sets that were in the catalog before.
        """
        with self._lock:
            known = set(self._sets)
        missing = known.difference(db.requirement_ids())
        if missing:
            # A rollback of the transaction may restore a set that it has removed itself.
            self._may_need_rollback = True
            self.remove(missing)

    def load_from(self, connection: Connection) -> None:
        """Load requirement sets as `load_new` does, on a connection that may be read-only."""
        self.load_new(statements.statements_for(connection))

    def id_of(self, db: Statements, requirement_set: RequirementSet) -> int:
        """Return the id of a requirement set for a new job; store the set if it is new.

        Raises UnprocessableError if too many other sets have queued jobs.
        """
        key = requirement_set.key
        if db is not self._last_db:
            # This is the first call in a transaction, because each has an object of its own.
            self._last_db, self._db_step = db, self._step
        requirement_id = self._ids.get(key)
        if requirement_id not in self._active:
            self._check_number(db, is_new=requirement_id is None)
        if requirement_id is None:
            self._may_need_rollback = True
            requirements = msgspec.json.encode(requirement_set.requirements).decode()
            requirement_id = db.requirement(key, requirements, requirement_set.exclusive)
            with self._lock:
                self._store(requirement_id, requirement_set)
        self.activate([requirement_id])
        return requirement_id

    def _check_number(self, db: Statements, *, is_new: bool) -> None:
        """Raise UnprocessableError if no further set can become active, or none can be stored."""
        if len(self._active) >= self._max_active:
            # The jobs of this transaction may not be stored yet.
            self.deactivate_others(db.queued_requirements(), self._db_step)
        if len(self._active) >= self._max_active:
            raise UnprocessableError(
                f"jobs with {self._max_active} different sets of requirements are queued already "
                "(master_max_requirement_sets); wait until some of them have ended, or let jobs "
                "have the same requirements"
            )
        if is_new and len(self._sets) >= 10 * self._max_active:
            self.remove_missing(db)
        if is_new and len(self._sets) >= 10 * self._max_active:
            raise UnprocessableError(
                f"the jobs of this farm have {10 * self._max_active} different sets of "
                "requirements (10 x master_max_requirement_sets); let the master remove old jobs "
                "(master_jobs_keep_days), or let jobs have the same requirements"
            )

    def set_of(self, requirement_id: int) -> RequirementSet:
        """Return the requirement set with an id. Raises KeyError if it is not in the catalog."""
        return self._sets[requirement_id]

    def is_exclusive(self, requirement_id: int) -> bool:
        """Return whether the jobs of a requirement set are exclusive; for an unknown set, True."""
        requirement_set = self._sets.get(requirement_id)
        return requirement_set is None or requirement_set.exclusive

    def met_by(self, nodes: Iterable[NodeRow], db: Statements) -> Mapping[str, frozenset[int]]:
        """Return the ids of the active requirement sets that each node meets, by its name.

        Nodes that registered since the last call are read from the database.
        """
        rows = list(nodes)
        unread = [
            node.name
            for node in rows
            if node.name not in self._met or self._met[node.name].registration != node.registration
        ]
        if unread:
            texts = db.registrations(unread)
            with self._lock:
                for name, text in texts.items():
                    self._nodes[name] = msgspec.json.decode(text, type=Registration)
        with self._lock:
            return {
                node.name: frozenset(self._active.keys() & self._ids_met(node)) for node in rows
            }

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

    def _ids_met(self, row: NodeRow) -> set[int]:
        name = row.name
        met = self._met.get(name)
        if met is None or met.registration != row.registration:
            met = self._met[name] = _Met(row.registration, 0, set())
        if met.learned != self._highest:
            # Unless the node has registered again, only new requirement sets are examined.
            node = self._nodes[name]
            met.ids.update(
                requirement_id
                for requirement_id in (*self._for_any, *self._for_node.get(name, ()))
                if requirement_id > met.learned
                and not unmet_requirements(self._sets[requirement_id].requirements, node)
            )
            met.learned = self._highest
        return met.ids
