"""Processors of every architecture have a name, and a machine has its processor's."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from support.machines import write

from bench.machine import describe
from bench.machine.facts import cpu_name, name_in


def x86(name: str, family: int, model: int) -> str:
    return (
        f"processor\t: 0\nvendor_id\t: AnyMaker\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: {name}\n"
        "stepping\t: 1\ncpu MHz\t\t: 2600.000\nflags\t\t: fpu vme\n\nprocessor\t: 1\nmodel name\t: Another\n"
    )


def arm(*cores: tuple[int, int, int], name: str = "") -> str:
    """Implementer, part and variant of each processor."""
    return "".join(
        f"processor\t: {number}\n{name}BogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: {maker:#04x}\n"
        f"CPU architecture: 8\nCPU variant\t: {variant:#x}\nCPU part\t: {part:#05x}\nCPU revision\t: 1\n\n"
        for number, (maker, part, variant) in enumerate(cores)
    )


POWER = """processor\t: 0
cpu\t\t: POWER9 (architected), altivec supported
clock\t\t: 3800.000000MHz
revision\t: 2.2 (pvr 004e 1202)

timebase\t: 512000000
platform\t: pSeries
model\t\t: IBM,9009-22A
"""


MAINFRAME = """vendor_id       : IBM/S390
# processors    : 2
bogomips per cpu: 21881.00
features\t: esan3 zarch stfle msa ldisp eimm dfp
cache0          : level=1 type=Data scope=Private size=128K line_size=256 associativity=8
processor 0: version = FF,  identification = 233EF7,  machine = 3906
processor 1: version = FF,  identification = 233EF7,  machine = 3906
"""


RISCV = (
    "processor\t: 0\nhart\t\t: 1\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\nuarch\t\t: sifive,u74-mc\nmvendorid\t: 0x489\n"
)


LOONG = (
    "system type\t\t: generic\n\nprocessor\t\t: 0\nCPU Family\t\t: Loongson-64bit\nModel Name\t\t: Loongson-3A5000\n"
)


NAMES = [
    # published results have these: they must not change
    (x86("AMD EPYC", 26, 2), "AMD EPYC (family 26 model 2)"),
    (x86("AMD EPYC Processor", 25, 1), "AMD EPYC (family 25 model 1)"),
    (x86("AMD EPYC 7763 64-Core Processor", 25, 1), "AMD EPYC 7763 64-Core (family 25 model 1)"),
    (x86("Intel(R) Core(TM) i7-10750H CPU @ 2.60GHz", 6, 165), "Intel Core i7-10750H (family 6 model 165)"),
    (x86("Intel(R) Xeon(R) Processor", 6, 167), "Intel Xeon (family 6 model 167)"),
    ("processor\t: 0\ncpu family\t: 6\nmodel\t\t: 167\n", f"{platform.machine()} (family 6 model 167)"),
    ("processor\t: 0\nflags\t\t: fpu\n", platform.machine()),
    (arm((0x41, 0xD0C, 3)), "ARM Neoverse-N1 (variant 3)"),
    (arm((0x41, 0xD40, 1), (0x41, 0xD40, 1)), "ARM Neoverse-V1 (variant 1)"),
    (arm((0x41, 0xD4F, 0)), "ARM Neoverse-V2 (variant 0)"),
    (arm((0xC0, 0xAC3, 0)), "Ampere AmpereOne (variant 0)"),
    (arm((0x41, 0xD99, 2)), "ARM part 0xd99 (variant 2)"),
    (arm((0x77, 0x001, 0)), "implementer 0x77 part 0x001 (variant 0)"),
    (arm((0x41, 0xD03, 0), name="model name\t: ARMv7 Processor rev 4 (v7l)\n"), "ARM Cortex-A53 (variant 0)"),
    (arm((0x61, 0x023, 1), (0x61, 0x022, 1)), "Apple M1 Icestorm (variant 1) + Apple M1 Firestorm (variant 1)"),
    (POWER, "POWER9"),
    (MAINFRAME, "IBM/S390 machine 3906"),
    (RISCV, "sifive,u74-mc"),
    (
        "processor\t: 0\nmvendorid\t: 0x710\nmarchid\t\t: 0x8000000058000001\n",
        f"{platform.machine()} (vendor 0x710 architecture 0x8000000058000001)",
    ),
    (LOONG, "Loongson-3A5000"),
    ("", platform.machine()),
]


@pytest.mark.parametrize(("text", "name"), NAMES)
def test_processors_of_every_architecture_have_a_name(text: str, name: str, tmp_path: Path) -> None:
    assert cpu_name(write(tmp_path, {"proc/cpuinfo": text})) == name


def test_several_kinds_of_core_have_one_name_whichever_comes_first() -> None:
    little, big = (0x41, 0xD05, 1), (0x41, 0xD0B, 4)
    names = {name_in(arm(*cores)) for cores in ([little, big], [big, little], [big, big, little, little, big])}
    assert names == {"ARM Cortex-A55 (variant 1) + ARM Cortex-A76 (variant 4)"}


@pytest.mark.parametrize(
    ("board", "added"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4\0", ", Raspberry Pi 4 Model B Rev 1.4"),
        ("linux,dummy-virt\0", ""),
        ("A board \x1b[2J\0", ""),
        (None, ""),
    ],
)
def test_a_boards_name_stands_behind_its_processors(board: str | None, added: str, tmp_path: Path) -> None:
    files = {"proc/cpuinfo": arm((0x41, 0xD08, 0)), "sys/firmware/devicetree/base/model": board}
    assert cpu_name(write(tmp_path, files)) == f"ARM Cortex-A72 (variant 0){added}"


def test_a_machines_name_is_that_of_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "cpu_name", lambda: "ARM Neoverse-N1 (variant 3)")
    monkeypatch.setattr(describe, "processors", lambda: [0, 1, 2, 3])
    assert describe.machine_name() == "arm-neoverse-n1-variant-3-4-cores"
