"""HTTP routes: channels, history, messages."""
