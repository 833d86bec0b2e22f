"""What several commands share: where the data is, which settings rule, and how a failure is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.settings import BadSettings, Settings, load_settings

F = TypeVar("F", bound=Callable[..., Any])


def fail(message: str) -> click.ClickException:
    """Return the exception that ends a command with `message` on standard error and status 1."""
    return click.ClickException(message)


def with_settings(function: F) -> F:
    """Add `--config FILE` and `--data DIR`, which commands turn into settings with `settings_from`."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="SCHOOLGATE_CONFIG",
        help="The settings file (TOML).",
    )
    data = click.option(
        "--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of everything that is kept."
    )
    return config(data(function))


def settings_from(config: Path | None, data: Path | None) -> Settings:
    """Return the settings, `--data` over the file; every mistake ends the command with a list of all."""
    try:
        return settings_again(config, data)
    except BadSettings as error:
        raise fail(f"the settings have mistakes:\n{error}") from None


def settings_again(config: Path | None, data: Path | None) -> Settings:
    """Return the settings, `--data` over the file, for a process that runs. Raises `BadSettings`."""
    settings = load_settings(config)
    return settings if data is None else settings.model_copy(update={"data": data})


with_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Its first line is the passphrase that seals the keys: at least 12 characters.",
)


def passphrase(file: Path | None) -> str | None:
    """Return the first line of the file that `--passphrase-file` names; end the command when it is none."""
    if file is None:
        return None
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{file} cannot be read: {error}") from None
    if not lines or len(lines[0]) < 12:
        raise fail(f"{file}: the passphrase is its first line, and has at least 12 characters")
    return lines[0]
