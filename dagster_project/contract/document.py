"""One YAML file of the Open Data Contract Standard, with the line of everything in it."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml
from open_data_contract_standard.model import OpenDataContractStandard
from pydantic import ValidationError

from dagster_project.errors import ContractError

Steps = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in a contract."""

    path: Steps
    found: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed contract: plain data, the ODCS model, and the line (from 1) of each path."""

    source: Path
    data: dict[str, Any]
    model: OpenDataContractStandard
    lines: dict[Steps, int]


def spell(path: Steps) -> str:
    """Write a path as people do: `schema[0].properties[2].logicalType`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text or "the document"


def refuse(source: Path, lines: dict[Steps, int], problems: list[Problem]) -> ContractError:
    """One error that names every problem with file, line and path."""
    texts: list[str] = []
    for problem in problems:
        path = problem.path
        while path and path not in lines:
            path = path[:-1]
        text = f"{source}:{lines.get(path, 1)}: {spell(problem.path)}: {problem.found}\n    write instead: {problem.expected}"
        texts.append(text)
    return ContractError("\n".join(texts), remedy="mend the contract, then run the command again")


def read(source: Path) -> Document:
    """Parse and validate one file against the standard's JSON schema and its pydantic model.

    Raises:
        ContractError: with every problem's line, path, what was found and what to write instead.
    """
    data, lines, problems = parse(source, "a data contract: apiVersion, kind, id, …")
    problems += dict.fromkeys(_schema_problems(data))  # two rules of the standard may find the same
    if not problems:
        try:
            model = OpenDataContractStandard.model_validate(data)
        except ValidationError as error:
            problems = [
                Problem(path=tuple(item["loc"]), found=f"{item['input']!r}", expected=item["msg"])
                for item in error.errors()
            ]
        else:
            return Document(source=source, data=data, model=model, lines=lines)
    raise refuse(source, lines, problems)


def parse(source: Path, expected: str) -> tuple[dict[str, Any], dict[Steps, int], list[Problem]]:
    """A YAML file as plain data, with the line of everything in it, and keys that are there twice.

    Args:
        expected: what the file should hold, for the error of one that is no mapping.

    Raises:
        ContractError: it is not UTF-8, not YAML, or no mapping.
    """
    try:
        node = yaml.compose(source.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        raise refuse(
            source, {}, [Problem(path=(), found=f"not UTF-8 ({error.reason})", expected="UTF-8 text")]
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        lines = {(): mark.line + 1 if mark else 1}
        problem = Problem(
            path=(), found=f"not YAML: {error.problem}", expected="valid YAML (check indentation and quotes)"
        )
        raise refuse(source, lines, [problem]) from error
    if not isinstance(node, yaml.MappingNode):
        raise refuse(source, {}, [Problem(path=(), found="no mapping", expected=expected)])
    lines: dict[Steps, int] = {}
    problems: list[Problem] = []
    return _construct(node, (), lines, problems), lines, problems


def _construct(node: yaml.Node, path: Steps, lines: dict[Steps, int], problems: list[Problem]) -> Any:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        problems += (
            Problem(path=(*path, key), found="the same key again", expected="each key once") for key in doubled
        )
        return {key.value: _construct(value, (*path, key.value), lines, problems) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_construct(value, (*path, index), lines, problems) for index, value in enumerate(node.value)]
    value = yaml.constructor.SafeConstructor().construct_object(node)  # pyright: ignore[reportUnknownMemberType] untyped
    # The standard's schema knows only JSON's types: unquoted dates are the strings that they were written as.
    return value if value is None or isinstance(value, (str, bool, int, float)) else node.value


@functools.cache
def _validator() -> jsonschema_rs.Validator:
    schema = importlib.resources.files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8")
    return jsonschema_rs.validator_for(json.loads(schema))


def _schema_problems(data: dict[str, Any]) -> Iterator[Problem]:
    for error in _validator().iter_errors(data):
        path = tuple(error.instance_path)
        details = error.kind.as_dict()
        if unexpected := details.get("unexpected"):
            for key in unexpected:
                yield Problem(
                    path=(*path, key), found="no field of the standard", expected="a field of ODCS v3 (a typing error?)"
                )
        elif options := details.get("options"):
            yield Problem(path=path, found=f"{error.instance!r}", expected="one of " + ", ".join(map(str, options)))
        elif missing := details.get("property"):
            yield Problem(path=path, found=f"{missing!r} is missing", expected=f"{missing}: …")
        elif types := details.get("types"):
            yield Problem(path=path, found=f"{error.instance!r}", expected="a value of type " + " or ".join(types))
        else:
            yield Problem(path=path, found=error.message, expected="what ODCS v3 asks for here")
