# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  delivery:
    description:
      - How the files come to the machine.
      - With V(push) the controller copies them to each machine. With V(seed) it copies each file to one machine of a zone (zones are groups
        whose names begin with C(zone_)), which hands it on to the others by TLS, to whoever has the token that is made for this task. With
        V(pull) the machine fetches them from a web server that has the bundle's folder as it is.
      - Whatever the way, the SHA-256 is checked before anything is put in place.
    type: dict
    default: {}
    suboptions:
      method:
        description: The way.
        type: str
        choices: [push, seed, pull]
        default: push
      url:
        description: For V(pull), URL of the bundle's folder.
        type: str
      ca_file:
        description: For V(pull), file on the controller with certificates (PEM) to trust besides those that the machine trusts anyway.
        type: path
      username:
        description: For V(pull), login at the server.
        type: str
      password:
        description: For V(pull), password at the server.
        type: str
      address:
        description: For V(seed), the machine's own address in the network of the machines. Without it the machine hands nothing on.
        type: str
  stage:
    description: Internal, set by the action plugin.
    type: str
    choices: [inspect, serve, fetch, release, finish]
    default: inspect
  staged:
    description: Internal, set by the action plugin.
    type: dict
    default: {}
  origins:
    description: Internal, set by the action plugin. Servers that have files of the bundle.
    type: list
    elements: dict
    default: []
    suboptions:
      url:
        description: Folder that the files are in.
        type: str
        required: true
      ca_certificates:
        description: Certificates (PEM) to trust.
        type: str
        default: ""
      only_ca:
        description: Whether to trust no others.
        type: bool
        default: false
      token:
        description: Bearer token.
        type: str
      username:
        description: Login.
        type: str
      password:
        description: Password.
        type: str
      by:
        description: What the server calls its files by.
        type: str
        choices: [path, sha256]
        default: path
      keys:
        description: Files that the server has. All without it.
        type: list
        elements: str
      may_fail:
        description: Whether another server will bring what this one does not.
        type: bool
        default: false
  token:
    description: Internal, set by the action plugin.
    type: str
  remote_tmp:
    description: Internal, set by the action plugin.
    type: str
"""
