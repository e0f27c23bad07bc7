"""What a download consists of: one file of a checkpoint, or all that a program needs as a tar.

The tar is never written anywhere. Its order, times and owners are fixed, so the same checkpoint
with the same card is the same bytes every time, and a transfer that broke off goes on anywhere.
"""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from engine.directory import TOKENIZER_FILES
from engine.manifest import MANIFEST_NAME, ManifestError, manifest_read, manifest_top_hash
from ftportal.checkpoints.models import Checkpoint
from ftportal.handover.naming import safe_name
from ftportal.handover.reader import Part

CARD = "README.md"
_SETTINGS = ("config.json", "generation_config.json", "model.safetensors.index.json")
_WEIGHTS = (".safetensors", ".gguf")


@dataclass(frozen=True, kw_only=True)
class Download:
    """Something to download, as a sequence of parts."""

    file_name: str
    """What the browser calls it."""
    content_type: str
    parts: Sequence[Part]
    etag: str
    """Names the very bytes, quotes included."""

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def version(self) -> str:
        """A short name of the very bytes, for addresses."""
        return self.etag.strip('"')[:16]


def files_handed_over(checkpoint: Checkpoint) -> list[Part]:
    """Weights, settings, tokenizer, template and licence, in the order of their names.

    The engine's recipe and displacement stay: they name places on the portal's disk, and the card
    says what is in them. Raises ManifestError where the manifest cannot be read or is another than
    the database knows: whoever changes a file could change that too.
    """
    manifest = manifest_read(checkpoint.directory)
    if manifest["sha256"] != checkpoint.manifest_hash:
        raise ManifestError("the manifest is not the one that it was registered with")
    wanted = {*TOKENIZER_FILES, *_SETTINGS}
    return [
        Part(
            name=name,
            size_bytes=entry["size_bytes"],
            path=checkpoint.directory / name,
            sha256=entry["sha256"],
        )
        for name, entry in sorted(manifest["files"].items())
        if name in wanted or name.endswith(_WEIGHTS)
    ]


def file_download(checkpoint: Checkpoint, name: str) -> Download:
    """One file of a checkpoint. Raises LookupError where it is not one that is handed over."""
    part = next((one for one in files_handed_over(checkpoint) if one.name == name), None)
    if part is None:
        raise LookupError(name)
    file_name = f"{safe_name(checkpoint.name)}.gguf" if name.endswith(".gguf") else part.name
    return Download(
        file_name=file_name.rpartition("/")[2],
        content_type="application/octet-stream",
        parts=[part],
        etag=f'"{part.sha256}"',
    )


def tar_download(checkpoint: Checkpoint, card: str) -> Download:
    """All of a checkpoint with its card as README.md, in one folder, with a manifest of its own."""
    folder = safe_name(checkpoint.name)
    files = [_text_part(CARD, card), *files_handed_over(checkpoint)]
    files.append(_text_part(MANIFEST_NAME, _manifest(files)))
    seconds = int(checkpoint.created_at.timestamp())
    parts: list[Part] = []
    digest = hashlib.sha256()
    for file in files:
        header = tarfile.TarInfo(f"{folder}/{file.name}")
        header.size, header.mtime, header.mode = file.size_bytes, seconds, 0o644
        parts += [_bytes_part(header.tobuf(tarfile.GNU_FORMAT)), file]
        parts.append(_bytes_part(bytes(-file.size_bytes % tarfile.BLOCKSIZE)))
        digest.update(f"{file.name}\0{file.sha256}\0{file.size_bytes}\0{seconds}\n".encode())
    size_bytes = sum(part.size_bytes for part in parts)
    end = 2 * tarfile.BLOCKSIZE
    parts.append(_bytes_part(bytes(end + -(size_bytes + end) % tarfile.RECORDSIZE)))
    digest.update(folder.encode())
    return Download(
        file_name=f"{folder}.tar",
        content_type="application/x-tar",
        parts=parts,
        etag=f'"{digest.hexdigest()}"',
    )


def _manifest(files: Sequence[Part]) -> str:
    entries = {
        one.name: {"sha256": one.sha256, "size_bytes": one.size_bytes}
        for one in sorted(files, key=lambda one: one.name)
    }
    manifest = {"files": entries, "sha256": manifest_top_hash(entries)}
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


def _text_part(name: str, text: str) -> Part:
    content = text.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    return Part(name=name, size_bytes=len(content), content=content, sha256=sha256)


def _bytes_part(content: bytes) -> Part:
    return Part(size_bytes=len(content), content=content)
