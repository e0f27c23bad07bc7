"""Directories that were made to harm: each is refused by name within ten seconds, nothing stays."""

import json
import os
import shutil
import signal
import socket
import stat
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.manifest import manifest_check
from ftportal.checkpoints.foreign import FILES_MAX, ForeignDirectory, ForeignError
from ftportal.checkpoints.incoming import incoming_begin
from ftportal.checkpoints.models import LanguageModel
from ftportal.checkpoints.services import CheckpointError, language_model_register, models_sweep

pytestmark = pytest.mark.django_db
Spoil = Callable[[Path], object]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SECONDS = 10


@pytest.fixture
def model(tmp_path: Path, data_dir: Path, settings: Any, tiny_model_directory: Path) -> Path:
    """A model outside of the data folder, which an administrator may register."""
    settings.FTPORTAL_MODEL_ROOTS = [str(tmp_path / "given")]
    (data_dir / "models").mkdir()
    return Path(shutil.copytree(tiny_model_directory, tmp_path / "given" / "model"))


def below(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything in a folder: its mode, size and number of names."""
    return {
        str(path.relative_to(folder)): (status.st_mode, status.st_size, status.st_nlink)
        for path in folder.rglob("*")
        if (status := path.lstat())
    }


def refusal(client: Any, place: Path, data_dir: Path) -> str:
    """Try to register a directory in the browser; return what the page says."""
    before, began = below(data_dir), time.monotonic()
    page = client.post("/models/new/", {"name": "Mine", "place": str(place)})
    seconds = time.monotonic() - began
    assert page.status_code == 422
    assert seconds < SECONDS
    assert below(data_dir) == before
    assert not LanguageModel.objects.exists()
    return unescape(page.content.decode())


def header_of(entries: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    header = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + data


def tensor(begin: int = 0, end: int = 4, **fields: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end], **fields}


def weights(entries: dict[str, Any] | bytes, data: bytes = b"\0" * 4) -> Spoil:
    return lambda model: (model / WEIGHTS).write_bytes(header_of(entries, data))


def raw(name: str, content: bytes | str) -> Spoil:
    content = content.encode() if isinstance(content, str) else content
    return lambda model: (model / name).write_bytes(content)


def index(value: Any) -> Spoil:
    return raw(INDEX, json.dumps(value))


def config(**fields: Any) -> Spoil:
    def spoil(model: Path) -> None:
        known = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps({**known, **fields}))

    return spoil


def tokenizer(**fields: Any) -> Spoil:
    def spoil(model: Path) -> None:
        known = json.loads((model / "tokenizer.json").read_text())
        (model / "tokenizer.json").write_text(json.dumps({**known, **fields}))

    return spoil


def pattern(regex: str) -> Spoil:
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return tokenizer(pre_tokenizer=split)


def template(source: str) -> Spoil:
    return raw("chat_template.jinja", source)


def link(name: str, target: str) -> Spoil:
    def spoil(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        (model / name).symlink_to(target)

    return spoil


def _secret_link(model: Path) -> None:
    secret = model.parent.parent / "secret.json"
    secret.write_text("{}")
    link("config.json", str(secret))(model)


def _relative_link(model: Path) -> None:
    (model.parent / "other.json").write_text("{}")
    link("generation_config.json", "../other.json")(model)


def _folder_link(model: Path) -> None:
    (model / "inner").mkdir()
    (model / "outer").symlink_to("inner")


def _circle(model: Path) -> None:
    (model / "one").symlink_to("two")
    (model / "two").symlink_to("one")


def _socket(model: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(model)  # its name may not be long
        try:
            server.bind("door")
        finally:
            os.chdir(here)


def _device(model: Path) -> None:
    try:
        os.mknod(model / "zeros", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


def _sparse(name: str) -> Spoil:
    return lambda model: os.truncate(model / name, 10 << 40)


def _many(model: Path) -> None:
    for number in range(FILES_MAX + 1):
        (model / f"{number}.txt").touch()


def _many_hidden(model: Path) -> None:
    (model / "inner").mkdir()
    for number in range(FILES_MAX + 1):
        (model / "inner" / f".{number}").touch()


def _deep(model: Path) -> None:
    folder = model.joinpath(*["in"] * 200)
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()


def _pickle_below(model: Path) -> None:
    (model / "old").mkdir()
    (model / "old" / "a.pt").write_bytes(b"\x80")


FILES: dict[str, tuple[Spoil, str, str]] = {
    "a link to a file outside": (_secret_link, "config.json", "outside"),
    "a link to a neighbour": (_relative_link, "generation_config.json", "outside"),
    "a link to a password file": (link("LICENSE", "/etc/passwd"), "LICENSE", "outside"),
    "a link into /proc": (link("notes.txt", "/proc/self/environ"), "notes.txt", "outside"),
    "a link to a device": (link("notes.txt", "/dev/zero"), "notes.txt", "outside"),
    "a link to nothing": (link("notes.txt", "gone.txt"), "notes.txt", "leads to no file"),
    "links in a circle": (_circle, "one", "leads to no file"),
    "a link to itself": (link("config.json", "config.json"), "config.json", "leads to no file"),
    "a link to a folder": (_folder_link, "outer", "a link to a folder"),
    "a link to its own folder": (link("again", "."), "again", "a link to a folder"),
    "a link to all": (link("root", "/"), "root", "outside"),
    "a pipe": (lambda model: os.mkfifo(model / "notes.txt"), "notes.txt", "is a pipe"),
    "a socket": (_socket, "door", "is a socket"),
    "a device": (_device, "zeros", "is a device"),
    "10 TB of weights that were never written": (_sparse(WEIGHTS), WEIGHTS, "ever written"),
    "10 TB of JSON that was never written": (_sparse("config.json"), "config.json", "ever written"),
    "a folder full of files": (_many, "the directory", "more than 2,000 files"),
    "a folder full of hidden files": (_many_hidden, "inner", "more than 2,000 files"),
    "folders in folders": (_deep, "in/in/in", "folders deep"),
    "a name of two lines": (lambda model: (model / "a\nb").touch(), "a\\nb", "name"),
    "a name of no characters": (
        lambda model: Path(os.fsdecode(os.fsencode(model) + b"/\xff")).touch(),
        "udcff",
        "name",
    ),
    "pickled weights": (raw("pytorch_model.bin", b"\x80\x04."), "pytorch_model.bin", "pickle"),
    "a pickle in a folder": (_pickle_below, "a.pt", "pickle"),
}

HUGE = 1 << 62
HEADERS: dict[str, tuple[Spoil, str]] = {
    "an endless header": (raw(WEIGHTS, HUGE.to_bytes(8, "little") + b"{}"), "not a safetensors"),
    "a header beyond the file": (raw(WEIGHTS, (99).to_bytes(8, "little") + b"{}"), "safetensors"),
    "no header": (raw(WEIGHTS, b""), "not a safetensors file"),
    "a header that is not JSON": (weights(b"{not JSON}"), "is not JSON"),
    "a header of bytes": (weights(b'{"\xff": 1}'), "not UTF-8"),
    "a header that is a list": (weights(b"[]"), "not a JSON object"),
    "a deep header": (weights(b"[" * 100_000), "deep"),
    "a deep and closed header": (weights(b'{"a":' * 500 + b"1" + b"}" * 500), "deep"),
    "endless digits": (weights(b'{"a":' + b"9" * 5000 + b"}"), "digits"),
    "a key twice": (
        weights(b'{"a":' + json.dumps(tensor()).encode() + b',"a":{}}'),
        "the key 'a' twice",
    ),
    "a tensor that is none": (weights({"a": 1}), "what a is"),
    "a shape of text": (weights({"a": tensor(shape=["1"])}), "a shape"),
    "a shape that is text": (weights({"a": tensor(shape="1")}), "a shape"),
    "a shape that is missing": (weights({"a": tensor(shape=None)}), "a shape"),
    "a negative shape": (weights({"a": tensor(shape=[-1])}), "a shape"),
    "two negative shapes": (weights({"a": tensor(shape=[-1, -1])}), "a shape"),
    "a shape with a fraction": (weights({"a": tensor(shape=[1.0])}), "a shape"),
    "a shape that is true": (weights({"a": tensor(shape=[True])}), "a shape"),
    "a shape without end": (weights({"a": tensor(shape=[1] * 10_000)}), "a shape"),
    "a shape of shapes": (weights({"a": tensor(shape=[[1]])}), "a shape"),
    "a shape that overflows": (weights({"a": tensor(shape=[1 << 32, 1 << 32])}), "fit into any"),
    "a shape beyond 64 bits": (weights({"a": tensor(shape=[1 << 70])}), "a shape"),
    "a shape of NaN": (weights(b'{"a": {"shape": [NaN]}}'), "NaN"),
    "an unknown dtype": (weights({"a": tensor(dtype="F128")}), "'F128', which is not known"),
    "a dtype that is a list": (weights({"a": tensor(dtype=["F32"])}), "no dtype"),
    "offsets of text": (weights({"a": tensor(data_offsets=["0", "4"])}), "offsets"),
    "offsets with a fraction": (weights({"a": tensor(data_offsets=[0.0, 4.0])}), "offsets"),
    "three offsets": (weights({"a": tensor(data_offsets=[0, 2, 4])}), "offsets"),
    "offsets that are missing": (weights({"a": tensor(data_offsets=None)}), "offsets"),
    "offsets that go back": (weights({"a": tensor(data_offsets=[4, 0])}), "not its shape"),
    "negative offsets": (weights({"a": tensor(data_offsets=[-4, 0])}), "offsets"),
    "offsets beyond the file": (weights({"a": tensor(0, 400)}), "is cut short"),
    "offsets beyond 64 bits": (weights({"a": tensor(data_offsets=[0, HUGE * 8])}), "offsets"),
    "bytes that are not the shape": (weights({"a": tensor(shape=[3])}), "not its shape"),
    "tensors that overlap": (
        weights({"a": tensor(0, 8), "b": tensor(4, 12)}, b"\0" * 12),
        "b overlaps",
    ),
    "tensors on each other": (weights({"a": tensor(), "b": tensor()}), "overlaps"),
    "a hole between tensors": (
        weights({"a": tensor(0, 4), "b": tensor(8, 12)}, b"\0" * 12),
        "b follows on a hole",
    ),
    "a hole before the first": (weights({"a": tensor(4, 8)}, b"\0" * 8), "a follows on a hole"),
    "bytes to spare": (weights({"a": tensor()}, b"\0" * 9), "bytes to spare"),
    "metadata that is a list": (weights({"__metadata__": [], "a": tensor()}), "metadata"),
    "metadata of objects": (weights({"__metadata__": {"a": {}}, "a": tensor()}), "metadata"),
    "a tensor without a name": (weights({"": tensor()}), "names a tensor"),
    "a tensor with NUL in its name": (weights({"a\0": tensor()}), "names a tensor"),
    "half a character as a name": (weights({"\ud800": tensor()}), "names a tensor"),
    "no tensors": (weights({}, b""), "no tensors"),
}

INDEXES: dict[str, tuple[Spoil, str, str]] = {
    "an index that is a list": (index([]), INDEX, "weight_map"),
    "an index that is not JSON": (raw(INDEX, "{"), INDEX, "not JSON"),
    "a weight map that is a list": (index({"weight_map": ["a"]}), INDEX, "weight_map"),
    "a weight map that is nested": (index({"weight_map": {"a": {"b": WEIGHTS}}}), INDEX, "names"),
    "a weight map of numbers": (index({"weight_map": {"a": 1}}), INDEX, "names 1"),
    "an empty weight map": (index({"weight_map": {}}), INDEX, "weight_map"),
    "no weight map": (index({}), INDEX, "weight_map"),
    "a part above": (index({"weight_map": {"a": "../x.safetensors"}}), INDEX, "not a file beside"),
    "a part anywhere": (index({"weight_map": {"a": "/x.safetensors"}}), INDEX, "not a file beside"),
    "a part that is a pickle": (index({"weight_map": {"a": "x.bin"}}), INDEX, "not a file beside"),
    "a part that is missing": (
        index({"weight_map": {"a": "x.safetensors"}}),
        "x.safetensors",
        "missing",
    ),
    "a tensor that is not in its part": (index({"weight_map": {"a": WEIGHTS}}), INDEX, "it is not"),
    "a deep index": (raw(INDEX, "[" * 100_000), INDEX, "deep"),
}

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TWICE = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}"
SWELL = (
    "{% set all = namespace(text='0123456789') %}{% for i in range(90) %}"
    "{% set all.text = all.text + all.text %}{% endfor %}{{ all.text }}"
)
JINJA = "chat_template.jinja"
REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
OTHERS: dict[str, tuple[Spoil, str, str]] = {
    "a config of 100 MB": (raw("config.json", b" " * 100_000_000), "config.json", "bytes"),
    "a deep config": (raw("config.json", '{"a":' * 100_000), "config.json", "deep"),
    "a config that is a list": (raw("config.json", "[1]"), "config.json", "not a JSON object"),
    "a config with NaN": (config(rope_theta=float("nan")), "config.json", "NaN"),
    "a config with 1e999": (raw("config.json", '{"a": 1e999}'), "config.json", "too large"),
    "a config with endless digits": (raw("config.json", "9" * 5000), "config.json", "digits"),
    "a size that is text": (config(hidden_size="32"), "config.json", "hidden_size"),
    "a size below nothing": (config(num_hidden_layers=-1), "config.json", "num_hidden_layers"),
    "a size beyond memory": (config(vocab_size=10**18), "config.json", "vocab_size"),
    "a text config that is a list": (config(text_config=[1]), "config.json", "text_config"),
    "a class of its own": (
        config(model_type="mine", auto_map={"AutoModel": "x"}),
        "config.json",
        "Code from a directory is never run",
    ),
    "a class without end": (config(model_type="x" * 100_000), "config.json", "no language model"),
    "a class that is an object": (config(architectures=[{"a": 1}]), "config.json", "the class"),
    "a type that is a list": (config(model_type=["llama"]), "config.json", "no model_type"),
    "settings that are a list": (raw("tokenizer_config.json", "[]"), "tokenizer_config.json", ""),
    "an adapter": (raw("adapter_config.json", "{}"), "adapter_config.json", "adapter"),
    "a tokenizer of 100 MB": (raw("tokenizer.json", b" " * 100_000_000), "tokenizer.json", "bytes"),
    "a tokenizer of brackets": (
        raw("tokenizer.json", "[" + "[]," * 20_000_000 + "[]]"),
        "tokenizer.json",
        "",
    ),
    "a tokenizer that is a list": (raw("tokenizer.json", "[]"), "tokenizer.json", "object"),
    "a tokenizer of nothing": (raw("tokenizer.json", "{}"), "tokenizer.json", "unreadable"),
    "a tokenizer of another model": (tokenizer(model=[1]), "tokenizer.json", "unreadable"),
    "a vocabulary below nothing": (
        tokenizer(model={"type": "BPE", "vocab": {"a": -1}, "merges": []}),
        "tokenizer.json",
        "unreadable",
    ),
    "a pattern that is none": (pattern("((("), "tokenizer.json", "unreadable"),
    "a pattern without end": (pattern("((a|aa)+)+!"), "tokenizer.json", "given up"),
    "a normaliser that swells": (
        tokenizer(normalizer={"type": "Sequence", "normalizers": [REPLACE] * 5}),
        "tokenizer.json",
        "given up",
    ),
    "a template that is none": (template("{% for"), JINJA, "cannot be read"),
    "a template that is not text": (raw(JINJA, b"\xff"), JINJA, ""),
    "a template of 2 MB": (template("x" * (2 << 20)), JINJA, "bytes"),
    "a deep template": (template("{% if a %}" * 3000 + "{% endif %}" * 3000), JINJA, "recursion"),
    "a template that loops": (template(LOOP), JINJA, "given up"),
    "a template that calls itself twice": (template(TWICE), JINJA, "given up"),
    "a template that swells": (template(SWELL), JINJA, "given up"),
    "a template that multiplies": (template("{{ 'a' * 10000000000 }}"), JINJA, "given up"),
    "a template that pads": (template("{{ 'a'|center(100000000000) }}"), JINJA, "given up"),
    "a template in the settings that loops": (
        raw("tokenizer_config.json", json.dumps({"chat_template": LOOP})),
        "tokenizer_config.json",
        "given up",
    ),
}

CASES: dict[str, tuple[Spoil, str, str]] = {
    **FILES,
    **{name: (spoil, WEIGHTS, words) for name, (spoil, words) in HEADERS.items()},
    **INDEXES,
    **OTHERS,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if words == "given up" else [])
        for name, (_, _, words) in CASES.items()
    ],
)
def test_it_is_refused_by_name_and_nothing_stays(
    name: str, model: Path, data_dir: Path, client_of: Any, cast: SimpleNamespace
) -> None:
    spoil, where, words = CASES[name]
    spoil(model)
    page = refusal(client_of(cast.ada), model, data_dir)
    assert "This model cannot be used" in page
    assert where in page
    assert words in page


@pytest.mark.slow
def test_too_many_tensors_are_refused(
    model: Path, data_dir: Path, client_of: Any, cast: SimpleNamespace
) -> None:
    entry = '"%06d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    for count, words in ((1_000_000, "not a safetensors file"), (260_000, "more than 250,000")):
        entries = ",".join(entry % (n, n, n + 1) for n in range(count))
        weights(b"{" + entries.encode() + b"}", b"\0" * count)(model)
        page = refusal(client_of(cast.ada), model, data_dir)
        assert WEIGHTS in page and words in page


@pytest.mark.parametrize(
    "place",
    ["/" + "x" * 300, "/" + "x/" * 200, "/proc/self/cwd", "/dev/zero", "org/name@..", "/\t"],
)
def test_a_place_that_cannot_be_is_an_error_on_its_field(
    place: str, model: Path, data_dir: Path, client_of: Any, cast: SimpleNamespace
) -> None:
    page = client_of(cast.ada).post("/models/new/", {"name": "Mine", "place": place})
    assert page.status_code == 422
    assert "place" in page.context["form"].errors


def test_a_circle_of_links_as_a_place_is_an_error_on_its_field(
    model: Path, client_of: Any, cast: SimpleNamespace
) -> None:
    _circle(model.parent)
    place = str(model.parent / "one")
    page = client_of(cast.ada).post("/models/new/", {"name": "Mine", "place": place})
    assert page.status_code == 422 and "place" in page.context["form"].errors


def _register(directory: Path, name: str = "Mine") -> LanguageModel:
    return language_model_register(
        name=name, source="tests", note="", licence="", directory=directory
    )


def test_what_is_registered_is_a_copy_that_nobody_else_changes(model: Path, data_dir: Path) -> None:
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").symlink_to("/etc/passwd")
    (model / "inner").mkdir()
    (model / "inner" / "LICENSE").symlink_to("../LICENSE")
    (model / "LICENSE").write_text("free")
    made = _register(model).pretrained
    assert made.directory == data_dir / "models" / "mine"
    assert not (made.directory / ".cache").exists()
    assert (made.directory / "inner" / "LICENSE").read_text() == "free"
    for path in made.directory.rglob("*"):
        status = path.lstat()
        assert stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        assert stat.S_ISDIR(status.st_mode) or status.st_nlink == 1
    for path in model.iterdir():
        if path.is_file():
            path.write_bytes(b"changed")
    assert manifest_check(made.directory)["sha256"] == made.manifest_hash


@pytest.mark.parametrize("shared", ["hard link", "link", "hidden"])
def test_a_directory_in_the_data_folder_that_others_share_is_copied(
    shared: str, model: Path, data_dir: Path
) -> None:
    place = data_dir / "models" / "put-there"
    shutil.copytree(model, place)
    if shared == "hard link":
        os.link(place / "config.json", model / "shared.json")
    elif shared == "link":
        (place / "README.md").symlink_to("config.json")
    else:
        (place / ".cache").symlink_to("/etc")
    before = below(place)
    made = _register(place).pretrained
    assert made.directory == data_dir / "models" / "mine"
    assert below(place) == before


def _hub(model: Path) -> tuple[Path, Path]:
    """A hub's cache with this model: its repository and its snapshot."""
    repository = model.parent / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(model.iterdir())):
        shutil.copyfile(path, repository / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    return repository, snapshot


def test_a_hubs_snapshot_takes_its_files_from_its_own_blobs(model: Path) -> None:
    repository, snapshot = _hub(model)
    made = _register(snapshot).pretrained
    assert {path.name for path in made.directory.iterdir()} >= {"config.json", WEIGHTS}
    assert all(path.stat().st_nlink == 1 for path in (repository / "blobs").iterdir())


def test_a_hubs_snapshot_takes_nothing_of_another_model(model: Path, data_dir: Path) -> None:
    repository, snapshot = _hub(model)
    other = repository.with_name("models--org--other")
    other.mkdir()
    (other / "secret").write_text("{}")
    link("config.json", "../../../models--org--other/secret")(snapshot)
    with pytest.raises(CheckpointError, match=r"config\.json: is a link to a file outside"):
        _register(snapshot)
    assert below(data_dir / "models") == {}


def test_a_hubs_reference_leads_to_its_own_snapshots_only(
    model: Path, client_of: Any, cast: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = _hub(model)
    monkeypatch.setenv("HF_HUB_CACHE", str(repository.parent))
    (repository / "refs").mkdir()
    for commit in ("..", "../../../model", str(model), "\0", "x" * 100_000):
        (repository / "refs" / "main").write_text(commit)
        page = client_of(cast.ada).post("/models/new/", {"name": "Mine", "place": "org/name"})
        assert "place" in page.context["form"].errors


def _pipe_for_config(model: Path) -> None:
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")


def _link_for_folder(model: Path, target: Path) -> None:
    (model / "inner").rename(model / "away")
    (model / "inner").symlink_to(target)


def test_what_is_swapped_after_the_look_is_not_followed(model: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (model / "inner").mkdir()
    (model / "inner" / "notes.txt").write_text("notes")
    (model / "other.txt").write_text("notes")
    swaps: dict[str, Spoil] = {
        "other.txt": link("other.txt", str(secret)),
        "config.json": _pipe_for_config,
        "tokenizer.json": lambda model: (model / "tokenizer.json").write_text("{}"),
        "inner/notes.txt": lambda model: _link_for_folder(model, tmp_path),
    }
    with ForeignDirectory(model) as foreign:
        files = {file.name: file for file in foreign.files()}
        for name, swap in swaps.items():
            swap(model)
            with pytest.raises(ForeignError) as caught:
                foreign.copy(files[name], tmp_path / "copy", 0, files[name].size_bytes)
            assert caught.value.where == name
    assert not (tmp_path / "copy").exists() or "secret" not in (tmp_path / "copy").read_text()


def test_a_directory_that_becomes_a_link_is_not_entered(model: Path, tmp_path: Path) -> None:
    model.rename(tmp_path / "away")
    model.symlink_to(tmp_path / "away")
    with pytest.raises(ForeignError), ForeignDirectory(model):
        pass


def _dies(at: Callable[[], object]) -> None:
    """Do this in a process that is killed while it does."""
    child = os.fork()
    if child == 0:
        at()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("published", [False, True])
def test_what_a_crash_leaves_is_swept(published: bool, model: Path, data_dir: Path) -> None:
    kept = _register(model).pretrained
    before = below(data_dir)

    def half() -> None:
        with incoming_begin("half") as incoming:
            (incoming.partial / "model.safetensors").write_bytes(b"\0" * 100)
            if published:
                incoming.publish()
            os.kill(os.getpid(), signal.SIGKILL)

    _dies(half)
    assert below(data_dir) != before
    models_sweep()
    assert below(data_dir) == before
    assert manifest_check(kept.directory)["sha256"] == kept.manifest_hash


def test_a_sweep_leaves_alone_what_is_under_way_and_what_is_not_ours(data_dir: Path) -> None:
    with incoming_begin("model") as incoming:
        models_sweep()
        assert incoming.partial.is_dir()
        with incoming_begin("model") as second:
            assert second.published != incoming.published
        marker = data_dir / "models" / "other.incoming"
        marker.write_text("1")
        (data_dir / "models" / "other").mkdir()
        models_sweep()
        assert not marker.exists()
        assert (data_dir / "models" / "other").is_dir(), "somebody else put it there"
