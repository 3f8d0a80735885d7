"""What end-to-end tests share; each module makes its own ``films`` folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def here(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with copies of the module's films, as the working directory."""
    for path in films.glob("*.mkv"):
        shutil.copy(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
