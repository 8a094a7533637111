WITH payments AS (
    SELECT
        *,
        concat(payment_id, '|', sequence)                              AS transaction_id,
        -- What a refund or a chargeback takes back: the capture before it.
        max(sequence) FILTER (WHERE kind = 'capture') OVER earlier     AS capture
    FROM silver.payments
    WINDOW earlier AS (PARTITION BY payment_id ORDER BY sequence)
),

-- Each payment event is one transaction of two lines, so nothing is ever changed: what corrects it is another transaction.
lines AS (
    SELECT
        payments.*,
        1                                                              AS line,
        CASE kind
            WHEN 'capture' THEN concat('cash:', currency)
            WHEN 'refund' THEN concat('revenue:', region)
            ELSE concat('chargebacks:', region)
        END                                                            AS account,
        amount                                                         AS debit,
        CAST(0 AS DECIMAL(18, 2))                                      AS credit
    FROM payments
    UNION ALL
    SELECT
        payments.*,
        2                                                              AS line,
        CASE kind
            WHEN 'capture' THEN concat('revenue:', region)
            ELSE concat('cash:', currency)
        END                                                            AS account,
        CAST(0 AS DECIMAL(18, 2))                                      AS debit,
        amount                                                         AS credit
    FROM payments
)

SELECT
    concat(transaction_id, '|', line)                                  AS posting_id,
    event_date,
    region,
    transaction_id,
    line,
    account,
    currency,
    debit,
    credit,
    kind,
    CASE WHEN kind <> 'capture' THEN payment_id || '|' || capture END AS reverses,
    payment_id,
    sequence,
    order_id,
    event_time                                                         AS posted_at,
    _kafka_partition                                                   AS kafka_partition,
    _kafka_offset                                                      AS kafka_offset,
    _correlation_id                                                    AS correlation_id
FROM lines
