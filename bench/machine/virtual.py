"""Whether this is a machine of its own: which hypervisor, which container."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bench.machine.files import match, read, there

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    traces = [read(root / "sys/hypervisor/type"), " ".join(dmi), available]
    which = next((name for trace in traces if (name := _name_in(HYPERVISORS, trace))), None)
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
    first = (read(root / "proc/1/environ") or "").split("\0")
    traces = [
        read(root / "proc/self/cgroup"),
        read(root / "run/systemd/container"),
        *(variable for variable in first if variable.startswith("container=")),
        *ours,
    ]
    if which := next((name for trace in traces if (name := _name_in(CONTAINERS, trace))), None):
        return which
    if mounts is None or ours or overlay:
        for trace, which in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
            if there(root / trace):
                return which
    return "unknown kind" if overlay else "none"


def _name_in(names: Mapping[str, str], text: str | None) -> str | None:
    return next((name for name, pattern in names.items() if re.search(pattern, (text or "").lower())), None)
