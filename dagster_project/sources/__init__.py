"""Events to show the platform on, sent exactly once, and an oracle that knows what must become of them."""
