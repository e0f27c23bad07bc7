"""What the installed transformers knows, as engine/modeltypes.py keeps it for hosts without torch.

    python -m benchmarks.model_types > engine/modeltypes.py     (then: make format)

A test compares the two, so a new version of transformers asks for this.
"""

import sys
from importlib.metadata import version

NOT_TEXT = {
    *("git", "got_ocr2", "moshi", "moss_transcribe_diarize", "musicgen", "musicgen_melody"),
    *("trocr", "whisper"),
}
"""Decoders of sound and pictures, which transformers lists with those of text."""
NOT_CAUSAL = {"xlm", "xlnet"}
"""They predict a token from what stands on both sides of it."""
CAUSAL_BY_DEFAULT = {"gpt_neox", "gpt_neox_japanese"}
"""Decoders whose config has an is_decoder that means nothing."""


def causal_classes() -> dict[str, tuple[str, ...]]:
    """By model type the classes of language models that continue text, the one for text first."""
    from transformers.models.auto import modeling_auto as auto

    known = {}
    for kind, name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        if kind in NOT_TEXT | NOT_CAUSAL or _is_encoder_decoder(kind):
            continue
        others = (
            auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind),
            auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.get(kind),
        )
        known[kind] = tuple(dict.fromkeys([name, *(one for one in others if one)]))
    return dict(sorted(known.items()))


def encoders() -> list[str]:
    """Of those, the types that read in both directions unless their config has is_decoder."""
    return [
        kind
        for kind in causal_classes()
        if kind not in CAUSAL_BY_DEFAULT and _default(kind, "is_decoder") is False
    ]


def _is_encoder_decoder(kind: str) -> bool:
    return bool(_default(kind, "is_encoder_decoder"))


def _default(kind: str, field: str) -> object:
    from transformers import CONFIG_MAPPING

    return getattr(CONFIG_MAPPING[kind], field, None)


def main() -> int:
    """Print the module."""
    out = sys.stdout.write
    out('"""Which models transformers knows. Made by `python -m benchmarks.model_types`."""\n\n')
    out(f'VERSION = "{version("transformers")}"\n')
    out("CAUSAL: dict[str, tuple[str, ...]] = {\n")
    for kind, names in causal_classes().items():
        out(f"    {kind!r}: {names!r},\n".replace("'", '"'))
    out('}\n"""Classes that continue text, by model type: the one for text alone first."""\n')
    out(f"ENCODERS = {tuple(encoders())!r}\n".replace("'", '"'))
    out('"""Of those, the types that read in both directions unless is_decoder is set."""\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
