"""What the sequencer decides: numbers and states of one partition."""
