"""Sending a folder to the Hugging Face hub, where that library is installed."""

import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from uibe.errors import ConfigError

__all__ = ["upload"]


def upload(save: Callable[[str], object], repo_id: str, token: str | None, private: bool) -> str:
    """Write a folder and upload it; its address.

    Args:
        save: writes the content into a folder.
        repo_id: `user/name`.
        token: None for the one that is stored on this machine.
        private: whether only its owner sees it.

    Raises:
        ConfigError: if `huggingface_hub` is not installed, or the upload is refused.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ConfigError('push: needs huggingface_hub; run `pip install "uibe[hub]"`') from error
    with tempfile.TemporaryDirectory() as folder:
        save(str(Path(folder)))
        try:
            hub.create_repo(repo_id, token=token, private=private, exist_ok=True)
            return str(hub.upload_folder(repo_id=repo_id, folder_path=folder, token=token))
        except (OSError, ValueError) as error:  # the hub's own errors are these
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"push: {repo_id}: refused ({reason}); check the name and `hf auth login`"
            ) from error
