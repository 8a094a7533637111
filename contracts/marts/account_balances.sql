SELECT
    event_date,
    region,
    account,
    currency,
    sum(debit)                AS debit,
    sum(credit)               AS credit,
    sum(debit) - sum(credit)  AS balance
FROM gold.ledger
GROUP BY event_date, region, account, currency
