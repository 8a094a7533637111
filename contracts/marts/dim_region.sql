SELECT region_key, region, name, time_zone, currency
FROM (
    VALUES
        (1, 'eu', 'Europe', 'Europe/Berlin', 'EUR'),
        (2, 'us', 'United States', 'America/New_York', 'USD'),
        (3, 'apac', 'Asia-Pacific', 'Asia/Tokyo', 'JPY')
) AS regions (region_key, region, name, time_zone, currency)
