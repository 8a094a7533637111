-- A visitor counts once in a window, however often seen, and each quarter of an hour is in four windows: so views are
-- first put together by visitor and quarter, which is most of the work and is done once.
WITH quarters AS (
    SELECT
        region,
        visitor_id,
        time_bucket(INTERVAL 15 MINUTE, event_time)                         AS quarter,
        count(*)                                                            AS views,
        count(*) FILTER (_late_us IS NOT NULL)                              AS late_rows,
        max(_kafka_timestamp) FILTER (_late_us IS NOT NULL)                 AS restated_at
    FROM silver.page_views
    GROUP BY region, visitor_id, quarter
), windows AS (
    SELECT
        region,
        quarter - hop * INTERVAL 15 MINUTE                                  AS window_start,
        quarter - hop * INTERVAL 15 MINUTE + INTERVAL 1 HOUR                AS window_end,
        sum(views)                                                          AS views,
        count(DISTINCT visitor_id)                                          AS visitors,
        sum(late_rows)                                                      AS late_rows,
        max(restated_at)                                                    AS restated_at
    FROM quarters CROSS JOIN (VALUES (0), (1), (2), (3)) AS hops (hop)
    GROUP BY region, window_start, window_end
)
SELECT
    CAST(window_start AS DATE)                                              AS event_date,
    windows.*,
    window_state(window_end, watermark, late_rows)                          AS state
FROM windows
LEFT JOIN lake.watermarks AS now ON now.dataset = 'page_views' AND now.region = windows.region
