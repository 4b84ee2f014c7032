"""The sequencer: numbers every channel, and keeps the checkpoints."""
