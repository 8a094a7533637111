"""Rules of the code itself, which no test of what it does would miss: each finds what it is for, and nothing in the project."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_project.settings import REPOSITORY

FOLDERS = ("dagster_project", "deploy", "benchmarks", "docs")
Rule = Callable[[ast.Call], bool]
# Where DuckDB is opened for something else than the SQL of a person.
_OWN_DATABASES = ("dagster_project/lake/sandbox.py", "benchmarks/")
# SQL of a person is checked before it is run, and all of these are run where `only` stands beside them.
_ASKED = {"rule.query", "mart.sql", "sql"}


def name_of(node: ast.expr) -> str:
    return ast.unparse(node)


def is_shell(call: ast.Call) -> bool:
    if name_of(call.func) in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}:
        return True
    return any(word.arg == "shell" and name_of(word.value) != "False" for word in call.keywords)


def is_unsafe_yaml(call: ast.Call) -> bool:
    name = name_of(call.func)
    if name in {"yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all"}:
        return True
    loaders = [word.value for word in call.keywords if word.arg == "Loader"] + call.args[1:2]
    return name in {"yaml.load", "yaml.compose"} and not any("SafeLoader" in name_of(loader) for loader in loaders)


def is_code(call: ast.Call) -> bool:
    """Bytes or text that become code or objects."""
    name = name_of(call.func)
    loads = {
        f"{module}.{how}"
        for module in ("pickle", "marshal", "shelve", "dill", "cloudpickle")
        for how in ("load", "loads", "open")
    }
    return name in {"eval", "exec", "pl.DataFrame.deserialize", *loads}


def is_guessable_file(call: ast.Call) -> bool:
    return name_of(call.func) in {"tempfile.mktemp", "os.tempnam", "os.tmpnam"}


def is_trusting(call: ast.Call) -> bool:
    """TLS that takes any certificate."""
    name = name_of(call.func)
    if name in {"ssl._create_unverified_context", "urllib3.disable_warnings"}:
        return True
    off = {"verify": "False", "check_hostname": "False", "ssl_cert_reqs": "'none'", "cert_reqs": "ssl.CERT_NONE"}
    return any(off.get(word.arg or "") == name_of(word.value) for word in call.keywords)


def is_open_database(call: ast.Call) -> bool:
    return name_of(call.func) == "duckdb.connect"


def is_unchecked_sql(call: ast.Call) -> bool:
    """A person's SQL that is run as it is."""
    return (
        isinstance(call.func, ast.Attribute)
        and call.func.attr in {"sql", "execute", "query"}
        and name_of(call.func.value) == "connection"
        and bool(call.args)
        and name_of(call.args[0]) in _ASKED
    )


RULES: dict[str, tuple[Rule, str]] = {
    "no shell": (is_shell, "subprocess.run('ls', shell=True)"),
    "YAML makes plain values": (is_unsafe_yaml, "yaml.load(text, Loader=yaml.Loader)"),
    "data are no code": (is_code, "pickle.loads(content)"),
    "nobody else knows the name of a temporary file": (is_guessable_file, "tempfile.mktemp()"),
    "certificates are verified": (is_trusting, "requests.get(url, verify=False)"),
    "DuckDB is the sandbox": (is_open_database, "duckdb.connect()"),
    "SQL of a person is looked at first": (is_unchecked_sql, "connection.sql(mart.sql)"),
}


def calls(text: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(path for path in (REPOSITORY / folder).rglob("*.py") if "target" not in path.parts)


@pytest.mark.parametrize("rule", RULES)
def test_the_project_keeps_to_it(rule: str) -> None:
    breaks, _ = RULES[rule]
    exempt = _OWN_DATABASES if breaks is is_open_database else ()
    found = [
        f"{path.relative_to(REPOSITORY)}:{call.lineno}: {name_of(call)[:100]}"
        for path in sources()
        if not str(path.relative_to(REPOSITORY)).startswith(exempt)
        for call in calls(path.read_text(encoding="utf-8"))
        if breaks(call)
    ]
    assert found == []


@pytest.mark.parametrize("rule", RULES)
def test_it_finds_what_it_is_for(rule: str) -> None:
    breaks, example = RULES[rule]
    assert any(map(breaks, calls(example)))


def test_what_is_allowed_is_not_found() -> None:
    allowed = """
subprocess.run(["ls"], shell=False)
yaml.compose(text, Loader=yaml.CSafeLoader)
yaml.safe_load(text)
json.loads(text)
tempfile.mkstemp()
connection.sql(only(connection, mart.sql))
connection.execute("SELECT 1")
"""
    assert [name_of(call) for call in calls(allowed) for breaks, _ in RULES.values() if breaks(call)] == []
