"""Blocklists: where they come from, when they are fetched, the bases that are built of them."""
