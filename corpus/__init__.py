"""From a file to tokens: records, formats, examples, chat templates, decision spans.

Engines and portal call the same functions, so a preview shows what is trained. No torch, no
transformers and no Django here.
"""
