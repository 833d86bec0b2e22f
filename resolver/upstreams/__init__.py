"""The side that is asked: pools, encrypted channels, routes, and the cache of what came."""
