WITH windows AS (
    SELECT
        event_date,
        region,
        time_bucket(INTERVAL 1 HOUR, sold_at)                               AS window_start,
        time_bucket(INTERVAL 1 HOUR, sold_at) + INTERVAL 1 HOUR             AS window_end,
        count(*)                                                            AS sales,
        sum(price)                                                          AS revenue,
        count(*) FILTER (_late_us IS NOT NULL)                              AS late_rows,
        max(_kafka_timestamp) FILTER (_late_us IS NOT NULL)                 AS restated_at
    FROM silver.sales
    GROUP BY event_date, region, window_start, window_end
)
SELECT windows.*, window_state(window_end, watermark, late_rows)            AS state
FROM windows
LEFT JOIN lake.watermarks AS now ON now.dataset = 'sales' AND now.region = windows.region
