"""The side that devices ask: sockets, framing, TLS, the page for blocked names."""
