"""Proof that clients, log, archive and checkpoints hold the same: what `parley verify` runs."""
