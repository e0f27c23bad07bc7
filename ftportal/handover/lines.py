"""Commands that serve a checkpoint, ready to copy, and whether each was tried."""

from dataclasses import dataclass

from ftportal.checkpoints.models import Checkpoint
from ftportal.handover.models import Export
from ftportal.handover.naming import safe_name

_HELLO = "[{'role': 'user', 'content': 'Hello'}]"


@dataclass(frozen=True, kw_only=True)
class ReadyLine:
    """One command for one program."""

    program: str
    command: str
    needs: str
    """What must lie beside it."""
    tried: str
    """How it was tried, or that it was not."""


def ready_lines(checkpoint: Checkpoint, export: Export | None) -> list[ReadyLine]:
    """The commands for the unpacked folder, and for a GGUF where there is one to name.

    Names are safe in every shell, so nothing is quoted.
    """
    folder = safe_name(checkpoint.name)
    file = safe_name(export.result.name if export and export.result else f"{checkpoint.name}-Q8_0")
    needs_file = "the GGUF" if export else "a GGUF that was exported above"
    return [
        ReadyLine(
            program="transformers",
            command=f'python -c "from transformers import pipeline; print(pipeline('
            f"'text-generation', './{folder}')({_HELLO}, max_new_tokens=64)[0]"
            "['generated_text'][-1]['content'])\"",
            needs="the unpacked folder",
            tried="Run by the portal's tests.",
        ),
        ReadyLine(
            program="vLLM",
            command=f"vllm serve ./{folder} --served-model-name {folder}",
            needs="the unpacked folder",
            tried="Not tried: it needs a GPU.",
        ),
        ReadyLine(
            program="llama.cpp",
            command=f"llama-server --model {file}.gguf --port 8080",
            needs=needs_file,
            tried="The file is loaded and answers in llama.cpp's server in the portal's tests.",
        ),
        ReadyLine(
            program="Ollama",
            command=f"echo FROM ./{file}.gguf > Modelfile && ollama create {file.lower()} && "
            f"ollama run {file.lower()}",
            needs=needs_file,
            tried="Not tried.",
        ),
    ]
