WITH windows AS (
    SELECT
        event_date,
        region,
        currency,
        time_bucket(INTERVAL 1 MINUTE, ordered_at)                          AS window_start,
        time_bucket(INTERVAL 1 MINUTE, ordered_at) + INTERVAL 1 MINUTE      AS window_end,
        count(*) FILTER (status <> 'cancelled')                             AS orders,
        coalesce(sum(amount) FILTER (status <> 'cancelled'), 0)             AS revenue,
        count(*) FILTER (_late_us IS NOT NULL)                              AS late_rows,
        max(_kafka_timestamp) FILTER (_late_us IS NOT NULL)                 AS restated_at
    FROM silver.orders
    GROUP BY event_date, region, currency, window_start, window_end
)
SELECT
    windows.*,
    window_state(window_end, watermark, late_rows)                          AS state
FROM windows
LEFT JOIN lake.watermarks AS now ON now.dataset = 'orders' AND now.region = windows.region
