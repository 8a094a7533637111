WITH steps AS (
    SELECT
        event_date,
        region,
        count(DISTINCT visitor_id) FILTER (page = 'product')                AS product_visitors,
        count(DISTINCT visitor_id) FILTER (page = 'cart')                   AS cart_visitors,
        count(DISTINCT visitor_id) FILTER (page = 'checkout')               AS checkout_visitors,
        0                                                                   AS orders_placed,
        0                                                                   AS orders_paid
    FROM silver.page_views
    GROUP BY event_date, region
    UNION ALL
    SELECT
        event_date,
        region,
        0                                                                   AS product_visitors,
        0                                                                   AS cart_visitors,
        0                                                                   AS checkout_visitors,
        count(*)                                                            AS orders_placed,
        count(*) FILTER (status IN ('paid', 'shipped'))                     AS orders_paid
    FROM silver.orders
    GROUP BY event_date, region
)
SELECT
    event_date,
    region,
    sum(product_visitors)                                                   AS product_visitors,
    sum(cart_visitors)                                                      AS cart_visitors,
    sum(checkout_visitors)                                                  AS checkout_visitors,
    sum(orders_placed)                                                      AS orders_placed,
    sum(orders_paid)                                                        AS orders_paid
FROM steps
GROUP BY event_date, region
