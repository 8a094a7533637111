SELECT
    event_date,
    region,
    currency,
    count(*) FILTER (status <> 'cancelled')                                             AS orders,
    count(*) FILTER (status = 'cancelled')                                              AS cancelled,
    coalesce(sum(list_sum(list_transform(items, lambda i: i.quantity))) FILTER (status <> 'cancelled'), 0) AS units,
    coalesce(sum(amount) FILTER (status <> 'cancelled'), 0)                             AS revenue
FROM silver.orders
GROUP BY event_date, region, currency
