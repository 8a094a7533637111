"""Every variable that the platform reads: its type, what it is for, and where its value came from."""
