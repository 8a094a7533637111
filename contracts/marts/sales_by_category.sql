WITH lines AS (
    SELECT event_date, region, currency, unnest(items) AS line
    FROM silver.orders
    WHERE status <> 'cancelled'
)

SELECT
    event_date,
    region,
    currency,
    coalesce(category, 'unknown')                           AS category,
    sum(line['quantity'])                                   AS units,
    sum(line['quantity'] * line['unit_price'])              AS revenue
FROM lines
LEFT JOIN gold.dim_product ON sku = line['sku']
GROUP BY ALL
