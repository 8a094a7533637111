SELECT
    event_date,
    orders.region,
    currency,
    coalesce(segment, 'unknown')                                     AS segment,
    count(*) FILTER (status <> 'cancelled')                          AS orders,
    coalesce(sum(amount) FILTER (status <> 'cancelled'), 0)          AS revenue
FROM silver.orders AS orders
-- What the customer was when the order was placed, whatever they have become since.
LEFT JOIN gold.dim_customer AS customer
    ON customer.customer_id = orders.customer_id
    AND ordered_at >= valid_from
    AND (ordered_at < valid_to OR valid_to IS NULL)
GROUP BY ALL
