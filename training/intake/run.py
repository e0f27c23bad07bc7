"""One intake: fetch what is on the hub, look at what is there, say what it is."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.attempt import Attempt
from engine.checks import ConfigError
from engine.directory import json_write
from engine.manifest import manifest_write
from engine.modelcheck import directory_check
from engine.tensorfiles import tensor_shapes
from training.config.intake import IntakeConfig
from training.tensors.checking import empty_causal_model, fit_of
from training.tensors.mapping import TensorMap

_CURE = "Use a complete model, as save_pretrained writes it."


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a model is, told by its files."""

    class_name: str
    """Its own class, which its checkpoints keep."""
    taught_class: str
    """The class that is taught: the same, or the one for text alone."""
    tensors: int
    tensors_carried: int
    """Those that text does not reach, and every checkpoint keeps as they are."""
    carried_names: tuple[str, ...]
    """The first parts of their names, such as model.visual."""
    unknown_names: tuple[str, ...]
    """Tensors that its own class has no use for; they are kept too."""


def take_in(config: IntakeConfig, attempt: Attempt) -> dict[str, Any]:
    """Return the done event's summary. Raises ConfigError, naming why, for what cannot be taught;
    EngineError where the hub cannot be reached, StoppedError on request.

    A fetched model lies in attempts/<N>/output afterwards, with its manifest; of one that was
    there, findings.json.
    """
    if config.hub_id is None:
        findings = findings_of(Path(config.model or ""), attempt)
        summary = asdict(findings)
        with attempt.output_directory() as output:
            json_write(output / "findings.json", summary)
    else:
        from training.intake.hub import Fetch

        fetch = Fetch(config.hub_id, config.revision, attempt)
        directory = fetch.run()
        findings = findings_of(directory, attempt)
        manifest = manifest_write(directory)  # takes a minute for 50 GB; the rest is a moment
        with attempt.output_directory() as output:
            fetch.hand_over(output)
        summary = asdict(findings) | {
            "commit": fetch.commit,
            "licence": fetch.licence,
            "manifest_sha256": manifest["sha256"],
        }
    attempt.events.done(summary=summary)
    return summary


def findings_of(directory: Path, attempt: Attempt) -> Findings:
    """Look at a model directory; ConfigError where it cannot be taught and given back whole."""
    attempt.events.progress(done=0, total=2, unit="parts", phase="checking the model")
    directory_check("the model", str(directory))
    try:
        fit = fit_of(directory)
        model = empty_causal_model(directory)
    except (ValueError, KeyError, OSError, RuntimeError, AttributeError, TypeError) as error:
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError("the model", f"cannot be made by transformers: {words}", _CURE) from error
    if fit.missing:
        more = f" and {len(fit.missing) - 1:,} more" if len(fit.missing) > 1 else ""
        message = (
            f"{fit.class_name} needs {fit.missing[0]}{more}, which the files lack or hold in "
            "another shape than config.json says"
        )
        raise ConfigError("the model", message, _CURE)
    attempt.events.progress(done=1, total=2, unit="parts", phase="checking the model")
    tensors = TensorMap.of(model, directory)
    attempt.events.progress(done=2, total=2, unit="parts", phase="checking the model")
    return Findings(
        class_name=fit.class_name,
        taught_class=type(model).__name__,
        tensors=len(tensor_shapes(directory)),
        tensors_carried=len(tensors.carried),
        carried_names=_first_parts(tensors.carried),
        unknown_names=fit.unexpected[:5],
    )


def _first_parts(names: list[str]) -> tuple[str, ...]:
    """What names begin with, shortened to two words: model.visual, mtp.layers."""
    return tuple(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))[:5]
