"""What can be set, called or made is documented, and what is documented exists."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from deploy.cli import COMMANDS, main
from deploy.mail import MailSection
from deploy.oidc import OidcSection
from deploy.settings import PortalSection, ResolverSection, Settings

ROOT = Path(__file__).parent.parent.parent
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
COMMAND_PAGE = (ROOT / "docs" / "commands.md").read_text()


def _commands() -> set[str]:
    found = set()
    with click.Context(main) as context:
        for name in COMMANDS:
            command = main.get_command(context, name)  # type: ignore[attr-defined]
            words = list(command.commands) if isinstance(command, click.Group) else [""]
            found |= {f"{name} {word}".strip() for word in words}
    return found


def _documented_commands() -> set[str]:
    """The words in lower case after `schoolgate` in the table's first column."""
    return {found.strip() for found in re.findall(r"^\| `schoolgate ([a-z -]+?)[ `]*(?:[A-Z]+)?`", COMMAND_PAGE, re.M)}


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    assert _documented_commands() == _commands()


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    known = {*ResolverSection.model_fields, *PortalSection.model_fields, *OidcSection.model_fields, "data"} - {
        "oidc",
        "mail",
    }
    known |= {*MailSection.model_fields}
    assert set(Settings.model_fields) == {"data", "resolver", "portal"}
    rows = re.findall(r"^\| (`[a-z_`, ]+) \|", SETTINGS, re.M)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == known


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    assert named <= targets


def test_the_documents_of_the_readme_exist() -> None:
    for name in re.findall(r"\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    with click.Context(main) as context:
        command = main.get_command(context, name)  # type: ignore[attr-defined]
        assert command is not None
        assert command.help


def test_the_requirements_lock_names_no_registry_and_hashes_everything() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links \S*/", text)
    blocks = re.split(r"\n(?=\S)", text)
    pinned = [block for block in blocks if re.match(r"[A-Za-z0-9._-]+(\[[^\]]+\])?==", block)]
    assert len(pinned) > 40
    assert all("--hash=sha256:" in block for block in pinned)


def test_every_room_is_described_and_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        f"{init.parent.relative_to(ROOT)}/"
        for top in ("portal", "resolver")
        for init in (ROOT / top).glob("*/__init__.py")
    }
    assert rooms <= set(re.findall(r"`((?:portal|resolver)/[a-z]+/)`", text))
    for named in re.findall(r"`((?:blocklists|portal|resolver|deploy|tests)/[a-z_/]+(?:\.py)?)`", text):
        assert (ROOT / named).exists(), named
