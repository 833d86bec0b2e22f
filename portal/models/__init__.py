"""SQLModel tables only: what is stored, and how rows hang together. No behaviour.

Times are whole seconds since 1970 UTC (the pages show them in the district's zone); dates of lessons are ISO dates in
the district's zone. Lists of plain strings and small objects are JSON columns: they are read and written whole.
Importing this package fills SQLModel's metadata with every table.
"""

from portal.models import (
    alerts,
    audit,
    delivery,
    district,
    levers,
    lists,
    people,
    platforms,
    profiles,
    requests,
    rules,
    sight,
)

__all__ = [
    "alerts",
    "audit",
    "delivery",
    "district",
    "levers",
    "lists",
    "people",
    "platforms",
    "profiles",
    "requests",
    "rules",
    "sight",
]
