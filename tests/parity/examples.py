"""Each function that a mart for Spark may call, asked of both engines: the same answers.

    make parity

What is in no example is refused when the contract is loaded (`contract/portable.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from dagster_project.contract.model import HotKeys
from dagster_project.contract.portable import KNOWN
from dagster_project.contract.salting import Hot
from dagster_project.contract.translation import translate
from dagster_project.refine.macros import MACROS
from tests.parity.session import Session

_COLUMNS = {
    "id": "BIGINT",
    "g": "VARCHAR",
    "n": "INTEGER",
    "big": "BIGINT",
    "x": "DOUBLE",
    "d": "DECIMAL(18, 2)",
    "s": "VARCHAR",
    "moment": "TIMESTAMPTZ",
    "day": "DATE",
    "flag": "BOOLEAN",
    "items": "STRUCT(q INTEGER, p DECIMAL(18, 2))[]",
}
_SCHEMA = {"silver": {"t": _COLUMNS}}
# Of everything a null, an edge and what is usual: before 1970, on a leap day, at the ends of ISO years, beyond ASCII and the BMP.
_ROWS = [
    "(1, 'a', 1, 1, 0.5, 1.25, 'Ärger', '2026-01-01 00:00:00+00', '2026-01-01', true, [{'q': 1, 'p': 1.10}, {'q': 2, 'p': 2.20}])",
    "(2, 'a', -7, -7, -0.5, -1.25, '', '1969-12-31 23:59:59.999999+00', '1969-12-31', false, [])",
    "(3, 'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "(4, 'b', 2147483647, 9007199254740993, 1e15, 9999999999999999.99, '😀x', '2024-02-29 12:34:56.789012+00', '2024-02-29', true, [{'q': NULL, 'p': 3.30}])",
    "(5, 'b', 0, 0, 0.1, 0.00, 'a|b', '2027-01-03 23:45:00+00', '2027-01-03', false, [{'q': 5, 'p': NULL}])",
    "(6, NULL, 10, 10, 2.5, 10.00, ' x ', '2020-12-31 00:15:00+00', '2020-12-31', NULL, [{'q': 6, 'p': 0.01}])",
]
# By what is proven, a query over all of the table; every name of `KNOWN` is in one.
_EXAMPLES = {
    "count": "SELECT g, count(*) AS a, count(n) AS b, count(DISTINCT flag) AS c, count(*) FILTER (n > 0) AS d FROM silver.t GROUP BY g",
    "sum": "SELECT g, sum(n) AS a, sum(big) AS b, CAST(sum(d) AS DECIMAL(38, 2)) AS c FROM silver.t GROUP BY g",
    "avg": "SELECT g, avg(n) AS a, avg(d) AS b, avg(x) AS c FROM silver.t GROUP BY g",
    "min max": "SELECT g, min(s) AS a, max(s) AS b, min(moment) AS c, max(d) AS e, max(day) AS f FROM silver.t GROUP BY g",
    "rownumber rank denserank": "SELECT id, row_number() OVER w AS a, rank() OVER w AS b, dense_rank() OVER v AS c FROM silver.t WINDOW w AS (PARTITION BY g ORDER BY n DESC, id), v AS (ORDER BY flag)",
    "lag lead": "SELECT id, lag(n) OVER w AS a, lead(d, 2) OVER w AS b FROM silver.t WINDOW w AS (ORDER BY n, id)",
    "first last": "SELECT g, first(s ORDER BY n, id) AS a, last(s ORDER BY n, id) AS b FROM silver.t GROUP BY g",
    "percentilecont": "SELECT g, quantile_cont(n, 0.95) AS a, quantile_cont(x, 0.5) AS b FROM silver.t GROUP BY g",
    "and or case if coalesce nullif": "SELECT id, CASE WHEN n > 0 AND flag OR x < 0 THEN 1 WHEN flag IS NULL THEN 2 END AS a, coalesce(n, big, 3) AS b, nullif(n, 0) AS c, if(flag, 'y', 'n') AS e FROM silver.t",
    "greatest least abs": "SELECT id, greatest(n, 1) AS a, least(n, 1, NULL) AS b, abs(n) AS c, abs(d) AS e FROM silver.t",
    "ceil floor": "SELECT id, CAST(ceil(x) AS DOUBLE) AS a, CAST(floor(x) AS DOUBLE) AS b FROM silver.t WHERE id <> 4",
    "length left right startswith": "SELECT id, length(s) AS a, left(s, 1) AS b, right(s, 2) AS c, starts_with(s, 'a') AS e FROM silver.t",
    "md5 replace": "SELECT id, md5(s) AS a, replace(s, '|', '-') AS b FROM silver.t",
    "year quarter month day lastday": "SELECT id, year(moment) AS a, quarter(day) AS b, month(moment) AS c, day(day) AS e, last_day(day) AS f FROM silver.t",
    "isoyear week dayofweekiso": "SELECT id, isoyear(day) AS a, week(day) AS b, isodow(day) AS c FROM silver.t",
    "extract timestamptrunc": "SELECT id, extract(hour FROM moment) AS a, extract(minute FROM moment) AS b, date_trunc('hour', moment) AS c, CAST(date_trunc('week', moment) AS DATE) AS e FROM silver.t",
    "datebin": "SELECT id, time_bucket(INTERVAL 15 MINUTE, moment) AS a, time_bucket(INTERVAL 7 HOUR, moment) AS b FROM silver.t",
    "epoch_us": "SELECT id, epoch_us(moment) AS a, (epoch_us(moment) - 1) // 1000 AS b FROM silver.t",
    "cast": "SELECT id, CAST(moment AS DATE) AS a, CAST(n AS BIGINT) AS b, CAST(n AS DECIMAL(18, 2)) AS c, CAST(day AS VARCHAR) AS e, CAST(day AS TIMESTAMPTZ) AS f, CAST(n AS DOUBLE) AS g FROM silver.t",
    "concat": "SELECT id, concat(s, '|', n) AS a, s || '|' || g AS b, concat(day, epoch_us(moment)) AS c FROM silver.t",
    "format": "SELECT id, format('{:04d}-{}', id, g) AS a FROM silver.t WHERE g IS NOT NULL",
    "transform list_sum": "SELECT id, list_sum(list_transform(items, lambda i: i.q)) AS a FROM silver.t",
    "explode": "SELECT id, i.q AS a, i['p'] AS b FROM (SELECT id, unnest(items) AS i FROM silver.t)",
    "generateseries": "SELECT number, CAST(day AS DATE) AS day FROM range(3) AS numbers (number) CROSS JOIN generate_series(DATE '2024-02-28', DATE '2024-03-01', INTERVAL 1 DAY) AS days (day)",
    "window_state": "SELECT id, window_state(moment, TIMESTAMPTZ '2025-01-01 00:00:00+00', n) AS a FROM silver.t",
}
# Beside functions: what stands between them.
_CONSTRUCTS = {
    "qualify": "SELECT * FROM silver.t QUALIFY row_number() OVER (PARTITION BY g ORDER BY id) = 1",
    "qualify by another name": "SELECT id AS other, n FROM silver.t QUALIFY n IS DISTINCT FROM lag(n) OVER (ORDER BY id)",
    "rows compared": "SELECT id, (g, n) IS DISTINCT FROM lag((g, n)) OVER (ORDER BY id) AS a FROM silver.t",
    "filter over a window": "SELECT id, max(n) FILTER (WHERE flag) OVER (PARTITION BY g ORDER BY id) AS a, count(*) FILTER (flag) OVER (ORDER BY id) AS b FROM silver.t",
    "group by all": "SELECT g, flag, count(*) AS a FROM silver.t GROUP BY ALL",
    "grouped by a name": "SELECT time_bucket(INTERVAL 1 HOUR, moment) AS hour, count(*) AS a FROM silver.t GROUP BY hour",
    "intervals": "SELECT id, moment + INTERVAL 90 MINUTE AS a, day - 1 AS b, moment >= day + INTERVAL 1 DAY AS c, moment - n % 3 * INTERVAL 1 MINUTE AS e FROM silver.t",
    "union": "SELECT id, n FROM silver.t UNION ALL SELECT id, 0 AS n FROM silver.t WHERE flag",
    "joins": "SELECT a.id, b.id AS other FROM silver.t AS a LEFT JOIN silver.t AS b ON b.g = a.g AND b.n > a.n",
    "order of nulls": "SELECT id, row_number() OVER (ORDER BY s, id) AS a, row_number() OVER (ORDER BY s DESC, id) AS b FROM silver.t",
    "values": "SELECT k, v FROM (VALUES (1, 'one'), (2, NULL)) AS pairs (k, v)",
    "integers": "SELECT id, n % 3 AS a, n // 2 AS b, n / 4 AS c, -n AS e FROM silver.t",
    "decimals": "SELECT id, n % 100 * d AS a, d / 3 AS b, d * d AS c, CAST(d AS DECIMAL(18, 1)) AS e FROM silver.t WHERE id <> 4",
    "having": "SELECT g, sum(n) AS a FROM silver.t GROUP BY g HAVING count(*) > 1",
    "in": "SELECT id, s IN ('', 'a|b') AS a, n BETWEEN 0 AND 10 AS b, s LIKE 'a%' AS c FROM silver.t",
}


def test_every_name_that_is_allowed_has_an_example() -> None:
    assert {name for names in _EXAMPLES for name in names.split()} == KNOWN


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for macro in MACROS:
            connection.execute(macro)
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        connection.execute(f"CREATE SCHEMA silver; CREATE TABLE silver.t ({columns})")
        connection.execute(f"INSERT INTO silver.t VALUES {', '.join(_ROWS)}")
        yield connection


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*_EXAMPLES, *_CONSTRUCTS])
def test_both_engines_answer_the_same(
    name: str, session: Session, database: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    sql = {**_EXAMPLES, **_CONSTRUCTS}[name]
    assert_both(sql, translate(sql, _SCHEMA), session, database, tmp_path)


# Group a has three rows of six; what is joined with it has two rows of it, one of b and one of none.
_JOINED = "SELECT t.id, t.g, o.name FROM silver.t AS t {} (VALUES ('a', 'x'), ('a', 'y'), ('b', 'z'), ('c', 'w')) AS o (k, name) ON o.k = t.g"
_JOINS = {
    "inner": (_JOINED.format("JOIN"), True),
    "left": (_JOINED.format("LEFT JOIN"), True),
    "with itself": (
        "SELECT t.id, o.id AS b FROM silver.t AS t LEFT JOIN silver.t AS o ON t.g = o.g AND o.id > t.id",
        True,
    ),
    # Rows of the other side that find none would be there once for each salt.
    "right": (_JOINED.format("RIGHT JOIN"), False),
    "full": (_JOINED.format("FULL JOIN"), False),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", _JOINS)
def test_a_join_by_a_hot_key_answers_the_same_with_a_salt(
    name: str, session: Session, database: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    sql, salts = _JOINS[name]
    hot = {"silver.t": Hot(keys=HotKeys(column="g", values=("a", "it's"), salts=3), row=("id",))}
    spark = translate(sql, _SCHEMA, hot)
    assert ("SEQUENCE(0, 2)" in spark) == salts
    assert_both(sql, spark, session, database, tmp_path)


def assert_both(sql: str, spark: str, session: Session, database: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    table, answer = tmp_path / "t.parquet", tmp_path / "answer"
    database.sql("FROM silver.t").pl().write_parquet(table)
    session.ask({"table": str(table), "sql": spark, "answer": str(answer)})
    assert _told(pl.read_parquet(answer / "*.parquet")) == _told(database.sql(sql).pl()), spark


def _told(rows: pl.DataFrame) -> list[str]:
    """Rows as text, in one order: what kind of number a value is, the contract says in the end."""
    return sorted(str({name: _plain(value) for name, value in row.items()}) for row in rows.to_dicts())


def _plain(value: Any) -> str:
    match value:
        case None | bool() | str():
            return repr(value)
        case int() | Decimal():
            return str(Decimal(value).normalize() + 0)
        case float():
            return f"{value + 0.0:.12g}"  # of minus zero nothing
        case list():
            return str([_plain(item) for item in value])
        case dict():
            return str({name: _plain(item) for name, item in value.items()})
        case _:
            return value.isoformat()
