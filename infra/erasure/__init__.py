"""Erasing as the operator does it: what is named is recorded, waited for, and proven to be gone."""
