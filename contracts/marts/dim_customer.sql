-- Of what was said of one moment a delete counts, else the last region by name: not what happened to come last.
WITH moments AS (
    SELECT customer_id, _version_time AS valid_from, _deleted, region, segment, country
    FROM silver.customers
    QUALIFY row_number() OVER (PARTITION BY customer_id, _version_time ORDER BY _deleted DESC, region DESC) = 1
),

-- A change of nothing that this table has, such as of the email, begins no version.
changes AS (
    SELECT *
    FROM moments
    QUALIFY (_deleted, region, segment, country) IS DISTINCT FROM
        lag((_deleted, region, segment, country)) OVER (PARTITION BY customer_id ORDER BY valid_from)
),

-- A delete is a version, too, until here: it ends the one before it.
spans AS (
    SELECT *, lead(valid_from) OVER (PARTITION BY customer_id ORDER BY valid_from) AS valid_to
    FROM changes
)

SELECT
    left(md5(concat(customer_id, '|', epoch_us(valid_from))), 16)    AS customer_key,
    customer_id,
    region,
    segment,
    country,
    valid_from,
    valid_to,
    valid_to IS NULL                                                 AS is_current
FROM spans
WHERE NOT _deleted
