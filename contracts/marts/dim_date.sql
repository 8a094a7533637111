SELECT
    CAST(day AS DATE)             AS date_key,
    year(day)                     AS year,
    quarter(day)                  AS quarter,
    month(day)                    AS month,
    isoyear(day)                  AS iso_year,
    week(day)                     AS iso_week,
    isodow(day)                   AS weekday,
    isodow(day) >= 6              AS is_weekend,
    day = last_day(day)           AS is_month_end
FROM generate_series(DATE '2013-01-01', DATE '2035-12-31', INTERVAL 1 DAY) AS days (day)
