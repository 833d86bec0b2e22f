"""What the resolver would say now, and why: the one decider on the current snapshot."""
