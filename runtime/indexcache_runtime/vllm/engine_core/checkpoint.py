"""Tells one checkpoint from another under the same name, without reading it: 700 GB would take minutes.

Of each file of weights its name and size count, its beginning, where safetensors says what the tensors are,
and bytes from places spread over it. So other tensors, another quantization, and a training that moved most
weights are seen; a change of a few weights between the places isn't. What is read is some 100 KiB a file.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

HEAD_BYTES, SAMPLE_BYTES, SAMPLES = 64 * 1024, 4096, 8
"""Read of each file: its beginning, and so much at so many places."""
WHOLE = ("config.json", "model.safetensors.index.json", "hf_quant_config.json")
"""Files that count whole, as far as MOST_BYTES."""
MOST_BYTES = 64 * 1024 * 1024
SECONDS = 20.0
"""After which it is given up, so that an engine doesn't wait for slow storage."""
DIGITS = 16


class TooSlow(Exception):
    """Reading took longer than SECONDS."""


def of_engine(config: Any) -> str:
    """Return what tells the checkpoint of an engine; empty where that can't be found out.

    Args:
        config: vLLM's VllmConfig.
    """
    try:
        return fingerprint(_folder(config))
    except Exception as e:  # noqa: BLE001 (whatever it is, the engine serves, and says that it doesn't know)
        logger.warning("indexcache: can't tell this checkpoint from another: %s: %s", type(e).__name__, e)
        return ""


def fingerprint(folder: Path, clock: Callable[[], float] = time.monotonic) -> str:
    """Return hex digits that another checkpoint doesn't have.

    Raises FileNotFoundError where there are no weights as safetensors, OSError, and TooSlow.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"{folder}: no *.safetensors")
    found, until = hashlib.sha256(), clock() + SECONDS
    for path in (folder / name for name in WHOLE):
        if path.is_file():
            with path.open("rb") as file:
                _add(found, path.name, file.read(MOST_BYTES))
    for path in weights:
        size = path.stat().st_size
        _add(found, path.name, str(size).encode())
        with path.open("rb", buffering=0) as file:
            _add(found, "head", file.read(HEAD_BYTES) or b"")
            for number in range(1, SAMPLES + 1):
                if clock() > until:
                    raise TooSlow(f"{folder}: more than {SECONDS:g} s; is its storage slow?")
                file.seek(max(size * number // SAMPLES - SAMPLE_BYTES, 0))
                _add(found, "sample", file.read(SAMPLE_BYTES) or b"")
    return found.hexdigest()[:DIGITS]


def _add(found: "hashlib._Hash", name: str, content: bytes) -> None:
    """Add a part by name and length, so that no two series of parts are alike."""
    found.update(f"{name}:{len(content)}:".encode())
    found.update(content)


def _folder(config: Any) -> Path:
    """Return where an engine's checkpoint lies: a folder, or the hub's name of what was downloaded."""
    model = config.model_config
    folder = Path(model.model)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    cache = config.load_config.download_dir
    return Path(
        snapshot_download(model.model, revision=model.revision, cache_dir=cache, local_files_only=True)
    )
