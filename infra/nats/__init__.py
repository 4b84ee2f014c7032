"""The NATS server: its binary, and its configuration generated from the subjects that each service needs."""
