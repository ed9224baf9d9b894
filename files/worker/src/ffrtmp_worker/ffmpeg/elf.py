"""Checks of a program's ELF headers, before the program is started."""

import struct
from pathlib import Path

import msgspec

_SELF = Path("/proc/self/exe")
_MAGIC = b"\x7fELF"
_HEADER_BYTES = 20
_BIG_ENDIAN = 2
_WIDE = 2
_INTERPRETER = 3
_LONGEST_HEADER_BYTES = 64
_TYPE_BYTES = 4

# Processors that FFmpeg supports, by their machine numbers in elf.h.
_MACHINES = {
    3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64",
    243: "riscv", 258: "loongarch",
}  # fmt: skip


class _Target(msgspec.Struct, frozen=True):
    """The platform of a program: word width, byte order and processor."""

    width: int
    order: int
    machine: int

    def __str__(self) -> str:
        bits = {1: "32-bit", 2: "64-bit"}.get(self.width, "unknown")
        return f"{bits} {_MACHINES.get(self.machine, f'machine {self.machine}')}"


def unsupported_reason(binary: Path) -> str:
    """Return why the file is not a native program of this host, or "" if it is one.

    A script is refused, because its digest does not identify the programs that it starts. A
    program for another processor is refused even if the kernel would run it in an emulator.
    Raises OSError if the file cannot be read.
    """
    found, own = _read_target(binary), _read_target(_SELF)
    if found is None:
        return "it is not an ELF executable, but perhaps a script or a compressed file"
    return "" if found == own else f"it is built for {found}, and this node is {own}"


def is_dynamic(binary: Path) -> bool:
    """Return whether a native program needs a loader for shared libraries.

    Raises OSError if the file cannot be read, or is truncated.
    """
    with binary.open("rb") as file:
        head = file.read(_LONGEST_HEADER_BYTES).ljust(_LONGEST_HEADER_BYTES, b"\0")
        order = ">" if head[5] == _BIG_ENDIAN else "<"
        # The place of the program headers, and the size and number of them.
        if head[4] == _WIDE:
            (start,), (size, count) = (
                _unpack(f"{order}Q", head, 32),
                _unpack(f"{order}HH", head, 54),
            )
        else:
            (start,), (size, count) = (
                _unpack(f"{order}I", head, 28),
                _unpack(f"{order}HH", head, 42),
            )
        file.seek(start)
        headers = file.read(size * count)
    if len(headers) < max(size * count, 1) or size < _TYPE_BYTES:
        raise OSError(f"{binary} has no complete program headers")
    types = (_unpack(f"{order}I", headers, place)[0] for place in range(0, len(headers), size))
    return _INTERPRETER in types


def _unpack(form: str, content: bytes, place: int) -> tuple[int, ...]:
    return struct.unpack_from(form, content, place)


def _read_target(binary: Path) -> _Target | None:
    with binary.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        return None
    width, order = head[4], head[5]
    (machine,) = struct.unpack_from(">H" if order == _BIG_ENDIAN else "<H", head, 18)
    return _Target(width, order, machine)
