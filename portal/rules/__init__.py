"""What is blocked for whom: categories and services per group, as dated policy."""
