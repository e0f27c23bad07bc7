"""A checkpoint as GGUF, held against NumPy's formats, transformers' reader and llama.cpp itself."""

import ctypes
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from engine.checks import ConfigError
from engine.manifest import file_sha256, manifest_check
from engine.tensorfiles import parameter_count, tensor_shapes
from tests.event_log import logged_events
from tests.serving_model import TEXT, serving_model_write
from training.ahead.exports import export_bytes, export_problem, splitter_name
from training.config.export import QUANTISATIONS, ExportConfig
from training.export.__main__ import main
from training.export.ggml import quantise
from training.export.mixing import Kind, tensor_kind


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return serving_model_write(tmp_path_factory.mktemp("serving") / "model")


def export_to(job: Path, model: Path, quantisation: str) -> Path:
    """Run the engine from a shell's door and return what it left."""
    job.mkdir(parents=True)
    config = ExportConfig(model=str(model), quantisation=quantisation, name="Small", licence="mit")
    (job / "config.json").write_text(json.dumps(config.to_json()))
    assert main([str(job)]) == 0
    return job / "attempts" / "0" / "output"


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    return {name: export_to(folder / name, model, name) for name in QUANTISATIONS}


def weights(rows: int = 64, columns: int = 512) -> np.ndarray:
    drawn = np.random.default_rng(1).standard_t(4, size=(rows, columns)) * 0.03
    return drawn.astype(np.float32)


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.Q5_0])
def test_quantised_bytes_are_those_of_numpys_version(kind: Kind) -> None:
    np.testing.assert_array_equal(quantise(weights(), kind), gguf.quants.quantize(weights(), kind))


@pytest.mark.parametrize(("kind", "lost"), [(Kind.Q4_K, 0.09), (Kind.Q6_K, 0.025)])
def test_quantised_bytes_are_llama_cpps_and_read_back_near_to_what_was_written(
    kind: Kind, lost: float
) -> None:
    ours = quantise(weights(), kind)
    np.testing.assert_array_equal(ours, by_llama_cpp(weights(), kind))
    back = gguf.quants.dequantize(ours, kind)
    assert np.linalg.norm(back - weights()) < lost * np.linalg.norm(weights())


def by_llama_cpp(rows: np.ndarray, kind: Kind) -> np.ndarray:
    """The same function in the build of another package."""
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None and spec.origin is not None
    (library,) = Path(spec.origin).parent.glob("xllamacpp*.so")
    function = ctypes.CDLL(str(library)).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
    block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    out = np.empty((rows.shape[0], rows.shape[1] // block * block_bytes), np.uint8)
    function(int(kind), rows.ctypes.data, out.ctypes.data, 0, *rows.shape, None)
    return out


def test_a_large_tensor_is_quantised_in_pieces_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = quantise(weights(), Kind.Q4_K)
    monkeypatch.setattr("training.export.ggml._PIECE_WEIGHTS", 3 * 512)
    np.testing.assert_array_equal(quantise(weights(), Kind.Q4_K), whole)


def kinds(part: str, columns: int, layers: int = 30) -> dict[int, Kind]:
    return {
        layer: tensor_kind(
            f"blk.{layer}.{part}.weight",
            (8, columns),
            quantisation="Q4_K_M",
            layers=layers,
            has_output=False,
        )
        for layer in range(layers)
    }


def test_q4_k_m_gives_more_bits_where_llama_cpp_does() -> None:
    six = {0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29}  # by hand, for 30 layers
    for part in ("ffn_down", "attn_v"):
        assert {layer for layer, kind in kinds(part, 1536).items() if kind == Kind.Q6_K} == six
    assert set(kinds("ffn_up", 1536).values()) == {Kind.Q4_K}


def test_rows_that_blocks_of_256_do_not_fit_get_blocks_of_32_and_then_16_bits() -> None:
    assert set(kinds("attn_v", 576).values()) == {Kind.Q8_0, Kind.Q5_0}
    assert set(kinds("ffn_up", 576).values()) == {Kind.Q5_0}
    assert set(kinds("ffn_up", 40).values()) == {Kind.F16}


@pytest.mark.parametrize(("has_output", "large"), [(True, "output"), (False, "token_embd")])
def test_the_output_gets_six_bits_and_an_embedding_that_serves_as_one(
    has_output: bool, large: str
) -> None:
    for name in ("output", "token_embd"):
        kind = tensor_kind(
            f"{name}.weight", (8, 512), quantisation="Q4_K_M", layers=4, has_output=has_output
        )
        assert kind == (Kind.Q6_K if name == large else Kind.Q4_K)


def test_the_output_is_whole_and_its_size_was_foretold(
    exported: dict[str, Path], model: Path
) -> None:
    config = json.loads((model / "config.json").read_text())
    for name, output in exported.items():
        manifest_check(output)
        size_bytes = (output / f"model-{name}.gguf").stat().st_size
        sides = config["vocab_size"], config["hidden_size"]
        foretold = export_bytes(name, parameter_count(tensor_shapes(model)), *sides)
        assert 0.9 < size_bytes / foretold < 1.2
        done = logged_events(output.parent / "events.jsonl")[-1]
        assert done["summary"]["file_sha256"] == file_sha256(output / f"model-{name}.gguf")


def test_the_same_recipe_gives_the_same_bytes(
    exported: dict[str, Path], model: Path, tmp_path: Path
) -> None:
    again = export_to(tmp_path / "again", model, "Q4_K_M")
    assert manifest_check(again)["sha256"] == manifest_check(exported["Q4_K_M"])["sha256"]


def logits(directory: Path, text: str, **choices: Any) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, **choices)
    ids = AutoTokenizer.from_pretrained(directory)(text, return_tensors="pt").input_ids
    with torch.no_grad():
        return loaded(ids).logits[0]


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_reads_the_same_computation_out_of_the_file(
    tied: bool, tmp_path: Path
) -> None:
    model = serving_model_write(tmp_path / "model", seed=3, tied=tied)
    wanted = logits(model, TEXT[:200])
    for name, lost in (("Q8_0", 0.05), ("Q4_K_M", 0.5)):
        output = export_to(tmp_path / name, model, name)
        got = logits(output, TEXT[:200], gguf_file=f"model-{name}.gguf")
        assert (got - wanted).norm() < lost * wanted.norm()


class LlamaCpp:
    """llama.cpp's own server on a port of this machine."""

    def __init__(self, path: Path) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.warmup = 256, 1, False
        params.cpuparams.n_threads = 2
        self.server: Any = xllamacpp.Server(params)

    def ask(self, address: str, question: dict[str, Any]) -> Any:
        import urllib.request

        request = urllib.request.Request(  # noqa: S310  (its own port)
            self.server.listening_address + address,
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)


@pytest.fixture(scope="module")
def llama_cpp(exported: dict[str, Path]) -> Iterator[dict[str, LlamaCpp]]:
    yield {name: LlamaCpp(path / f"model-{name}.gguf") for name, path in exported.items()}


@pytest.mark.slow
def test_llama_cpp_has_the_same_tokens_and_the_same_form_of_chats(
    llama_cpp: dict[str, LlamaCpp], model: Path
) -> None:
    from tokenizers import Tokenizer

    from corpus.conversations import ChatEncoder

    server, tokenizer = llama_cpp["Q8_0"], Tokenizer.from_file(str(model / "tokenizer.json"))
    for text in (TEXT, "<|im_start|>user\nHi!<|im_end|>\n", "日本語 🚀\n\n\n  \t x  12345 I'LL"):
        question = {"content": text, "add_special": True, "parse_special": True}
        assert server.ask("/tokenize", question)["tokens"] == tokenizer.encode(text).ids
    messages = [{"role": "user", "content": "Hi there"}]
    ours = ChatEncoder.from_directory(model).template.render(messages, add_generation_prompt=True)
    assert server.ask("/apply-template", {"messages": messages})["prompt"] == ours


@pytest.mark.slow
@pytest.mark.parametrize(("name", "far"), [("Q8_0", 0.1), ("Q4_K_M", 0.4)])
def test_llama_cpp_expects_the_words_that_the_checkpoint_expects(
    llama_cpp: dict[str, LlamaCpp], model: Path, name: str, far: float
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    compared = 0
    for length in range(20, 140, 10):
        ids = tokenizer.encode(TEXT[:length]).ids
        question = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": 20}
        answer = llama_cpp[name].ask("/completion", question).get("completion_probabilities")
        if not answer:
            continue  # its likeliest token ends the answer, or is half a letter
        theirs = {one["id"]: one["logprob"] for one in answer[0]["top_logprobs"]}
        ours = logits(model, TEXT[:length])[-1].log_softmax(-1)
        gap = max(abs(theirs[token] - float(ours[token])) for token in list(theirs)[:5])
        assert gap < far, f"after {length} letters"
        compared += 1
    assert compared >= 3


def test_what_has_no_name_in_gguf_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    import shutil

    assert export_problem(model) == ""
    for change, words in (
        ({"architectures": ["GemmaForCausalLM"]}, "the architecture GemmaForCausalLM"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "positions scaled by yarn"),
        ({"hidden_act": "gelu"}, "the activation gelu"),
        ({"sliding_window": 128}, "a sliding window"),
    ):
        copy = tmp_path / words.replace(" ", "-")
        shutil.copytree(model, copy)
        config = json.loads((copy / "config.json").read_text()) | change
        (copy / "config.json").write_text(json.dumps(config))
        assert words in export_problem(copy)


def test_how_text_is_split_is_told_from_the_tokenizer() -> None:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    gpt2, digits = level | {"use_regex": True}, {"type": "Digits", "individual_digits": True}
    sequence = {"type": "Sequence", "pretokenizers": [digits, gpt2]}
    assert splitter_name({"model": {"type": "BPE"}, "pre_tokenizer": gpt2}) == "gpt-2"
    assert splitter_name({"model": {"type": "BPE"}, "pre_tokenizer": sequence}) == "smollm"
    for model, splitter, words in (
        ({"type": "BPE"}, level | {"use_regex": False}, "no name in GGUF"),
        ({"type": "Unigram"}, gpt2, "kind Unigram"),
        ({"type": "BPE", "byte_fallback": True}, gpt2, "Only byte-level BPE"),
    ):
        with pytest.raises(ConfigError, match=words):
            splitter_name({"model": model, "pre_tokenizer": splitter})


def test_the_engine_refuses_what_it_cannot_write(model: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    config = json.loads((copy / "config.json").read_text())
    other = {"model_type": "ctrl", "architectures": ["CTRLLMHeadModel"]}
    (copy / "config.json").write_text(json.dumps(config | other))
    job = tmp_path / "job"
    job.mkdir()
    recipe = ExportConfig(model=str(copy), quantisation="Q8_0", name="Other").to_json()
    (job / "config.json").write_text(json.dumps(recipe))
    assert main([str(job)]) == 2
    assert (
        "the architecture CTRLLMHeadModel"
        in logged_events(job / "attempts" / "0" / "events.jsonl")[-1]["message"]
    )
