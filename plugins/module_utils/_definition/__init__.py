# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cluster definitions: read, merge, validate, explain (private to flotilla.kubernetes).

Pure: no AnsibleModule, no SDK. Only `load.read_text` and `load.find_files` touch the file system.

=============  =========================================================================
`schema`       what a definition may hold, as JSON Schema (data), with descriptions and defaults; `aws_schema`, `gcp_schema`,
               `azure_schema` and `vsphere_schema`: its sections
`published`    the same for editors and other programs, in docs/schema/; `reference`: for people
`load`         text -> tree with file and line -> merged, validated definition; a whole fleet at once
`validate`     a tree against the schema: unknown keys, types, allowed values
`merge`        profiles < cluster class < cluster; pools and policies by name
`derive`       what was left out and follows from other values
`rules`        rules between fields; `endpoint_rules`: those of existing machines and of the API endpoint; `made_rules`: those of machines
               that a cloud makes; `aws_rules`, `gcp_rules`, `azure_rules` and `vsphere_rules`: those of one cloud
`hosts`        the inventory hosts of a definition and of its machines
`errors`       one problem, and the exception that carries all of them
=============  =========================================================================
"""
