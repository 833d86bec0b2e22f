"""Request in, review, decision, snapshot, offer, acknowledgement. May import `blocklists`; never `resolver`."""
