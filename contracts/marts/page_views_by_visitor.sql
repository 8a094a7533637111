-- In two steps, as a bot may have a third of all views: first by a salt of the view, which no single visitor can make
-- large, then by visitor. Figures do not depend on the salt.
WITH salted AS (
    SELECT
        event_date,
        region,
        visitor_id,
        page,
        hash(view_id) % 16                                                  AS salt,
        count(*)                                                            AS views,
        sum(duration_ms)                                                    AS duration_ms
    FROM silver.page_views
    GROUP BY event_date, region, visitor_id, page, salt
)
SELECT
    event_date,
    region,
    visitor_id,
    sum(views)                                                              AS views,
    count(DISTINCT page)                                                    AS pages,
    coalesce(sum(duration_ms), 0)                                           AS duration_ms
FROM salted
GROUP BY event_date, region, visitor_id
