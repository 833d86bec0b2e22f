"""Snapshot and query in, answer out. May import `blocklists`; never `portal`."""
