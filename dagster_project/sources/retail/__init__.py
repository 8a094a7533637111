"""A retail business from one seed: its orders, payments, page views and customers, and the trouble that streams have."""
