"""Builds switches of an engine with four indexers, and what they are asked for."""

from typing import Any

from indexcache_core.contract import Desired, Flags, Mode
from indexcache_runtime.control.switch import Switch

ME = "incarnation-1"
FITTING = "FSFS"


def switch(**kwargs: Any) -> Switch:
    return Switch(ME, ("tokens",) * 4, **kwargs)


def desired(epoch: int = 1, mode: Mode = Mode.ON, **kwargs: Any) -> Desired:
    fields: dict[str, Any] = {
        "incarnation": ME,
        "permit_seconds": 10.0,
        "flags": Flags(mode=mode, pattern=FITTING),
        **kwargs,
    }
    return Desired(epoch=epoch, **fields)
