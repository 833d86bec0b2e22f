"""DNS messages and what they say: bytes and records, no sockets."""
