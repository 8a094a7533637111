-- A session ends where a visitor pauses for 30 minutes. One that never pauses, as a bot's, is cut at midnight, so that a
-- day can be computed from itself and the days beside it: after a whole day without a pause a session begins anew.
WITH views AS (
    SELECT
        event_date,
        region,
        visitor_id,
        view_id,
        event_time,
        page,
        _late_us,
        _kafka_timestamp,
        lag(event_time) OVER (PARTITION BY region, visitor_id ORDER BY event_time, view_id)  AS previous
    FROM silver.page_views
), whole_days AS (
    SELECT region, visitor_id, event_date
    FROM views
    GROUP BY region, visitor_id, event_date
    HAVING min(event_time) < event_date + INTERVAL 30 MINUTE
        AND count(*) FILTER (previous >= event_date AND event_time >= previous + INTERVAL 30 MINUTE) = 0
), begun AS (
    SELECT
        views.*,
        CASE
            WHEN previous IS NULL OR event_time >= previous + INTERVAL 30 MINUTE
                OR (previous < views.event_date AND whole_days.event_date IS NOT NULL) THEN event_time
        END                                                                 AS beginning
    FROM views
    LEFT JOIN whole_days
        ON whole_days.region = views.region
        AND whole_days.visitor_id = views.visitor_id
        AND whole_days.event_date = views.event_date - 1
), placed AS (
    SELECT
        *,
        max(beginning) OVER (PARTITION BY region, visitor_id ORDER BY event_time, view_id)   AS session_start
    FROM begun
), sessions AS (
    SELECT
        CAST(session_start AS DATE)                                         AS event_date,
        region,
        concat(visitor_id, '|', epoch_us(session_start))                    AS session_id,
        visitor_id,
        session_start,
        max(event_time)                                                     AS session_end,
        count(*)                                                            AS views,
        count(DISTINCT page)                                                AS pages,
        first(page ORDER BY event_time, view_id)                            AS entry_page,
        last(page ORDER BY event_time, view_id)                             AS exit_page,
        count(*) FILTER (_late_us IS NOT NULL)                              AS late_rows,
        max(_kafka_timestamp) FILTER (_late_us IS NOT NULL)                 AS restated_at
    FROM placed
    GROUP BY region, visitor_id, session_start
)
SELECT
    sessions.*,
    (epoch_us(session_end) - epoch_us(session_start)) // 1000               AS duration_ms,
    -- No view can join it after its pause, on a full quarter of an hour, or after the midnight that cuts every session.
    window_state(
        least(time_bucket(INTERVAL 15 MINUTE, session_end + INTERVAL 45 MINUTE), event_date + INTERVAL 2 DAY),
        watermark,
        late_rows
    )                                                                       AS state
FROM sessions
LEFT JOIN lake.watermarks AS now ON now.dataset = 'page_views' AND now.region = sessions.region
