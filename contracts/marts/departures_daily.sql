SELECT
    event_date,
    region,
    count(dep_time)                   AS departures,
    count(*) - count(dep_time)        AS cancellations,
    avg(dep_delay)                    AS mean_dep_delay,
    quantile_cont(dep_delay, 0.95)    AS p95_dep_delay
FROM silver.flights
GROUP BY event_date, region
