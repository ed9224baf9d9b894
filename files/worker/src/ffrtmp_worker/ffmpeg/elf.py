"""What sort of program a file is, by its first bytes: before anybody starts it."""

import struct
from pathlib import Path

import msgspec

_SELF = Path("/proc/self/exe")
_MAGIC = b"\x7fELF"
_HEADER_BYTES = 20
_BIG_ENDIAN = 2

# The machines that FFmpeg is built for, by their numbers in elf.h.
_MACHINES = {
    3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64",
    243: "riscv", 258: "loongarch",
}  # fmt: skip


class _Kind(msgspec.Struct, frozen=True):
    """Whom a program is for: the width of its words, their order, and the processor."""

    width: int
    order: int
    machine: int

    def __str__(self) -> str:
        bits = {1: "32-bit", 2: "64-bit"}.get(self.width, "unknown")
        return f"{bits} {_MACHINES.get(self.machine, f'machine {self.machine}')}"


def unsupported_reason(binary: Path) -> str:
    """Say why this host cannot run the file as a program of its own, or "" if it may.

    A script is none: its digest says nothing of what it starts. Nor is a program for another
    processor, even where the kernel would run it in an emulator. Raises OSError.
    """
    found, own = _kind(binary), _kind(_SELF)
    if found is None:
        return "it is no program (ELF file), perhaps a script or a packed file"
    return "" if found == own else f"it is built for {found}, and this node is {own}"


def _kind(binary: Path) -> _Kind | None:
    with binary.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        return None
    width, order = head[4], head[5]
    (machine,) = struct.unpack_from(">H" if order == _BIG_ENDIAN else "<H", head, 18)
    return _Kind(width, order, machine)
