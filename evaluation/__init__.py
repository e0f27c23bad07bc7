"""The evaluation engine: measures a checkpoint and judges what changed.

`python -m evaluation EVAL_DIR` runs it. `evaluation.config`, `evaluation.judging` and
`evaluation.suites` import neither torch nor Django, so the portal may import them; everything else
loads a model.
"""
