"""Writing and reading checkpoints: whole files renamed into place, read with `weights_only=True`."""

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from lnlib.errors import CheckpointError
from lnlib.files import whole_file


def write(state: dict[str, Any], path: Path) -> None:
    """Save `state` so that `path` holds either the old checkpoint or the new one; raises as `whole_file`."""
    # In memory first: torch.save makes a RuntimeError of a full disk, and of Ctrl-C.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with whole_file(path) as file:
        file.write(buffer.getbuffer())


def read(path: Path, fingerprint: str) -> dict[str, Any]:
    """The state saved at `path`; raises `CheckpointError` where it is missing, damaged or of another training
    run.
    """
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"there is no checkpoint at {path}; give the path of an existing one"
        ) from error
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({type(error).__name__}); move it away to train from the start"
        ) from error
    found = state.get("fingerprint") if isinstance(state, dict) else None
    if found != fingerprint:
        raise CheckpointError(
            f"the checkpoint {path} belongs to another run (its spec is {found}, this one's {fingerprint}); "
            "give this run a path of its own"
        )
    return state
