"""What every service agrees on: the vocabulary (ids, events, subjects) and the plumbing (bus, logs, health)."""
