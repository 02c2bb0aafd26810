"""What the processor is: its name, what it can do, how fast it may run and how hot it is.

Libraries name x86 alone: the numbers of ARM's makers, and other architectures, are looked up here, for a machine's name
decides which results are compared. It must stay the same for the same ``/proc/cpuinfo``.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

import psutil

from bench.machine.files import match, read

ARM = """
0x41 ARM: 0xd03 Cortex-A53, 0xd05 Cortex-A55, 0xd07 Cortex-A57, 0xd08 Cortex-A72, 0xd09 Cortex-A73, \
0xd0a Cortex-A75, 0xd0b Cortex-A76, 0xd0c Neoverse-N1, 0xd0d Cortex-A77, 0xd40 Neoverse-V1, 0xd41 Cortex-A78, \
0xd42 Cortex-A78AE, 0xd44 Cortex-X1, 0xd49 Neoverse-N2, 0xd4f Neoverse-V2, 0xd80 Cortex-A520, 0xd81 Cortex-A720, \
0xd84 Neoverse-V3, 0xd8e Neoverse-N3
0x42 Broadcom:
0x43 Cavium: 0x0af ThunderX2
0x46 Fujitsu: 0x001 A64FX
0x48 HiSilicon: 0xd01 TSV110
0x4e NVIDIA: 0x004 Carmel
0x50 APM:
0x51 Qualcomm: 0x001 Oryon X1
0x61 Apple: 0x022 M1 Icestorm, 0x023 M1 Firestorm, 0x024 M1 Pro Icestorm, 0x025 M1 Pro Firestorm, \
0x028 M1 Max Icestorm, 0x029 M1 Max Firestorm, 0x032 M2 Blizzard, 0x033 M2 Avalanche, 0x034 M2 Pro Blizzard, \
0x035 M2 Pro Avalanche, 0x038 M2 Max Blizzard, 0x039 M2 Max Avalanche
0x6d Microsoft: 0xd49 Azure Cobalt 100
0xc0 Ampere: 0xac3 AmpereOne, 0xac4 AmpereOne A
"""
"""Implementers and their common parts: ``arch/arm64/include/asm/cputype.h`` of Linux has these numbers."""


def features(root: Path = Path("/")) -> frozenset[str]:
    """What its instructions can do, by the names of ``/proc/cpuinfo``, such as ``avx512f``."""
    return frozenset((match(r"^(?:flags|Features)\s*: (.+)$", read(root / "proc/cpuinfo")) or "").split())


def boost(cpu: Path) -> tuple[bool | None, str | None]:
    """Whether the clock may rise above its base, and the command that forbids it."""
    for name, boosting in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1"), ("cpu0/cpufreq/boost", "1")):
        if (value := read(cpu / name)) in ("0", "1"):
            off = "0" if boosting == "1" else "1"
            files = name.replace("cpu0", "cpu*")
            return value == boosting, f"echo {off} |\nsudo tee /sys/devices/system/cpu/{files}"
    return None, None


def celsius() -> float | None:
    """The hottest sensor of the processor."""
    sensors = psutil.sensors_temperatures()
    found = (sensors[kind] for kind in sensors if re.search("cpu|coretemp|k10temp|zenpower|x86_pkg", kind))
    return max((sensor.current for some in found for sensor in some), default=None)


def hot_slowdowns(cpu: Path) -> int | None:
    """How often the processor lowered its clock for heat since the machine was started."""
    counts = [read(path) for path in cpu.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count and count.isdecimal()) if counts else None


def cpu_name(root: Path = Path("/")) -> str:
    """The processor's name, and the board's where that has one; all kinds of core where there are several."""
    text = read(root / "proc/cpuinfo")
    if text is None:
        return platform.processor() or platform.machine()
    board = (read(root / "sys/firmware/devicetree/base/model") or "").rstrip("\0")
    named = re.fullmatch(r"(?=.* )[A-Za-z0-9 .,()+/-]{1,60}", board)  # no ``linux,dummy-virt``, as of a virtual machine
    return ", ".join([name_in(text), *([board] if named else [])])


def name_in(cpuinfo: str) -> str:
    """The name that follows from the text of ``/proc/cpuinfo``; the architecture's where nothing does. Pure."""
    words = (
        _of_arm(cpuinfo)
        or match(r"^(?:cpu model|Model Name)\s*: (.+)$", cpuinfo)  # MIPS, LoongArch
        or _of_x86(cpuinfo)
        or match(r"^cpu\s*: ([^,(]+)", cpuinfo)  # POWER
        or _of_riscv(cpuinfo)
        or _of_s390(cpuinfo)
        or platform.machine()
    )
    return words.strip()


def _of_arm(cpuinfo: str) -> str | None:
    """Where there is a model name as well, it is ``ARMv7 Processor rev 4 (v7l)`` for all."""
    makers, variants, parts = (
        [int(number, 16) for number in re.findall(rf"^CPU {what}\s*: 0x([0-9a-f]+)$", cpuinfo, flags=re.MULTILINE)]
        for what in ("implementer", "variant", "part")
    )
    return " + ".join(_core(*kind) for kind in sorted(set(zip(makers, parts, variants, strict=False)))) or None


def _core(maker: int, part: int, variant: int) -> str:
    of_whom, _, parts = (match(rf"^{maker:#04x} (.+)$", ARM) or f"implementer {maker:#04x}:").partition(":")
    return f"{of_whom} {match(rf' {part:#05x} ([^,]+)', parts) or f'part {part:#05x}'} (variant {variant})"


def _of_x86(cpuinfo: str) -> str | None:
    facts = dict(re.findall(r"^([a-z ]+?)\s*: (.+)$", cpuinfo.partition("\n\n")[0], flags=re.MULTILINE))
    if not {"model name", "cpu family"} & facts.keys():
        return None
    name = re.sub(r"\((R|TM)\)|\bCPU\b|@.*|\s+Processor$", "", facts.get("model name", platform.machine())).strip()
    # a virtual machine's name is often no more than the maker's
    numbers = [f"{word} {facts[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in facts]
    return f"{name} ({' '.join(numbers)})" if numbers else name


def _of_riscv(cpuinfo: str) -> str | None:
    kinds = sorted(set(re.findall(r"^uarch\s*: (.+)$", cpuinfo, flags=re.MULTILINE)))
    vendor, architecture = (match(rf"^{what}\s*: (\S+)$", cpuinfo) for what in ("mvendorid", "marchid"))
    numbers = f"{platform.machine()} (vendor {vendor} architecture {architecture})" if vendor and architecture else None
    return " + ".join(kinds) or numbers


def _of_s390(cpuinfo: str) -> str | None:
    vendor, machine = match(r"^vendor_id\s*: (.+)$", cpuinfo), match(r"^processor \d+: .*machine = (\w+)$", cpuinfo)
    return f"{vendor} machine {machine}" if vendor and machine else None
