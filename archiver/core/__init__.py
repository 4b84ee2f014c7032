"""What the archiver decides: rows, segments, manifests."""
