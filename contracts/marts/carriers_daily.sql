SELECT
    event_date,
    carrier,
    count(*)                      AS flights,
    count(*) - count(dep_time)    AS cancellations,
    avg(arr_delay)                AS mean_arr_delay,
    count(DISTINCT region)        AS airports
FROM silver.flights
GROUP BY event_date, carrier
