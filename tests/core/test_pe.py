import struct

import pytest

from rackctl.core.pe import MACHINE_ARM64, MACHINE_IA32, MACHINE_X86_64, make_fat, pe_machine, split_fat
from rackctl.errors import RackError


def pe(machine: int, size: int = 300) -> bytes:
    head = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x80) + bytes(0x40)
    return (head + b"PE\0\0" + struct.pack("<H", machine)).ljust(size, b"\x90")


def test_a_fat_binary_has_the_header_that_efifatbin_writes() -> None:
    small, large = pe(MACHINE_IA32, 300), pe(MACHINE_X86_64, 400)
    fat = make_fat([small, large])
    # magic, count, (cputype, 3, offset, length, 0) twice: util/efifatbin.c
    assert fat[:48] == struct.pack("<12I", 0x0EF1FAB9, 2, 7, 3, 48, 300, 0, 0x01000007, 3, 348, 400, 0)
    assert split_fat(fat) == [small, large]
    assert [pe_machine(one) for one in split_fat(fat)] == [0x14C, 0x8664]


@pytest.mark.parametrize("raw", [b"", b"MZ", b"\x7fELF" + bytes(100), b"MZ" + bytes(0x3A) + b"\xff\xff\xff\x7f"])
def test_what_is_no_efi_binary_is_refused(raw: bytes) -> None:
    with pytest.raises(RackError):
        pe_machine(raw)
    with pytest.raises(RackError):
        split_fat(raw)


def test_a_fat_binary_that_is_cut_is_refused() -> None:
    fat = make_fat([pe(MACHINE_IA32), pe(MACHINE_X86_64)])
    for size in (10, 40, len(fat) - 1):
        with pytest.raises(RackError):
            split_fat(fat[:size])


def test_no_mac_reads_a_fat_binary_of_arm64() -> None:
    with pytest.raises(KeyError):
        make_fat([pe(MACHINE_ARM64)])
