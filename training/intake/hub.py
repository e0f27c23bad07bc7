"""A model from the Hugging Face hub: one commit of it, only the files that are needed.

Files go to DIR/files, which all attempts share: what is there is not fetched again, and a file that
was cut off goes on where it was (the library's own downloads begin anew in every process).
HF_ENDPOINT, HF_TOKEN and the like are those of the worker.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._headers import build_hf_headers
from tqdm import tqdm

from engine.attempt import Attempt, EngineError
from engine.checks import ConfigError
from engine.directory import files_beside
from engine.jsonfiles import json_file_read
from engine.manifest import MANIFEST_NAME, file_sha256
from engine.modelcheck import directory_check
from engine.process import FAILED
from engine.tensorfiles import INDEX_LIMIT_BYTES, INDEX_NAME, SINGLE_NAME, SUFFIX
from training.config.intake import FETCHED_NAME

_BESIDE = re.compile(r"(config|generation_config)\.json|(LICEN[CS]E|NOTICE|README)(\.\w+)?")
_GIGABYTE = 1e9
_SPARE_BYTES = 1 << 30
_OTHER_CURE = "Choose another revision of it, or another model."
_SAFETENSORS_CURE = "Only safetensors are fetched: pickled weights can run code."


class Fetch:
    """The download of one model."""

    def __init__(self, hub_id: str, revision: str | None, attempt: Attempt) -> None:
        self._hub_id = hub_id
        self._asked = revision
        self._attempt = attempt
        self._folder = attempt.job_directory / FETCHED_NAME
        self._sizes: dict[str, int] = {}
        self._hashes: dict[str, str] = {}
        """SHA-256 of large files, as the hub has them."""
        self._names: list[str] = []
        self.commit = ""
        """The commit that the revision was when the first attempt asked."""
        self.licence = ""

    def run(self) -> Path:
        """Fetch what is missing and return the directory. Raises ConfigError for what the hub does
        not have or does not give, EngineError where it cannot be reached."""
        with _told(self._hub_id, self._asked):
            sizes = self._sizes = self._look()
            self._attempt.check_stop()
            self._folder.mkdir(exist_ok=True)
            beside = [name for name in sizes if _is_small(name)]
            progress = _Progress(self._attempt)
            for name in beside:
                self._fetch(name, progress)
            directory_check("the model", str(self._folder), weights=False)
            weights = self._weight_names(sizes)
            self._names = [*beside, *weights]
            progress.total_bytes = sum(sizes[name] for name in self._names)
            self._room_check()
            for name in weights:
                self._fetch(name, progress)
        return self._folder

    def hand_over(self, output: Path) -> None:
        """Move the files, and a manifest of them, to `output`; nothing is copied."""
        for name in [*self._names, MANIFEST_NAME]:
            (self._folder / name).rename(output / name)
        shutil.rmtree(self._folder)

    def _look(self) -> dict[str, int]:
        """Pin the commit and return the sizes of the files at the top of the repository."""
        pinned = self._attempt.job_directory / "commit.json"
        revision = json.loads(pinned.read_bytes()) if pinned.is_file() else self._asked
        info = HfApi().model_info(self._hub_id, revision=revision, files_metadata=True)
        if not info.sha or not re.fullmatch(r"[0-9a-f]{40,64}", info.sha):
            raise ConfigError("the hub", "the hub names no commit", "Ask whoever runs the hub.")
        self.commit = info.sha
        pinned.write_text(json.dumps(info.sha))
        card = info.card_data.to_dict() if info.card_data else {}
        self.licence = str(card.get("license") or "")[:80]
        files = {one.rfilename: one for one in info.siblings or [] if "/" not in one.rfilename}
        self._hashes = {name: one.lfs.sha256 for name, one in files.items() if one.lfs}
        return {name: one.size or 0 for name, one in files.items()}

    def _weight_names(self, sizes: Mapping[str, int]) -> list[str]:
        """The files of weights; ConfigError where they are not all there as safetensors."""
        names: Any = {SINGLE_NAME: SINGLE_NAME}
        if INDEX_NAME in sizes:
            try:
                index = json_file_read(self._folder / INDEX_NAME, limit_bytes=INDEX_LIMIT_BYTES)
            except ValueError as error:
                raise ConfigError("the model", f"{INDEX_NAME} {error}", _OTHER_CURE) from error
            names = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict) or not names:
            message = f"{INDEX_NAME} has no weight_map, an object of tensors and their files"
            raise ConfigError("the model", message, _OTHER_CURE)
        for name in names.values():
            if not isinstance(name, str) or name not in sizes or not name.endswith(SUFFIX):
                message = f"{self._hub_id} has no safetensors weights ({name!s:.80} is missing)"
                raise ConfigError("the hub", message, _SAFETENSORS_CURE)
        return sorted(set(names.values()))

    def _room_check(self) -> None:
        there = sum(path.stat().st_size for path in self._folder.iterdir())
        missing = sum(self._sizes[name] for name in self._names) - there
        free = shutil.disk_usage(self._folder).free - _SPARE_BYTES
        if missing > free:
            message = (
                f"{missing / _GIGABYTE:,.1f} GB are still to come, and the disk has room for "
                f"{max(free, 0) / _GIGABYTE:,.1f} GB"
            )
            raise EngineError(FAILED, "the disk", message, "Make room, then start it again.")

    def _fetch(self, name: str, progress: "_Progress") -> None:
        path, partial = self._folder / name, self._folder / f"{name}.partial"
        if not path.is_file():
            if partial.is_file() and partial.stat().st_size > self._sizes[name]:
                partial.unlink()  # no part of this file
            with partial.open("ab") as file:
                http_get(
                    hf_hub_url(self._hub_id, name, revision=self.commit),
                    file,
                    resume_size=file.tell(),
                    headers=build_hf_headers(),
                    expected_size=self._sizes[name],
                    tqdm_class=progress.bar_class(),
                )
            wanted = self._hashes.get(name)
            if wanted is not None and file_sha256(partial) != wanted:
                partial.unlink()
                message = f"{name} is not what the hub says it is: its SHA-256 differs"
                raise EngineError(FAILED, "the hub", message, "Start it again: it is fetched anew.")
            partial.rename(path)
        self._attempt.check_stop()
        progress.file_done(path.stat().st_size)


def _is_small(name: str) -> bool:
    """Whether a file is fetched before the weights, for it says what they must be."""
    return name == INDEX_NAME or files_beside(name) or _BESIDE.fullmatch(name) is not None


class _Progress:
    """Says how much has come, and stops in the middle of a file when that was asked."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.total_bytes: int | None = None
        self._done_bytes = 0

    def file_done(self, size_bytes: int) -> None:
        """Count a file that is there."""
        self._done_bytes += size_bytes
        self._say(self._done_bytes)

    def _say(self, size_bytes: float) -> None:
        self._attempt.events.progress(
            done=size_bytes, total=self.total_bytes, unit="bytes", phase="fetching"
        )

    def bar_class(self) -> type:
        """Return what the hub's library tells its progress: a bar that draws nothing."""
        outer = self

        class Bar(tqdm):
            """Passes on where a file's download is."""

            def __init__(self, *arguments: Any, **settings: Any) -> None:
                settings.pop("name", None)
                super().__init__(*arguments, **settings | {"disable": True})
                self.n = settings.get("initial") or 0

            def update(self, n: float | None = 1) -> None:
                """n: bytes that have come since the last call."""
                outer._attempt.check_stop()
                self.n += n or 0
                outer._say(outer._done_bytes + self.n)

        return Bar


@contextmanager
def _told(hub_id: str, revision: str | None) -> Iterator[None]:
    """Say in words what the hub answers."""
    named = f"{hub_id}@{revision}" if revision else hub_id
    try:
        yield
    except GatedRepoError as error:
        message = f"{named} is given only to those who have accepted its terms"
        cure = "Accept them on the hub and give the worker a token (HF_TOKEN)."
        raise ConfigError("the hub", message, cure) from error
    except RevisionNotFoundError as error:
        message = f"{hub_id} has no revision {revision}"
        raise ConfigError("the revision", message, "Look it up on the hub.") from error
    except RepositoryNotFoundError as error:
        message = f"the hub has no model {hub_id}, or not for this worker"
        cure = "Look at its name; a private model needs a token (HF_TOKEN)."
        raise ConfigError("the hub", message, cure) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise  # of the disk
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"the hub could not be reached: {said}"
        cure = "Start it again: it goes on where it was."
        raise EngineError(FAILED, "the hub", message, cure) from error
