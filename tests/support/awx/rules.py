# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX 24.6.1 refuses. Fields, types, choices and bounds are those that a running server printed (``options.json``); the checks of
surveys, schedules and launches follow `_validate_spec_data`, `validate_rrule` and `_accept_or_ignore_job_kwargs` of its source."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    name: methods.get("POST", {})
    for name, methods in json.loads(Path(__file__).with_name("options.json").read_text(encoding="utf-8"))["endpoints"].items()
}
# Fields that AWX only shows, and that modules of awx.awx 24.6.1 send all the same: AWX takes no notice of them.
UNNOTICED = {
    "credential_types": {"managed"},
    "job_templates": {"organization"},
    "workflow_job_template_nodes": {"type"},
}
# What a field of type id points to, where its name does not say it.
POINTS_TO = {
    "credential": "credentials",
    "credential_type": "credential_types",
    "default_environment": "execution_environments",
    "execution_environment": "execution_environments",
    "inventory": "inventories",
    "organization": "organizations",
    "project": "projects",
    "role_definition": "role_definitions",
    "signature_validation_credential": "credentials",
    "source_project": "projects",
    "team": "teams",
    "unified_job_template": "unified_job_templates",
    "user": "users",
    "webhook_credential": "credentials",
    "workflow_job_template": "workflow_job_templates",
}
# What AWX keeps as text, although it checks that it holds YAML or JSON.
TEXTS = {"variables", "extra_vars"}
ASKS = {
    "job_type": "ask_job_type_on_launch",
    "diff_mode": "ask_diff_mode_on_launch",
    "limit": "ask_limit_on_launch",
    "job_tags": "ask_tags_on_launch",
    "skip_tags": "ask_skip_tags_on_launch",
    "inventory": "ask_inventory_on_launch",
    "credentials": "ask_credential_on_launch",
    "instance_groups": "ask_instance_groups_on_launch",
    "scm_branch": "ask_scm_branch_on_launch",
    "verbosity": "ask_verbosity_on_launch",
    "forks": "ask_forks_on_launch",
    "job_slice_count": "ask_job_slice_count_on_launch",
    "timeout": "ask_timeout_on_launch",
    "labels": "ask_labels_on_launch",
    "execution_environment": "ask_execution_environment_on_launch",
}
SURVEY_TYPES: dict[str, Any] = {
    "text": str, "textarea": str, "password": str, "multiplechoice": str, "multiselect": (str, list), "integer": int, "float": (float, int),
}  # fmt: skip
NOTIFICATION_FIELDS = {
    "email": ({"host", "port", "username", "password", "use_tls", "use_ssl", "sender", "recipients", "timeout"}, {"password"}),
    "webhook": ({"url", "http_method", "disable_ssl_verification", "username", "password", "headers"}, {"password"}),
    "slack": ({"token", "channels", "hex_color"}, {"token"}),
}
HIDDEN = "$encrypted$"


class Refused(Exception):
    """AWX answers with a status of 400 or more."""

    def __init__(self, body: Any, status: int = 400) -> None:
        super().__init__(json.dumps(body))
        self.body, self.status = body, status


def checked(endpoint: str, given: Mapping[str, Any], exists: Callable[[str, int], bool], partly: bool = False) -> dict[str, Any]:
    """Return the fields of a request that count.

    :param exists: whether an endpoint has an object of an id.
    :param partly: a PATCH, which need not have what is required.
    :raises Refused: with the fields that AWX would not take.
    """
    options = OPTIONS[endpoint]
    errors: dict[str, list[str]] = {}
    fields = {name: value for name, value in given.items() if name not in UNNOTICED.get(endpoint, ())}
    for name in fields:
        if name not in options:
            errors[name] = ["AWX 24.6.1 has no such field."]
    for name, option in options.items():
        if name in fields:
            wrong = _wrong(name, option, fields[name], exists)
            if wrong:
                errors[name] = [wrong]
        elif option["required"] and not partly:
            errors[name] = ["This field is required."]
    if errors:
        raise Refused(errors)
    return fields


def _wrong(name: str, option: Mapping[str, Any], value: Any, exists: Callable[[str, int], bool]) -> str:
    kind = option["type"]
    if value is None:
        nullable = not option["required"] and (kind in ("id", "choice") or option.get("default", 0) is None)
        return "" if nullable else "This field may not be null."
    if kind == "choice" or (kind == "id" and "choices" in option):
        return "" if value in [choice for choice, _label in option["choices"]] else f'"{value}" is not a valid choice.'
    if kind == "boolean":
        return "" if isinstance(value, bool) else "Must be a valid boolean."
    if kind in ("integer", "id"):
        if isinstance(value, bool) or not isinstance(value, int):
            return "A valid integer is required."
        if kind == "id":
            return "" if exists(POINTS_TO[name], value) else f'Invalid pk "{value}" - object does not exist.'
        low, high = option.get("min_value", value), option.get("max_value", value)
        return "" if low <= value <= high else f"Ensure this value is between {low} and {high}."
    if kind == "string":
        if not isinstance(value, str):
            return "Not a valid string."
        if len(value) > option.get("max_length", len(value)):
            return f"Ensure this field has no more than {option['max_length']} characters."
        return "" if value or not option["required"] else "This field may not be blank."
    if kind == "json":
        if name not in TEXTS:
            return "" if isinstance(value, (dict, list)) else "Expected an object."
        try:
            return "" if isinstance(value or "{}", str) and isinstance(json.loads(value or "{}"), dict) else "Cannot parse as JSON."
        except ValueError:
            return "Cannot parse as JSON."
    return "" if isinstance(value, list) else "Expected a list of items."


def check_survey(spec: Mapping[str, Any]) -> None:
    """:raises Refused: as `JobTemplateSurveySpec._validate_spec_data` does."""
    for field, kind in (("name", str), ("description", str), ("spec", list)):
        if field not in spec or not isinstance(spec[field], kind):
            raise Refused({"error": f"Field '{field}' is missing from survey spec, or of another type."})
    if not spec["spec"]:
        raise Refused({"error": "'spec' doesn't contain any items."})
    seen: set[str] = set()
    for index, one in enumerate(spec["spec"]):
        for field, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
            if not isinstance(one.get(field), kind):
                raise Refused({"error": f"'{field}' missing from survey question {index}, or of another type."})
        if one["variable"] in seen:
            raise Refused({"error": f"'variable' '{one['variable']}' duplicated in survey question {index}."})
        seen.add(one["variable"])
        if one["type"] not in SURVEY_TYPES:
            raise Refused({"error": f"'{one['type']}' in survey question {index} is not one of the allowed question types."})
        default = one.get("default", "")
        if default != "" and not isinstance(default, SURVEY_TYPES[one["type"]]):
            raise Refused({"error": f"Default value {default} in survey question {index} expected to be {one['type']}."})
        if any(one.get(key) is not None and not isinstance(one[key], int) for key in ("min", "max")):
            raise Refused({"error": f"The limits in survey question {index} expected to be integer."})
        if one["type"] in ("multiplechoice", "multiselect"):
            if "choices" not in one:
                raise Refused({"error": f"Survey question {index} of type {one['type']} must specify choices."})
            if any(item not in one["choices"] for item in str(default).splitlines()):
                raise Refused({"error": "Default choice must be answered from the choices listed."})


def check_rrule(text: str) -> None:
    """:raises Refused: as `SchedulePreviewSerializer.validate_rrule` does."""
    starts = re.findall(r".*?(DTSTART(;[^:]+)?\:[0-9]+T[0-9]+Z?)", text)
    rules = re.findall(r".*?(RULE\:[^\s]*)", text)
    wrong = []
    if len(starts) != 1:
        wrong.append("Valid DTSTART required in rrule. Value should start with: DTSTART:YYYYMMDDTHHMMSSZ")
    if re.findall(r".*?(DTSTART:[0-9]+T[0-9]+) ", text):
        wrong.append("DTSTART cannot be a naive datetime.  Specify ;TZINFO= or YYYYMMDDTHHMMSSZZ.")
    if "rrule:" not in text.lower():
        wrong.append("One or more rule required in rrule.")
    if re.search("exdate:|rdate:", text.lower()):
        wrong.append("EXDATE and RDATE not allowed in rrule.")
    for rule in rules:
        if "interval" not in rule.lower():
            wrong.append(f"INTERVAL required in rrule: {rule}")
        if "secondly" in rule.lower():
            wrong.append(f"SECONDLY is not supported: {rule}")
        if re.match(r".*?BYDAY[\:\=][0-9]+[a-zA-Z]{2}", rule):
            wrong.append(f"BYDAY with numeric prefix not supported: {rule}")
        if "COUNT" in rule and "UNTIL" in rule:
            wrong.append(f"RRULE may not contain both COUNT and UNTIL: {rule}")
    if wrong:
        raise Refused({"rrule": wrong})


def survey_errors(template: Mapping[str, Any], answers: Mapping[str, Any], required: bool = True) -> list[str]:
    """Return what AWX says of answers, of which a required one may be missing only if ``required`` is false."""
    found = []
    for one in template["survey_spec"].get("spec", []) if template["survey_enabled"] else []:
        name, kind = one["variable"], one["type"]
        if name not in answers:
            if one["required"] and required:
                found.append(f"'{name}' value missing")
        elif kind == "integer" and (isinstance(answers[name], bool) or not isinstance(answers[name], int)):
            found.append(f"Value {answers[name]} for '{name}' expected to be an integer.")
        elif kind in ("text", "textarea", "password") and not isinstance(answers[name], str):
            found.append(f"Value {answers[name]} for '{name}' expected to be a string.")
        elif kind == "multiplechoice" and answers[name] not in one["choices"].splitlines():
            found.append(f"Value {answers[name]} for '{name}' expected to be one of {one['choices'].splitlines()}.")
    return found


def accepted(template: Mapping[str, Any], wanted: Mapping[str, Any], required: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the prompts of a launch that a template takes, and what is wrong with the others.

    :param wanted: fields of `ASKS`, and ``extra_vars``.
    """
    taken: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    variables = dict(wanted.get("extra_vars") or {})
    wrong = survey_errors(template, variables, required)
    if wrong:
        errors["variables_needed_to_start"] = wrong
    known = {one["variable"] for one in template["survey_spec"].get("spec", [])} if template["survey_enabled"] else set()
    unknown = sorted(set(variables) - known)
    if unknown and not template["ask_variables_on_launch"]:
        errors["extra_vars"] = [f"Variables {', '.join(unknown)} are not allowed on launch."]
    if variables:
        taken["extra_vars"] = variables
    for field, ask in ASKS.items():
        value = wanted.get(field)
        if value in (None, [], "") or value == template.get(field):
            continue
        if template.get(ask):
            taken[field] = value
        else:
            errors[field] = ["Field is not configured to prompt on launch."]
    return taken, errors
