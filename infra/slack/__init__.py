"""Imports a Slack export: what `parley import slack` runs."""
