"""Networks of the transformers library, from its hub or from a folder: whole, and without code that comes with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from depthbokeh.models.checkpoints import CheckpointError
from depthbokeh.models.download import quiet_hub
from depthbokeh.models.vision import import_transformers
from depthbokeh.models.weights import is_offline


def load_network(source: str, classes: Mapping[str, str], task: str) -> tuple[Any, dict[str, Any]]:
    """Loads a network and what its folder says of preparing photos.

    Args:
        source: A model's name on the hub, ``OWNER/MODEL``, or a folder in transformers' layout.
        classes: The class of transformers that builds it, by the table of configurations that holds its family.
        task: What it is to do, for the message.

    Returns:
        The network, and the content of its ``preprocessor_config.json``, {} without one.

    Raises:
        ImportError: transformers is not installed.
        CheckpointError: There is no such model, it cannot be had, or tensors are missing.
        ValueError: It is of a kind that does something else.
    """
    transformers = import_transformers()
    # Code of the model's author is not even offered to be run, as transformers would in a terminal.
    options = {"trust_remote_code": False, "local_files_only": is_offline()}
    try:
        with quiet_hub():
            config = transformers.AutoConfig.from_pretrained(source, **options)
            fit = [name for table, name in classes.items() if type(config) in getattr(transformers, table)]
            if not fit:
                raise _OtherKindError(config.model_type)
            builder = getattr(transformers, fit[0])
            network, report = builder.from_pretrained(source, output_loading_info=True, **options)
            preparation = _read_preparation(transformers, source)
    except _OtherKindError as error:
        raise ValueError(f"model is {source!r}, of the kind {str(error)!r}: expected one that {task}") from error
    except (OSError, ValueError, KeyError) as error:  # no connection, no such model, code that would have to be run
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise CheckpointError(f"model is {source!r}: cannot be loaded: {reason}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.endswith("num_batches_tracked"))
    if missing:  # transformers makes numbers up for them
        raise CheckpointError(f"model is {source!r}: {len(missing)} tensors are missing, first {missing[0]}")
    return network, preparation


class _OtherKindError(Exception):
    pass


def _read_preparation(transformers: Any, source: str) -> dict[str, Any]:
    try:
        config, _ = transformers.BaseImageProcessor.get_image_processor_dict(source, local_files_only=is_offline())
    except OSError:  # a folder without one
        return {}
    return dict(config)
