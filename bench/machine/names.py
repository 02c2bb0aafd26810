"""What a processor is called: as Linux calls it or, where it has no words for it, by the numbers of its maker."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from bench.machine.files import match, read

MAKERS = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x61: "Apple",
    0x6D: "Microsoft",
    0xC0: "Ampere",
}
"""Implementer to name, of ARM's architecture: ``arch/arm64/include/asm/cputype.h`` of Linux has these numbers."""

PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x43, 0x0AF): "ThunderX2",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "TSV110",
    (0x4E, 0x004): "Carmel",
    (0x51, 0x001): "Oryon X1",
    (0x61, 0x022): "M1 Icestorm",
    (0x61, 0x023): "M1 Firestorm",
    (0x61, 0x024): "M1 Pro Icestorm",
    (0x61, 0x025): "M1 Pro Firestorm",
    (0x61, 0x028): "M1 Max Icestorm",
    (0x61, 0x029): "M1 Max Firestorm",
    (0x61, 0x032): "M2 Blizzard",
    (0x61, 0x033): "M2 Avalanche",
    (0x61, 0x034): "M2 Pro Blizzard",
    (0x61, 0x035): "M2 Pro Avalanche",
    (0x61, 0x038): "M2 Max Blizzard",
    (0x61, 0x039): "M2 Max Avalanche",
    (0x6D, 0xD49): "Azure Cobalt 100",
    (0xC0, 0xAC3): "AmpereOne",
    (0xC0, 0xAC4): "AmpereOne A",
}
"""Implementer and part to name: the common ones, from the same file. Any other has its number."""


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
    of_whom = MAKERS.get(maker, f"implementer {maker:#04x}")
    return f"{of_whom} {PARTS.get((maker, part), f'part {part:#05x}')} (variant {variant})"


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
