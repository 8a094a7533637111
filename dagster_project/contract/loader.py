"""All contracts of a project folder, as one catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dagster_project.contract.conformed import dangling
from dagster_project.contract.dataset import compile_dataset
from dagster_project.contract.document import Document, Problem, read, refuse
from dagster_project.contract.dtypes import describe
from dagster_project.contract.mart import compile_mart
from dagster_project.contract.mart_inputs import names_of
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.contract.spark_sql import spark_problems
from dagster_project.contract.versions import release_problems
from dagster_project.errors import ContractError


def load_catalog(folder: Path) -> Catalog:
    """Read every `*.odcs.yaml` below a folder: topics become datasets, tables become marts.

    Raises:
        ContractError: with the problems of all files, so that one look shows them all.
    """
    problems: list[str] = []
    documents: dict[str, list[Document]] = {"topic": [], "table": []}
    for source in sorted(folder.rglob("*.odcs.yaml")):
        try:
            document = read(source)
            documents[_kind(document)].append(document)
        except ContractError as error:
            problems.append(error.found)
    datasets, successors = _datasets(documents["topic"], problems)
    # A mart over a dataset whose contract is broken would only repeat that contract's problems.
    marts = {} if problems else _marts(documents["table"], datasets, problems)
    if not problems:
        # What a mart shares with another is there only once all have been read.
        problems += [
            refuse(document.source, document.lines, found).found
            for document in documents["table"]
            if (found := list(dangling(marts[_name(document)], marts)))
        ]
    catalog = Catalog(
        datasets=tuple(datasets.values()), marts=tuple(marts.values()), successors=tuple(successors.values())
    )
    if problems := problems or list(spark_problems(catalog)):
        raise ContractError("\n".join(problems), remedy="mend the contracts named above, then run the command again")
    return catalog


def _datasets(documents: Sequence[Document], problems: list[str]) -> tuple[dict[str, Dataset], dict[str, Dataset]]:
    """Datasets by name, and newer major versions of them; what is wrong goes to `problems`."""
    compiled: list[tuple[Document, Dataset]] = []
    for document in documents:
        try:
            compiled.append((document, compile_dataset(document)))
        except ContractError as error:
            problems.append(error.found)
    datasets: dict[str, Dataset] = {}
    successors: dict[str, Dataset] = {}
    topics: dict[str, Path] = {}
    tables: dict[str, Path] = {}
    first = {dataset.name: place for place, (_, dataset) in reversed(list(enumerate(compiled)))}
    for document, dataset in sorted(compiled, key=lambda item: (first[item[1].name], item[1].major)):
        older = datasets.get(dataset.name)
        try:
            _claim(document, "name", dataset.table, tables)
            if older is None:
                _claim(document, "physicalName", dataset.topic.name, topics)
            elif dataset.name in successors:
                problem = Problem(
                    path=("version",),
                    found=f"{dataset.name} has a third major version, {dataset.version}",
                    expected="two at the most: retire the oldest one first",
                )
                raise refuse(document.source, document.lines, [problem])
            elif found := list(release_problems(older, dataset)):
                raise refuse(document.source, document.lines, found)
        except ContractError as error:
            problems.append(error.found)
        else:
            (datasets if older is None else successors)[dataset.name] = dataset
    if not problems:
        # What a contract refers to is there only once all have been read.
        problems += (found for pair in compiled for found in _dangling(*pair, datasets))
    return datasets, successors


def _marts(documents: Sequence[Document], datasets: Mapping[str, Dataset], problems: list[str]) -> dict[str, Mart]:
    """Marts by name, each after those that it reads; what is wrong goes to `problems`."""
    marts: dict[str, Mart] = {}
    broken: set[str] = set()
    waiting = list(documents)
    while waiting:
        names = {_name(document) for document in waiting} - datasets.keys()
        ready = [document for document in waiting if names.isdisjoint(names_of(document))]
        for document in ready or waiting:
            name, inputs = _name(document), names_of(document)
            try:
                if not ready:
                    problem = Problem(
                        path=("schema", 0, "customProperties"),
                        found=f"inputs {inputs!r} of marts that read each other in a circle",
                        expected="marts that can be computed one after the other",
                    )
                    raise refuse(document.source, document.lines, [problem])
                if not broken.isdisjoint(inputs):  # it would only repeat that contract's problems
                    broken.add(name)
                    continue
                mart = compile_mart(document, datasets=datasets, marts=marts)
                _claim(document, "name", mart.name, {name: other.source for name, other in marts.items()})
            except ContractError as error:
                problems.append(error.found)
                broken.add(name)
            else:
                marts[mart.name] = mart
        waiting = [document for document in waiting if document not in ready] if ready else []
    return marts


def _name(document: Document) -> str:
    return (document.model.schema_ or [])[0].name or ""


def load_contract(source: Path, *, catalog: Callable[[], Catalog] = Catalog) -> Dataset | Mart:
    """Read one file by itself.

    Args:
        catalog: gives what a mart may read; called for a mart only.

    Raises:
        ContractError: naming every problem of the file.
    """
    if not source.is_file():
        raise ContractError(f"no file {source}", remedy="name a contract, such as contracts/orders.odcs.yaml")
    document = read(source)
    if _kind(document) == "topic":
        return compile_dataset(document)
    known = catalog()
    return compile_mart(
        document,
        datasets={dataset.name: dataset for dataset in known.datasets},
        marts={mart.name: mart for mart in known.marts},
    )


def _kind(document: Document) -> str:
    schema = document.model.schema_ or []
    kind = schema[0].physicalType if schema else None
    if kind not in ("topic", "table"):
        problem = Problem(
            path=("schema", 0, "physicalType"), found=repr(kind), expected="topic (a dataset) or table (a mart)"
        )
        raise refuse(document.source, document.lines, [problem])
    return kind


def _dangling(document: Document, dataset: Dataset, datasets: Mapping[str, Dataset]) -> Iterator[str]:
    """Rules that refer to a dataset, or a column of it, that is not there or has another type."""
    for rule in dataset.statistics:
        if rule.kind != "references":
            continue
        own = next(column for column in dataset.published if column.name == rule.column)
        wanted = own.type
        columns = datasets[rule.dataset].published if rule.dataset in datasets else ()
        types = {column.name: column.type for column in columns}
        domains = {column.name: column.pseudonym_domain for column in columns}
        if types.get(rule.key) == wanted and domains[rule.key] != own.pseudonym_domain:
            problem = Problem(
                path=("schema", 0, "quality"),
                found=f"rule {rule.id!r} refers to {rule.dataset}.{rule.key}, which has other pseudonyms, or none",
                expected=f"one pseudonymDomain of {rule.column} and {rule.key}, or both in the clear",
            )
            yield refuse(document.source, document.lines, [problem]).found
        elif types.get(rule.key) != wanted:
            there = describe(types[rule.key]) if rule.key in types else "not there"
            problem = Problem(
                path=("schema", 0, "quality"),
                found=f"rule {rule.id!r} refers to {rule.dataset}.{rule.key}, which is {there}",
                expected=f"a dataset of this project, and a column of it of type {describe(wanted)}",
            )
            yield refuse(document.source, document.lines, [problem]).found


def _claim(document: Document, field: str, name: str, taken: dict[str, Path]) -> None:
    if name in taken:
        problem = Problem(
            path=("schema", 0, field), found=f"{name!r} is already taken by {taken[name]}", expected="another name"
        )
        raise refuse(document.source, document.lines, [problem])
    taken[name] = document.source
