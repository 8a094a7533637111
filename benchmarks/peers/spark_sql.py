"""The contract of orders and its mart in the words of Spark SQL."""

from __future__ import annotations

_ITEMS = "ARRAY<STRUCT<sku: STRING, quantity: INT, unit_price: DECIMAL(18, 2)>>"
EVENT = f"""order_id STRING, ordered_at TIMESTAMP, event_time TIMESTAMP, region STRING, status STRING, customer_id STRING,
    currency STRING, amount DECIMAL(18, 2), items {_ITEMS}, note STRING"""
COORDINATES = ("partition AS kafka_partition", "offset AS kafka_offset", "timestamp AS kafka_timestamp")
# What does not parse is null, and `_corrupt` has its text.
PARSED = f"""from_json(CAST(value AS STRING), '{EVENT}, _corrupt STRING',
    map('mode', 'PERMISSIVE', 'columnNameOfCorruptRecord', '_corrupt'))"""
# The rules of the contract; null, where a required value is missing, is no better than false.
IS_SOUND = r"""coalesce(
    _corrupt IS NULL AND is_valid_utf8(CAST(value AS STRING))
    AND length(order_id) = 36
    AND region IN ('eu', 'us', 'apac', 'latam', 'mea')
    AND status IN ('created', 'paid', 'shipped', 'cancelled')
    AND length(customer_id) BETWEEN 1 AND 40
    AND currency IN ('EUR', 'USD', 'JPY')
    AND amount BETWEEN 0 AND 1000000
    AND size(items) BETWEEN 1 AND 200
    AND forall(items, i -> i.sku RLIKE '^[A-Z0-9-]{3,32}$' AND i.quantity BETWEEN 1 AND 999 AND i.unit_price >= 0)
    AND (note IS NULL OR length(note) <= 500)
    AND event_time >= ordered_at
, false)"""
AGE = "row_number() OVER (PARTITION BY order_id ORDER BY event_time DESC, kafka_offset DESC)"
MERGE = """
    MERGE INTO delta.`{silver}` AS old USING newest AS new
    ON old.event_date = new.event_date AND old.order_id = new.order_id
    WHEN MATCHED AND (new.event_time, new.kafka_offset) > (old.event_time, old.kafka_offset) THEN UPDATE SET *
    WHEN NOT MATCHED THEN INSERT *"""
GOLD = """
    SELECT event_date, region, currency,
        count_if(status <> 'cancelled') AS orders,
        count_if(status = 'cancelled') AS cancelled,
        coalesce(sum(aggregate(items, 0L, (n, i) -> n + i.quantity)) FILTER (WHERE status <> 'cancelled'), 0L) AS units,
        CAST(coalesce(sum(amount) FILTER (WHERE status <> 'cancelled'), 0) AS DECIMAL(18, 2)) AS revenue
    FROM delta.`{silver}` GROUP BY event_date, region, currency"""
# An event that keeps the contract, as it comes from the topic.
AN_EVENT = (
    '{"order_id":"00000000-0000-4000-8000-000000000000","ordered_at":"2026-01-01T00:00:00Z",'
    '"event_time":"2026-01-01T00:00:00Z","region":"eu","status":"created","customer_id":"c","currency":"EUR",'
    '"amount":1.00,"items":[{"sku":"SKU-1","quantity":1,"unit_price":1.00}]}'
)
