"""Whether this is a machine of its own: which hypervisor, which container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.machine.files import match, read, there

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

HYPERVISORS = {
    "KVM": r"kvm|qemu|bochs|ovirt|rhev|openstack|digitalocean|linode|hetzner|vultr",
    "EC2": r"amazon ec2",
    "Google Compute Engine": r"google",
    "Hyper-V": r"microsoft corporation virtual machine|hyperv",
    "VMware": r"vmware",
    "VirtualBox": r"virtualbox|innotek",
    "Xen": r"\bxen\b|hvm domu",
    "Parallels": r"parallels",
    "Apple": r"apple virtualization",
    "bhyve": r"bhyve",
}
"""Only these names are ever shown: what a vendor writes into a machine may say whose it is."""

CONTAINERS = {
    "kubernetes": r"kubepods|kubelet",
    "docker": r"docker",
    "podman": r"podman|libpod",
    "lxc": r"\blxc\b",
    "nspawn": r"systemd-nspawn",
    "containerd": r"containerd|cri-",
}


def hypervisor(root: Path) -> tuple[bool | None, str | None]:
    """Whether there is one, and which."""
    dmi = [read(root / "sys/class/dmi/id" / name) or "" for name in ("sys_vendor", "product_name")]
    available = read(root / "sys/devices/system/clocksource/clocksource0/available_clocksource")
    which = _first_named(HYPERVISORS, [read(root / "sys/hypervisor/type"), " ".join(dmi), available])
    flags = match(r"^flags\s*:(.*)$", read(root / "proc/cpuinfo"))
    if flags is not None:  # only x86 has them, and there they are right where the vendor's name is not: EC2 metal
        return (True, which) if "hypervisor" in flags.split() else (False, None)
    metal = ".metal" in dmi[1]
    hypervised = (which is not None and not metal) or there(root / "proc/device-tree/hypervisor")
    return (True, which) if hypervised else (None, None)


def free_pages_reported(root: Path) -> bool | None:
    """Whether the host takes free memory away: bit 5 of virtio's balloon (Virtual I/O Device 1.2, section 5.5.3)."""
    balloons = (root / "sys/bus/virtio/drivers/virtio_balloon").glob("virtio*/features")
    reported = [bit for path in balloons if (bit := match(r"^[01]{5}([01])", read(path)))]
    return "1" in reported if reported else None


def container(root: Path) -> str | None:
    """Which kind of container this is; a virtual machine made from a container's image is none."""
    if not there(root / "proc"):
        return None
    mounts = read(root / "proc/self/mountinfo")
    ours = re.findall(r"^\d+ \d+ \S+ (\S+) /etc/(?:hosts|hostname|resolv\.conf) ", mounts or "", flags=re.MULTILINE)
    overlay = re.search(r"^\d+ \d+ \S+ \S+ / .* - overlay ", mounts or "", flags=re.MULTILINE)
    first = match(r"(?:^|\0)(container=[^\0]*)", read(root / "proc/1/environ"))
    groups = read(root / "proc/self/cgroup")
    if which := _first_named(CONTAINERS, [groups, read(root / "run/systemd/container"), first, *ours]):
        return which
    if mounts is None or ours or overlay:
        for trace, which in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if there(root / trace):
                return which
    return "unknown kind" if overlay else "none"


def _first_named(names: Mapping[str, str], traces: Iterable[str | None]) -> str | None:
    """The name whose pattern is in the first trace that has any."""
    found = (name for trace in traces for name, pattern in names.items() if re.search(pattern, (trace or "").lower()))
    return next(found, None)
