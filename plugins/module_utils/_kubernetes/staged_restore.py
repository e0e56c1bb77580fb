# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup that lies on this machine for kubeadm init to begin with (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import secrets
import shlex
import shutil
from typing import Any

from .._state import STATE_DIR, read_json

STAGED = STATE_DIR / "restore"
NOTE = "restore.json"
# What remains of it when the control plane serves: which revision the cluster began with.
RESTORED = STATE_DIR / "restored.json"
PKI = "etc/kubernetes/pki"
# What nobody could make anew. Certificates that these sign are made for the machine by kubeadm.
AUTHORITIES = ("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key")
_ENCRYPTION = "etc/kubernetes/flotilla/encryption.json"
# Far more than a cluster writes between a snapshot and its loss: no client sees a revision twice. As etcd's own documentation has it:
# https://etcd.io/docs/v3.6/op-guide/recovery/#restoring-with-revision-bump.
REVISIONS_AHEAD = 1_000_000_000
PEER_PORT = 2380

# $1 folder of the backup, $2 name and $3 address of the member, $4 token of the new etcd cluster, $5 revision.
_SCRIPT = """
echo "[restore] revision $5"
rm -rf /etc/kubernetes/pki /var/lib/etcd/member /var/lib/etcd/restored
for file in {authorities}; do
  case $file in *.crt | *.pub) mode=0644 ;; *) mode=0600 ;; esac
  install -D -m "$mode" "$1/{pki}/$file" "/etc/kubernetes/pki/$file"
done
if [ -e "$1/{encryption}" ]; then install -D -m 0600 "$1/{encryption}" /{encryption}; fi
install -d -m 0700 /var/lib/etcd
# Beside and not over it: the folder may be a disk of its own. The other members come by kubeadm join.
etcdutl snapshot restore "$1/etcd/snapshot.db" --data-dir=/var/lib/etcd/restored --name="$2" \\
  --initial-cluster="$2=https://$3:{port}" --initial-advertise-peer-urls="https://$3:{port}" --initial-cluster-token="$4" \\
  --bump-revision={ahead} --mark-compacted
mv /var/lib/etcd/restored/member /var/lib/etcd/member
rm -rf /var/lib/etcd/restored
"""


def staged() -> dict[str, Any]:
    """Return what is laid out here: ``name``, ``address`` and ``revision``; nothing when no backup is."""
    return read_json(STAGED / NOTE)


def restored() -> bool:
    """Return whether this machine's control plane began with a backup."""
    return RESTORED.exists()


def discard() -> bool:
    """Remove what is laid out; return whether there was something."""
    there = STAGED.exists()
    (STAGED / NOTE).unlink(missing_ok=True)
    shutil.rmtree(STAGED, ignore_errors=True)
    return there


def script(note: dict[str, Any]) -> str:
    """Return the lines of a shell, with ``set -e``, that put what is laid out where kubeadm init looks for it. Safe to repeat.

    :param note: what `staged` returned.
    """
    values = (str(STAGED), note["name"], note["address"], f"restored-{secrets.token_hex(8)}", str(note["revision"]))
    filled = _SCRIPT.format(authorities=" ".join(AUTHORITIES), pki=PKI, encryption=_ENCRYPTION, port=PEER_PORT, ahead=REVISIONS_AHEAD)
    return f"set -e; set -- {' '.join(map(shlex.quote, values))}\n{filled}"
