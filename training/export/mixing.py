"""Which format each tensor gets: llama.cpp's own mixture, so that the file is what its name says.

Q4_K_M is 4 bits but for what matters more: the values of attention and the second half of the
feed-forward get 6 in the first and last eighth of the layers and in every third between, and so
does the output. Blocks of 256 weights do not fit every width: then the next format with blocks of
32 takes their place, as in llama.cpp. (SmolLM2-135M is 576 wide, so most of it has 5 bits.)
"""

import re

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

Kind = GGMLQuantizationType

FILE_TYPES = {
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M,
}
_INSTEAD = {Kind.Q4_K: Kind.Q5_0, Kind.Q6_K: Kind.Q8_0}
"""Where a row is not a multiple of 256 weights."""
_MORE_BITS = re.compile(r"blk\.(\d+)\.(attn_v|ffn_down)\.weight")


def tensor_kind(
    name: str, shape: tuple[int, ...], *, quantisation: str, layers: int, has_output: bool
) -> GGMLQuantizationType:
    """The format of a tensor by its name in GGUF and its shape, rows first."""
    if len(shape) < 2:
        return Kind.F32  # norms: a few thousand numbers that everything passes through
    return _fitting(_wanted(name, quantisation, layers, has_output), shape[-1])


def _wanted(name: str, quantisation: str, layers: int, has_output: bool) -> GGMLQuantizationType:
    if quantisation == "Q8_0":
        return Kind.Q8_0
    output = "output.weight" if has_output else "token_embd.weight"
    if name == output:
        return Kind.Q6_K
    match = _MORE_BITS.fullmatch(name)
    return Kind.Q6_K if match and _more_bits(int(match[1]), layers) else Kind.Q4_K


def _more_bits(layer: int, layers: int) -> bool:
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _fitting(kind: GGMLQuantizationType, columns: int) -> GGMLQuantizationType:
    if columns % GGML_QUANT_SIZES[kind][0]:
        kind = _INSTEAD.get(kind, kind)
    return Kind.F16 if columns % GGML_QUANT_SIZES[kind][0] else kind
