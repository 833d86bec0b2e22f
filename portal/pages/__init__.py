"""Pages for people: thin routes that read a form, call one service and render a template.

`router` holds every page; `failures.page` is the page for errors; `frame.STATIC` is the folder of static files.
"""

from __future__ import annotations

from fastapi import APIRouter

from portal.pages import (
    account,
    answers,
    audit,
    brakes,
    brand,
    changes,
    corrections,
    desk,
    district,
    exceptions,
    explain,
    grants,
    lists,
    modes,
    nodes,
    oidc,
    overview,
    people,
    platforms,
    profiles,
    register,
    requests,
    restored,
    roster,
    services,
    setup,
    sign_in,
    tokens,
    traffic,
    why,
)

router = APIRouter(include_in_schema=False)
for _feature in (
    sign_in,
    oidc,
    requests,
    desk,
    grants,
    explain,
    why,
    answers,
    lists,
    services,
    overview,
    district,
    brakes,
    brand,
    changes,
    corrections,
    exceptions,
    setup,
    modes,
    nodes,
    traffic,
    restored,
    roster,  # before people: its path is not a number
    people,
    profiles,
    register,  # before platforms: a year is one part of its path
    platforms,
    tokens,
    account,
    audit,
):
    router.include_router(_feature.router)
