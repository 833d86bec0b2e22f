"""The node's side of delivery: enrolled, subscribed, verified, kept."""
