"""Downloads: the same bytes every time, resumable, checked, in the audit log."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from engine.manifest import manifest_check
from ftportal.audit.models import AuditEntry
from ftportal.handover.card import model_card
from ftportal.handover.lines import ready_lines
from ftportal.handover.models import Damage
from ftportal.handover.reader import FileDamagedError

pytestmark = pytest.mark.django_db


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tar_url(served: SimpleNamespace) -> str:
    return reverse("handover:download", args=[served.child.pk])


def content_of(response: Any) -> bytes:
    return b"".join(response.streaming_content)


@pytest.fixture
def tina(client_of: Any, cast: SimpleNamespace) -> Any:
    return client_of(cast.tina)


def test_the_tar_holds_what_a_program_needs_and_its_manifest_fits(
    served: SimpleNamespace, tina: Any, tmp_path: Path
) -> None:
    response = tina.get(tar_url(served))
    content = content_of(response)
    assert response.headers["Content-Length"] == str(len(content))
    assert 'filename="Evening-session-1.tar"' in response.headers["Content-Disposition"]
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(tmp_path, filter="data")
        owners = {(one.uid, one.gid, one.mtime, one.mode) for one in tar}
    folder = tmp_path / "Evening-session-1"
    assert owners == {(0, 0, int(served.child.created_at.timestamp()), 0o644)}
    assert sorted(one.name for one in folder.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    manifest_check(folder)
    assert (folder / "README.md").read_text() == model_card(served.child)
    assert str(tmp_path) not in content.decode("latin-1")
    assert content_of(tina.get(tar_url(served))) == content


def test_it_goes_on_at_any_byte(served: SimpleNamespace, tina: Any) -> None:
    response = tina.get(tar_url(served))
    whole, etag = content_of(response), response.headers["ETag"]
    assert response.headers["Accept-Ranges"] == "bytes"
    for start in (1, 513, len(whole) // 2, len(whole) - 10):
        rest = tina.get(tar_url(served), headers={"Range": f"bytes={start}-", "If-Range": etag})
        assert rest.status_code == 206
        assert rest.headers["Content-Range"] == f"bytes {start}-{len(whole) - 1}/{len(whole)}"
        assert content_of(rest) == whole[start:]
    middle = tina.get(tar_url(served), headers={"Range": "bytes=700-1299"})
    assert (middle.status_code, content_of(middle)) == (206, whole[700:1300])
    behind = tina.get(tar_url(served), headers={"Range": f"bytes={len(whole)}-"})
    assert (behind.status_code, behind.headers["Content-Range"]) == (416, f"bytes */{len(whole)}")
    head = tina.head(tar_url(served))
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole)))
    assert head.content == b""


def test_what_has_changed_since_is_sent_whole_or_refused(
    served: SimpleNamespace, tina: Any
) -> None:
    first = tina.get(tar_url(served))
    content_of(first)
    etag = first.headers["ETag"]
    served.child.name = "Another name"  # as anything else that the card says
    served.child.save()
    again = tina.get(tar_url(served), headers={"Range": "bytes=700-", "If-Range": etag})
    assert (again.status_code, again.headers["ETag"] != etag) == (200, True)
    assert len(content_of(again)) == int(again.headers["Content-Length"])
    stale = tina.get(tar_url(served), {"version": etag[1:17]}, headers={"Range": "bytes=700-"})
    assert (stale.status_code, "Start again" in stale.content.decode()) == (412, True)
    fresh = again.headers["ETag"][1:17]
    assert tina.get(tar_url(served), {"version": fresh}).status_code == 200


def test_one_file_is_downloaded_with_ranges_too(served: SimpleNamespace, tina: Any) -> None:
    url = reverse("handover:file", args=[served.child.pk, "model.safetensors"])
    wanted = (served.child.directory / "model.safetensors").read_bytes()
    part = tina.get(url, headers={"Range": "bytes=-100"})
    assert content_of(part) == wanted[-100:]
    for name in ("recipe.json", "manifest.json", "../../db.sqlite3", "none"):
        assert tina.get(reverse("handover:file", args=[served.child.pk, name])).status_code == 404


@pytest.mark.parametrize(
    ("name", "may"), [("tina", True), ("leo", True), ("ada", True), ("rob", False), ("otto", False)]
)
def test_who_takes_weights_out_of_the_portal(
    served: SimpleNamespace, cast: SimpleNamespace, client_of: Any, name: str, may: bool
) -> None:
    client = client_of(getattr(cast, name))
    assert client.get(tar_url(served)).status_code == (200 if may else 403)
    card = client.get(reverse("handover:card", args=[served.child.pk]), {"as": "text"})
    assert (card.status_code, card.content.decode()) == (200, model_card(served.child))
    page = client.get(reverse("handover:panel", args=[served.child.pk])).content.decode()
    assert ("Download as tar" in page) is may


def test_every_download_is_in_the_audit_log(served: SimpleNamespace, tina: Any) -> None:
    whole = len(content_of(tina.get(tar_url(served))))
    content_of(tina.get(tar_url(served), headers={"Range": "bytes=1000-"}))
    tina.head(tar_url(served))
    rows = AuditEntry.objects.filter(action="checkpoint.downloaded").order_by("pk")
    assert [(str(row.actor), row.target_name) for row in rows] == [
        ("Tina", "Evening session: #1")
    ] * 2
    assert [row.after for row in rows] == [
        {"what": "Evening-session-1.tar", "bytes": whole},
        {
            "what": "Evening-session-1.tar",
            "bytes": whole - 1000,
            "from_byte": 1000,
            "of": whole,
        },
    ]


def test_a_changed_byte_ends_the_transfer_and_the_page_tells(
    served: SimpleNamespace, tina: Any, caplog: pytest.LogCaptureFixture
) -> None:
    weights = served.child.directory / "model.safetensors"
    whole = weights.read_bytes()
    flip(weights)
    response = tina.get(tar_url(served))
    with pytest.raises(FileDamagedError):
        content_of(response)
    assert "model.safetensors was changed on the disk" in caplog.text
    assert Damage.objects.get().file_name == "model.safetensors"
    panel, check = (
        reverse(f"handover:{name}", args=[served.child.pk]) for name in ("panel", "files_check")
    )
    page = tina.get(panel).content.decode()
    assert "A file of this checkpoint is damaged" in page and "model.safetensors" in page
    assert "is damaged. Model.safetensors was changed" in str(
        tina.post(check, follow=True).content.decode()
    )
    assert Damage.objects.exists()
    weights.write_bytes(whole)
    assert "are what they were" in tina.post(check, follow=True).content.decode()
    assert "is damaged" not in tina.get(panel).content.decode()
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert actions[-2:] == ["checkpoint.damaged", "checkpoint.mended"]


@pytest.mark.parametrize("header", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=100000-"}])
def test_what_is_known_to_be_damaged_is_not_begun(
    served: SimpleNamespace, tina: Any, header: dict[str, str]
) -> None:
    (served.child.directory / "model.safetensors").write_bytes(b"short")
    page = tina.get(tar_url(served), headers=header, follow=True).content.decode()
    assert "was not downloaded: model.safetensors was changed on the disk: it has 5 bytes" in page
    assert not AuditEntry.objects.filter(action="checkpoint.downloaded").exists()


def test_deleted_files_are_not_downloaded(served: SimpleNamespace, tina: Any) -> None:
    from ftportal.checkpoints.services import checkpoint_delete

    checkpoint_delete(checkpoint=served.child)
    shutil.rmtree(served.child.directory)
    page = tina.get(tar_url(served), follow=True).content.decode()
    assert "was not downloaded" in page
    assert (
        "Download as tar"
        not in tina.get(reverse("handover:panel", args=[served.child.pk])).content.decode()
    )


@pytest.mark.slow
def test_the_folder_answers_in_plain_transformers_as_the_checkpoint_does(
    served: SimpleNamespace, tina: Any, tmp_path: Path
) -> None:
    """The ready line is run as it is shown, and the logits are the checkpoint's to the bit."""
    with tarfile.open(fileobj=io.BytesIO(content_of(tina.get(tar_url(served))))) as tar:
        tar.extractall(tmp_path, filter="data")
    line = next(one for one in ready_lines(served.child, None) if one.program == "transformers")
    python = f'"{sys.executable}"'
    command = line.command.replace("python ", f"{python} ", 1)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1"}
    answer = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    program = (
        "import sys, torch\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "made = []\n"
        "for place in sys.argv[1:]:\n"
        "    model = AutoModelForCausalLM.from_pretrained(place)\n"
        "    ids = AutoTokenizer.from_pretrained(place)('The quick fox', return_tensors='pt')\n"
        "    with torch.no_grad():\n"
        "        made.append(model(**ids).logits)\n"
        "sys.exit(0 if torch.equal(*made) else 'the logits differ')\n"
    )
    places = [str(tmp_path / "Evening-session-1"), str(served.child.directory)]
    child = subprocess.run(
        [sys.executable, "-c", program, *places],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-2000:]
