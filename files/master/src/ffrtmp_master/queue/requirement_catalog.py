"""Which sets of requirements a node meets."""

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
    """What a job asks of a node, and whether it wants the node for itself."""

    requirements: Requirements
    exclusive: bool

    @property
    def key(self) -> str:
        """Write the set so that equal sets have equal keys."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_key(cls, key: str) -> "RequirementSet":
        """Read a set from its key."""
        return msgspec.json.decode(key, type=cls)


def unmet_requirements(requirements: Requirements, node: Registration) -> list[str]:
    """Say what a node lacks to meet `requirements`; an empty list when it meets them."""
    wanted, facts = requirements, node.facts
    found = []
    if wanted.node is not None and wanted.node != node.name:
        found.append(f"node {wanted.node}")
    if wanted.encoder is not None and wanted.encoder not in node.encoders:
        found.append(f"encoder {wanted.encoder}")
    if wanted.kind is not None and wanted.kind not in node.kinds:
        found.append(f"what a {wanted.kind} needs")
    if wanted.ffmpeg_under_test and not node.ffmpeg_under_test:
        found.append("leave to run a suite's FFmpeg (worker_allow_ffmpeg_under_test)")
    if wanted.architecture is not None and wanted.architecture != facts.architecture:
        found.append(f"architecture {wanted.architecture}")
    if wanted.gpu is not None and not any(wanted.gpu.lower() in gpu.lower() for gpu in facts.gpus):
        found.append(f"GPU {wanted.gpu}")
    if wanted.memory_bytes_min is not None and facts.memory_bytes < wanted.memory_bytes_min:
        found.append(f"{wanted.memory_bytes_min} bytes of memory")
    if wanted.cpu_count_min is not None and facts.cpu_count < wanted.cpu_count_min:
        found.append(f"{wanted.cpu_count_min} CPUs")
    found.extend(
        f"label {name}={value}"
        for name, value in wanted.labels.items()
        if node.labels.get(name) != value
    )
    return found


@dataclass(frozen=True)
class _Met:
    revision: int
    learned: int
    ids: frozenset[int]


class RequirementCatalog:
    """The sets of requirements that jobs have, and the nodes that meet them, kept in memory.

    It only remembers what the database says and may be forgotten at any time. The writer's
    thread and the event loop both ask it.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._lock = threading.Lock()
        self._sets: dict[int, RequirementSet] = {}
        self._ids: dict[str, int] = {}
        self._for_any: set[int] = set()
        self._for_node: dict[str, set[int]] = {}
        self._nodes: dict[str, Registration] = {}
        self._met: dict[str, _Met] = {}
        self._highest = 0
        # Whether a set was stored since the last transaction that was undone.
        self._is_unsure = False

    def roll_back(self) -> None:
        """Forget everything when a transaction that stored a set did not happen."""
        with self._lock:
            if not self._is_unsure:
                return
            self._is_unsure = False
            for kept in (self._sets, self._ids, self._for_node, self._nodes, self._met):
                kept.clear()
            self._for_any.clear()
            self._highest = 0

    def load_new(self, using: Statements) -> None:
        """Learn the sets that are new in the database."""
        self.register(using.new_requirements(self._highest))

    @property
    def highest(self) -> int:
        """The highest id of a set that was read from the database."""
        return self._highest

    def register(self, stored: Iterable[tuple[int, str]]) -> None:
        """Learn sets that were read from the database: id and key."""
        for requirement_id, key in stored:
            with self._lock:
                self._add(requirement_id, key)

    def load_from(self, connection: Connection) -> None:
        """Learn the sets that are new in the database, on a connection that only reads."""
        self.load_new(statements.statements_for(connection))

    def id_of(self, using: Statements, wanted: RequirementSet) -> int:
        """Return the id of a set, storing it when it is new."""
        key = wanted.key
        known = self._ids.get(key)
        if known is not None:
            return known
        self._is_unsure = True
        requirements = msgspec.json.encode(wanted.requirements).decode()
        requirement_id = using.requirement(key, requirements, wanted.exclusive)
        with self._lock:
            self._remember(requirement_id, wanted)
        return requirement_id

    def set_of(self, requirement_id: int) -> RequirementSet:
        """Return a set that was learnt or stored; raises KeyError."""
        return self._sets[requirement_id]

    def is_exclusive(self, requirement_id: int) -> bool:
        """Return whether jobs of a set want their node for themselves; so do those not known."""
        wanted = self._sets.get(requirement_id)
        return wanted is None or wanted.exclusive

    def met_by(self, nodes: Iterable[NodeRow], using: Statements) -> Mapping[str, frozenset[int]]:
        """Return the ids of the sets that each node meets; learn what is new before."""
        wanted = list(nodes)
        unread = [
            node.name
            for node in wanted
            if node.name not in self._met or self._met[node.name].revision != node.revision
        ]
        if unread:
            texts = using.registrations(unread)
            with self._lock:
                for name, text in texts.items():
                    self._nodes[name] = msgspec.json.decode(text, type=Registration)
        with self._lock:
            return {node.name: self._ids_met(node.name, node.revision) for node in wanted}

    def meeting(self, requirement_id: int, names: Iterable[str]) -> list[str]:
        """Return those of the nodes that meet a set, as far as is remembered."""
        with self._lock:
            wanted = self._sets.get(requirement_id)
            if wanted is None:
                return []
            return [
                name
                for name in names
                if name in self._nodes
                and not unmet_requirements(wanted.requirements, self._nodes[name])
            ]

    def node_of(self, requirement_id: int) -> str | None:
        """Return the one node that a set names; None when it names none or is not known."""
        wanted = self._sets.get(requirement_id)
        return None if wanted is None else wanted.requirements.node

    def knows(self, requirement_id: int) -> bool:
        """Return whether a set was learnt."""
        return requirement_id in self._sets

    def _add(self, requirement_id: int, key: str) -> None:
        self._remember(requirement_id, RequirementSet.from_key(key))
        self._highest = max(self._highest, requirement_id)

    def _remember(self, requirement_id: int, wanted: RequirementSet) -> None:
        self._sets[requirement_id] = wanted
        self._ids[wanted.key] = requirement_id
        node = wanted.requirements.node
        if node is None:
            self._for_any.add(requirement_id)
        else:
            self._for_node.setdefault(node, set()).add(requirement_id)

    def _ids_met(self, name: str, revision: int) -> frozenset[int]:
        met = self._met.get(name)
        if met is not None and met.revision == revision and met.learned == self._highest:
            return met.ids
        # Only what is new need be looked at, unless the node has changed.
        fresh = met is None or met.revision != revision
        after = 0 if met is None or fresh else met.learned
        known = frozenset[int]() if met is None or fresh else met.ids
        node = self._nodes[name]
        ids = known | {
            requirement_id
            for requirement_id in (*self._for_any, *self._for_node.get(name, ()))
            if requirement_id > after
            and not unmet_requirements(self._sets[requirement_id].requirements, node)
        }
        self._met[name] = _Met(revision, self._highest, ids)
        return ids
