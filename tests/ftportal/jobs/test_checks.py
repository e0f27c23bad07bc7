"""The system checks speak up before something goes wrong."""

from pathlib import Path
from typing import Any

from ftportal.checks import data_folder_is_writable, lease_outlives_a_locked_database


def test_a_folder_that_can_be_made_is_fine(settings: Any, tmp_path: Path) -> None:
    settings.FTPORTAL_DATA = tmp_path / "not" / "there" / "yet"
    assert data_folder_is_writable(None) == []


def test_a_file_in_the_place_of_the_folder_is_told(settings: Any, tmp_path: Path) -> None:
    settings.FTPORTAL_DATA = tmp_path / "file"
    settings.FTPORTAL_DATA.write_text("")
    (told,) = data_folder_is_writable(None)
    assert "cannot be written" in told.msg and "FTPORTAL_DATA" in (told.hint or "")


def test_a_lease_shorter_than_the_wait_for_sqlite_is_told(settings: Any) -> None:
    assert lease_outlives_a_locked_database(None) == []
    settings.FTPORTAL_LEASE_SECONDS = 3
    (told,) = lease_outlives_a_locked_database(None)
    assert "3 s" in told.msg
