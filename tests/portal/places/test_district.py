"""Sites, groups, what is blocked for whom; previews; brakes and corrections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blocklists.policy import Switch
from portal.access import Actor
from portal.database import reading, transaction
from portal.doors import levers
from portal.doors.levers import CorrectionDraft
from portal.errors import Conflict, Forbidden, Invalid, NotFound
from portal.models.delivery import Publication
from portal.models.words import Role
from portal.places import district
from portal.places.district import Change, GroupDraft, SiteDraft
from portal.rules import blocking
from portal.rules.blocking import CategoryDraft
from tests.portal.frontdesk import LISTS, NOW, Desk

STAFF = GroupDraft("edison", "staff", ("127.0.0.3/32",), (), ("social-media", "vpn-proxy", "encrypted-dns"))


def wrong(refusal: pytest.ExceptionInfo[Invalid]) -> dict[str, str]:
    return {error.field: error.message for error in refusal.value.errors}


def test_the_demo_district_has_a_group_for_plain_dig(desk: Desk) -> None:
    with reading(desk.engine) as session:
        views = {view.group.id: view for view in district.groups(session)}
    assert "127.0.0.1/32" in views["edison/students"].group.networks
    assert views["edison/guests"].follows == "edison/students"
    assert views["edison/guests"].group.blocks == views["edison/students"].group.blocks != ()
    assert views["edison/staff"].follows is None
    assert "messaging" not in views["edison/staff"].group.blocks


def test_a_change_is_audited_published_and_compared_with_the_revision(desk: Desk) -> None:
    before = desk.count(Publication)
    draft = replace(STAFF, blocks=("vpn-proxy",), services={"instagram": "allow"})
    with transaction(desk.engine) as session:
        view = district.update_group(session, desk.amir, NOW, "edison/staff", 1, draft)
    assert (view.group.blocks, view.revision) == (("vpn-proxy",), 2)
    assert [(one.service, one.switch) for one in view.group.services] == [("instagram", Switch.ALLOW)]
    assert desk.count(Publication) == before + 1
    with pytest.raises(Conflict, match="Amir Khan changed edison/staff"), transaction(desk.engine) as session:
        district.update_group(session, desk.amir, NOW, "edison/staff", 1, draft)


BAD_NETWORKS = [
    ("10.1.2.3/16", "did you mean 10.1.0.0/16?"),
    ("10.1.0.0/33", "is not a network"),
    ("edison", "is not a network"),
    ("0.0.0.0/0", "every client"),
    ("::ffff:10.0.0.0/104", "IPv4 network in IPv6 clothes"),
    ("127.0.0.13/32", "'lincoln/staff'"),
    ("127.0.0.13", "'lincoln/staff'"),
]


@pytest.mark.parametrize(("network", "sentence"), BAD_NETWORKS)
def test_a_network_that_cannot_be_is_refused_with_the_reason(desk: Desk, network: str, sentence: str) -> None:
    draft = replace(STAFF, networks=("10.9.0.0/16", network))
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        district.update_group(session, desk.amir, NOW, "edison/staff", 1, draft)
    assert sentence in wrong(refusal)["networks[1]"]


def test_every_mistake_of_a_group_is_told_at_once(desk: Desk) -> None:
    draft = GroupDraft(
        "atlantis", "parents", ("x",), ("y",), ("games",), {"myspace-of-1999": "allow", "instagram": "perhaps"}
    )
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        district.create_group(session, desk.amir, NOW, draft)
    assert set(wrong(refusal)) == {
        "audience",
        "site",
        "networks[0]",
        "asked[0]",
        "blocks[0]",
        "services.myspace-of-1999",
        "services.instagram",
    }


def test_locked_categories_are_blocked_unsaid_and_a_group_exists_once(desk: Desk) -> None:
    draft = GroupDraft("away", "guests", ("10.8.0.0/16", "10.8.0.0/16"), ("10.8.0.53",))
    with transaction(desk.engine) as session:
        view = district.create_group(session, desk.amir, NOW, draft)
        assert (view.group.networks, view.follows) == (("10.8.0.0/16",), "away/students")
        with pytest.raises(Invalid, match="mend"):
            district.create_group(session, desk.amir, NOW, draft)
        staff = district.update_group(
            session, desk.amir, NOW, "away/staff", 1, GroupDraft("away", "staff", blocks=("adult", "messaging"))
        )
        assert staff.group.blocks == ("messaging",)


def test_guests_take_the_students_blocks(desk: Desk) -> None:
    draft = GroupDraft("edison", "guests", ("127.0.0.4/32",), (), ("messaging",))
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        district.update_group(session, desk.amir, NOW, "edison/guests", 1, draft)
    assert "change them at edison/students" in wrong(refusal)["blocks"]
    with transaction(desk.engine) as session:
        students = district.group(session, "edison/students").group
        open_students = GroupDraft("edison", "students", students.networks, (), ("vpn-proxy",))
        district.update_group(session, desk.amir, NOW, "edison/students", 1, open_students)
        assert district.group(session, "edison/guests").group.blocks == ("vpn-proxy",)


def test_a_preview_says_what_would_change_and_changes_nothing(desk: Desk) -> None:
    students = GroupDraft("edison", "students", ("127.0.0.1/32",), (), ("social-media",), {"instagram": "allow"})
    fresh = GroupDraft("service-center", "students", ("10.3.0.0/16",))
    drafts = {"edison/students": students, "service-center/students": fresh}
    with reading(desk.engine) as session:
        found = district.preview(session, drafts)
        assert found.before == tuple(view.group for view in district.groups(session))
    assert Change("edison/students", "category messaging", "blocked", "allowed") in found.changes
    assert Change("edison/guests", "category messaging", "blocked", "allowed") in found.changes
    assert Change("edison/students", "service instagram", "as its category", "allow") in found.changes
    assert Change("edison/students", "networks", "127.0.0.1/32, 127.0.0.2/32, ::1/128", "127.0.0.1/32") in found.changes
    assert Change("service-center/students", "group", "does not exist", "is made") in found.changes
    assert not any(change.group.startswith("lincoln") for change in found.changes)
    with pytest.raises(Invalid) as refusal, reading(desk.engine) as session:
        district.preview(session, {"edison/students": replace(students, networks=("127.0.0.3/32",))})
    assert "'edison/staff'" in wrong(refusal)["edison/students.networks[0]"]


def test_sites_are_made_and_renamed_with_their_id_kept(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        district.create_site(session, desk.amir, NOW, SiteDraft("carver", "Carver Elementary", "elementary"))
        district.update_site(session, desk.amir, NOW, "carver", SiteDraft("x", "Carver School", "middle"))
        assert (district.site(session, "carver").name, district.site(session, "carver").level) == (
            "Carver School",
            "middle",
        )
        for bad in ("", "*", "unassigned", "Carver", "a b", "carver", "x" * 41):
            with pytest.raises(Invalid) as refusal:
                district.create_site(session, desk.amir, NOW, SiteDraft(bad, "", "castle"))
            assert set(wrong(refusal)) == {"id", "name", "level"}


def test_categories_that_ship_locked_stay_locked(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        with pytest.raises(Invalid, match="mend") as refusal:
            blocking.update_category(session, desk.amir, NOW, "adult", CategoryDraft("Adult", "", False, "nxdomain"))
        assert "locked by law" in wrong(refusal)["locked"]
        made = blocking.create_category(session, desk.amir, NOW, "games", CategoryDraft("Games", "", True, "nodata"))
        blocking.update_category(session, desk.amir, NOW, "games", CategoryDraft("Games", "", False, "null"))
        assert (made.locked, made.style) == (False, "null")


def test_a_service_is_switched_for_many_groups_at_once(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        view = blocking.switch_service(
            session, desk.amir, NOW, "instagram", ("edison/staff", "lincoln/staff"), Switch.ALLOW
        )
        assert view.switches == {"edison/staff": Switch.ALLOW, "lincoln/staff": Switch.ALLOW}
        view = blocking.switch_service(session, desk.amir, NOW, "instagram", ("edison/staff",), None)
        assert view.switches == {"lincoln/staff": Switch.ALLOW}
        assert district.group(session, "edison/staff").revision == 3
        with pytest.raises(Invalid):
            blocking.switch_service(session, desk.amir, NOW, "instagram", ("nowhere/staff",), None)
        with pytest.raises(NotFound):
            blocking.switch_service(session, desk.amir, NOW, "nothing", ("edison/staff",), None)


@pytest.mark.parametrize("who", ["tess", "rosa", "ada"])
def test_only_an_administrator_changes_the_district(desk: Desk, who: str) -> None:
    actor: Actor = getattr(desk, who)
    category = CategoryDraft("x", "", False, "nxdomain")
    with transaction(desk.engine) as session:
        for attempt in (
            lambda: district.create_site(session, actor, NOW, SiteDraft("x", "X")),
            lambda: district.update_site(session, actor, NOW, "edison", SiteDraft("x", "X")),
            lambda: district.create_group(session, actor, NOW, STAFF),
            lambda: district.update_group(session, actor, NOW, "edison/staff", 1, STAFF),
            lambda: blocking.create_category(session, actor, NOW, "x", category),
            lambda: blocking.update_category(session, actor, NOW, "adult", category),
            lambda: blocking.switch_service(session, actor, NOW, "instagram", ("edison/staff",), None),
            lambda: levers.set_brake(session, actor, NOW, "x.example.com", "y"),
            lambda: levers.release_brake(session, actor, NOW, 1),
        ):
            with pytest.raises(Forbidden):
                attempt()


def test_a_brake_is_set_once_and_released_once(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        brake = levers.set_brake(session, desk.amir, NOW, "https://phish.example.com/x", "A phishing page.")
        assert (brake.name, brake.created_by) == ("phish.example.com", "Amir Khan")
        with pytest.raises(Conflict, match=r"holds phish\.example\.com already"):
            levers.set_brake(session, desk.amir, NOW, "phish.example.com", "again")
        with pytest.raises(Invalid):
            levers.set_brake(session, desk.amir, NOW, "com", "all of it")
        assert [one.id for one in levers.brakes(session)] == [brake.id]
        levers.release_brake(session, desk.amir, NOW, brake.id)
        assert levers.brakes(session) == ()
        with pytest.raises(Conflict, match="Amir Khan released this brake at 10:42 CST"):
            levers.release_brake(session, desk.amir, NOW, brake.id)
    robot = desk.machine(Role.ADMINISTRATOR)
    with pytest.raises(Forbidden), transaction(desk.engine) as session:
        levers.set_brake(session, robot, NOW, "x.example.com", "y")


CORRECTION = CorrectionDraft("health.example.org", "subtree", ("seed-adult",), "A clinic.", "2026-06-01")


def test_a_correction_of_a_locked_list_waits_for_a_second_person(desk: Desk) -> None:
    with transaction(desk.engine) as session:
        locked = levers.create_correction(session, desk.rosa, NOW, CORRECTION, LISTS)
        plain = levers.create_correction(
            session, desk.amir, NOW, replace(CORRECTION, lists=("seed-social-media",)), LISTS
        )
        every = levers.create_correction(session, desk.amir, NOW, replace(CORRECTION, lists=("*", "x")), LISTS)
        assert (locked.waits, plain.waits, every.waits, every.lists) == (True, False, True, ("*",))
        with pytest.raises(Forbidden, match="Only an administrator"):
            levers.confirm_correction(session, desk.ben, NOW, locked.id, LISTS)
        with pytest.raises(Forbidden, match="somebody else"):
            levers.confirm_correction(session, desk.amir, NOW, every.id, LISTS)
        confirmed = levers.confirm_correction(session, desk.amir, NOW, locked.id, LISTS)
        assert (confirmed.waits, confirmed.confirmed_by) == (False, "Amir Khan")
        with pytest.raises(Conflict, match="confirmed by Amir Khan already"):
            levers.confirm_correction(session, desk.amir, NOW, locked.id, LISTS)
        levers.end_correction(session, desk.rosa, NOW, plain.id, LISTS)
        with pytest.raises(Conflict, match="ended already"):
            levers.end_correction(session, desk.rosa, NOW, plain.id, LISTS)
        assert [one.id for one in levers.corrections(session, LISTS)] == [every.id, locked.id]


def test_every_mistake_of_a_correction_is_told_at_once(desk: Desk) -> None:
    bad = CorrectionDraft("com", "via", ("nothing",), "", "2026-03-04")
    with pytest.raises(Invalid) as refusal, transaction(desk.engine) as session:
        levers.create_correction(session, desk.rosa, NOW, bad, LISTS)
    assert set(wrong(refusal)) == {"name", "match", "lists[0]", "reason", "review_on"}
    with pytest.raises(Forbidden), transaction(desk.engine) as session:
        levers.create_correction(session, desk.tess, NOW, CORRECTION, LISTS)
