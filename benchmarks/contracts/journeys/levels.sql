SELECT event_date, region, count(*) AS readings, sum(level) AS total FROM silver.readings GROUP BY ALL
