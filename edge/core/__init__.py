"""What the edge decides, without a clock or a socket."""
