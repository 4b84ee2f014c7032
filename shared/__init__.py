"""What all services agree on: the vocabulary (ids, events, subjects) and the plumbing (bus, logs, health)."""
