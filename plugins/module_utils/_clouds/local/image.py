# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node image of the local cloud: one root file system for machines, services and load balancer (private to flotilla.kubernetes).

It is made once from Debian packages by mmdebstrap and kept as podman image `localhost/flotilla-node:<family>-<key>`, where the key is
the hash of the recipe below, so a changed recipe makes a new image and never touches an old machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import tarfile
from pathlib import Path

from ..._errors import FlotillaError
from ..._locks import lock
from ..._paths import cache_dir
from .session import Session

REPOSITORY = "localhost/flotilla-node"
SUITES = {"debian-12": "bookworm", "debian-13": "trixie"}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
BUILD_TIMEOUT = 1800

PACKAGES = (
    # an ordinary server
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "python3", "ca-certificates", "procps",
    "iproute2", "iputils-ping", "kmod", "mount", "util-linux", "e2fsprogs", "less", "curl",
    # what Kubernetes expects of a node
    "iptables", "nftables", "ipset", "conntrack", "socat", "ethtool", "jq",
    # services and load balancer; keepalived for clusters whose API endpoint is an address of their own control planes
    "chrony", "dnsmasq-base", "haproxy", "keepalived",
)  # fmt: skip

# Units that would touch the host through a privileged container, or that only cost time and memory in one.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "haproxy.socket",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "logrotate.timer",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-modules-load.service",
    "systemd-pcrphase.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-update-utmp.service",
    "systemd-vconsole-setup.service",
)

FILES: dict[str, tuple[int, str]] = {
    "etc/fstab": (0o644, ""),
    "etc/machine-id": (0o644, ""),
    "etc/systemd/journald.conf.d/flotilla.conf": (0o644, "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nReadKMsg=no\n"),
    "etc/ssh/sshd_config.d/flotilla.conf": (
        0o644,
        "# The controller puts the key pair and the authorized keys here when it makes the machine.\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "AuthorizedKeysFile .ssh/authorized_keys /etc/flotilla/authorized_keys/%u\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        "UseDNS no\nX11Forwarding no\nPrintMotd no\nPrintLastLog no\nMaxStartups 100:30:200\nMaxSessions 100\n",
    ),
    "etc/systemd/system/ssh.service.d/flotilla.conf": (
        0o644,
        "# A banner means that the login works: before these two a login is refused.\n"
        "[Unit]\nAfter=flotilla-login.service systemd-user-sessions.service\nRequires=flotilla-login.service\n",
    ),
    "etc/systemd/system/flotilla-login.service": (
        0o644,
        "[Unit]\nDescription=The login that flotilla.kubernetes uses\nConditionPathExists=/etc/flotilla/login\n"
        "After=systemd-tmpfiles-setup.service\n\n"
        "[Service]\nType=oneshot\nRemainAfterExit=true\nExecStart=/usr/local/lib/flotilla/login\n",
    ),
    "usr/local/lib/flotilla/login": (
        0o755,
        "#!/bin/sh\n# Make the login whose name is in /etc/flotilla/login. Runs at each boot and changes nothing when it is there.\n"
        "set -eu\nname=$(cat /etc/flotilla/login)\n"
        'id -u "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$name"\n'
        'if [ "$name" != root ] && [ ! -e /etc/sudoers.d/flotilla ]; then\n'
        "    umask 0227\n"
        '    printf "%s ALL=(ALL:ALL) NOPASSWD: ALL\\n" "$name" > /etc/sudoers.d/flotilla\n'
        "fi\n",
    ),
    "etc/systemd/system/flotilla-resolver.service": (
        0o644,
        "[Unit]\nDescription=Resolver of a flotilla network\nAfter=network.target\n\n"
        "[Service]\nExecStart=/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/etc/flotilla/dnsmasq.conf\nRestart=always\n\n"
        "[Install]\nWantedBy=multi-user.target\n",
    ),
    "etc/systemd/system/flotilla-time.service": (
        0o644,
        "# -x: the clock is the host's and is not this container's to set.\n"
        "[Unit]\nDescription=Time source of a flotilla network\nAfter=network.target\n\n"
        "[Service]\nExecStart=/usr/sbin/chronyd -d -x -f /etc/flotilla/chrony.conf\nRestart=always\n\n"
        "[Install]\nWantedBy=multi-user.target\n",
    ),
}

# Runs with the root file system as $1. The distribution's sysctl files are masked because kernel.* and fs.* belong to the host, which a
# privileged container would change at each boot; files that roles write to /etc/sysctl.d still apply.
HOOK = """#!/bin/sh
set -eu
chroot "$1" systemctl --quiet disable haproxy.service chrony.service keepalived.service
chroot "$1" systemctl --quiet enable ssh.service
for file in "$1"/usr/lib/sysctl.d/*.conf "$1"/etc/sysctl.d/*.conf; do
    [ ! -e "$file" ] || ln -sf /dev/null "$1/etc/sysctl.d/${file##*/}"
done
rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/lib/dbus/machine-id "$1"/etc/sysctl.d/99-sysctl.conf
rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/var/log/apt "$1"/var/log/dpkg.log
"""


def suite(family: str) -> str:
    """Return Debian's code name of an image family, or fail with the families that there are."""
    if family not in SUITES:
        raise FlotillaError(
            "LOCAL_IMAGE_FAMILY",
            f"The local cloud has no image family '{family}'.",
            f"Set image.family to one of: {', '.join(sorted(SUITES))}.",
        )
    return SUITES[family]


def image_name(family: str) -> str:
    """Return the podman image of ``family`` for the present recipe."""
    recipe = json.dumps([suite(family), PACKAGES, MASKED_UNITS, FILES, HOOK], sort_keys=True)
    return f"{REPOSITORY}:{family}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def archive(files: dict[str, tuple[int, str]], links: dict[str, str] | None = None) -> bytes:
    """Return an uncompressed tar of ``files`` (path -> mode, text) and ``links`` (path -> target), all owned by root."""
    buffer = io.BytesIO()
    folders: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted([*files, *(links or {})]):
            for parent in list(Path(path).parents)[-2::-1]:
                if str(parent) not in folders:
                    folders.add(str(parent))
                    entry = tarfile.TarInfo(str(parent))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            entry = tarfile.TarInfo(path)
            if path in files:
                entry.mode, content = files[path][0], files[path][1].encode()
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            else:
                entry.type, entry.linkname = tarfile.SYMTYPE, (links or {})[path]
                tar.addfile(entry)
    return buffer.getvalue()


def mirror(session: Session) -> str:
    """Return where packages come from: the host's own Debian mirror when the host is Debian, nothing (mmdebstrap then knows) otherwise."""
    try:
        distribution = platform.freedesktop_os_release().get("ID") if hasattr(platform, "freedesktop_os_release") else ""
    except OSError:
        distribution = ""
    if distribution == "debian" and session.find("apt-get"):
        targets = session.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], root=False, check=False)
        for line in targets.stdout.split():
            if line.startswith(("http://", "https://")) and line.rstrip("/").endswith("/debian"):
                return line.rstrip("/")
    return ""


def exists(session: Session, family: str) -> bool:
    """Tell whether the image is there (changes nothing)."""
    return session.run(["podman", "image", "exists", image_name(family)], check=False).returncode == 0


def ensure(session: Session, family: str) -> str:
    """Return the image's name, and make the image first when it is not there (about a minute, needs a Debian mirror).

    Two runs at once do not make it twice: the second waits for the first on a file lock in the cache.
    """
    name = image_name(family)
    if exists(session, family):
        return name
    session.require("mmdebstrap")
    if not Path(KEYRING).exists():
        raise FlotillaError(
            "LOCAL_PROGRAM_MISSING",
            f"The node image is made from Debian packages, and the keys to check them are not at {KEYRING}.",
            "Install them, on Debian and Ubuntu with: sudo apt-get install debian-archive-keyring",
        )
    folder = cache_dir() / "local"
    with lock(folder / "image.lock"):
        work = folder / "image.work"
        # Of a run that was killed: half a root file system is large.
        shutil.rmtree(work, ignore_errors=True)
        if not exists(session, family):
            work.mkdir()
            try:
                _build(session, family, name, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return name


def _build(session: Session, family: str, name: str, work: Path) -> None:
    source = mirror(session)
    masks = {f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED_UNITS}
    root, hook, files = (work / part for part in ("root.tar", "hook", "files.tar"))
    files.write_bytes(archive(FILES, masks))
    hook.write_text(HOOK)
    hook.chmod(0o755)
    session.run(
        [
            "mmdebstrap",
            "--variant=minbase",
            "--architectures=" + ("arm64" if platform.machine() == "aarch64" else "amd64"),
            f"--keyring={KEYRING}",
            "--include=" + ",".join(PACKAGES),
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Retries "3"',
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f'--customize-hook={hook} "$1"',
            f"--customize-hook=tar-in {files} /",
            suite(family),
            str(root),
            *([f"deb [signed-by={KEYRING}] {source} {suite(family)} main"] if source else []),
        ],
        timeout=BUILD_TIMEOUT,
        code="LOCAL_IMAGE_BUILD",
        message=f"The node image {name} could not be made from {source or 'Debian'}.",
        remedy="See the cause; a mirror that does not answer is the usual one. Then run again.",
    )
    session.podman(
        "import",
        "--change", 'CMD ["/sbin/init"]',
        "--change", "STOPSIGNAL SIGRTMIN+3",
        "--change", f"LABEL flotilla-image={family}",
        str(root),
        name,
        timeout=BUILD_TIMEOUT,
        code="LOCAL_IMAGE_BUILD",
        message=f"podman did not take the node image {name}.",
        remedy="See the cause; a full disk is the usual one.",
    )  # fmt: skip
