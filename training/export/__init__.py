"""A checkpoint as one GGUF file, for llama.cpp and Ollama: weights quantised, tokenizer inside.

`python -m training.export DIR` does the work; `training.config.export` needs no NumPy.
"""
