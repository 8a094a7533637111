"""How long a run may take, as tags that Dagster's monitoring reads."""

# Ingest ends by itself after 180 s and one batch, catching up likewise, and both then tell the UI for up to a minute.
# What runs for longer hangs. Work is committed batch by batch: a run that is ended costs the batch in its hands.
BOUNDED = {"dagster/max_runtime": "300"}
# Accounting reads every coordinate and keeps nothing if it is ended: millions of rows a minute, so a hundred million.
BOUNDED_ACCOUNTING = {"dagster/max_runtime": "3600"}
