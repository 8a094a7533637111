SELECT
    event_date,
    region,
    visitor_id,
    count(*)                                                                AS views,
    count(DISTINCT page)                                                    AS pages,
    coalesce(sum(duration_ms), 0)                                           AS duration_ms
FROM silver.page_views
GROUP BY event_date, region, visitor_id
