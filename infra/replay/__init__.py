"""Replays a chat log through real WebSocket clients, and proves what arrived: what `parley replay` runs."""
