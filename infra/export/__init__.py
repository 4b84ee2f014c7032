"""Gives out what the archive holds, whole and checked: what `parley export` runs."""
