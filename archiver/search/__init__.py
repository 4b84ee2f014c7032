"""Full-text search: an index of its own beside the Parquet files, derived like the cache."""
