"""The archiver: history in Parquet, and every question about it."""
