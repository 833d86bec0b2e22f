"""The only composition roots: settings, the command line, and what puts resolver and portal together."""
