"""Everything around the services: processes, NATS configuration, the `parley` command."""
