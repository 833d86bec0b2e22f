"""From live rows to a signed snapshot on every resolver, and what the resolvers say of it."""
