WITH categories (number, category, article) AS (
    VALUES
        (0, 'books', 'Novel'),
        (1, 'clothing', 'Jacket'),
        (2, 'electronics', 'Headphones'),
        (3, 'garden', 'Lantern'),
        (4, 'grocery', 'Coffee'),
        (5, 'home', 'Blanket'),
        (6, 'sports', 'Racket'),
        (7, 'toys', 'Puzzle')
)
SELECT
    product + 1                               AS product_key,
    format('SKU-{:04d}', product)             AS sku,
    category,
    format('{} No. {}', article, product)     AS name
FROM range(500) AS products (product)
JOIN categories ON number = product % 8
