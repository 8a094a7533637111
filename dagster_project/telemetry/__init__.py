"""What the platform tells of its work while it works: one line a batch, and spans of its steps."""
