"""The napari side: the only part of the package that imports napari, magicgui and Qt."""

import os
import sys
from contextlib import suppress
from importlib import import_module


def _load_triton_with_its_own_llvm() -> None:
    """Load triton, a part of torch, before torch does.

    It brings an LLVM, and so do Mesa's graphics drivers, which napari's window has loaded for
    everything else to use: where triton takes functions of theirs, the process ends without a word.
    """
    usual = sys.getdlopenflags()
    sys.setdlopenflags(usual | os.RTLD_DEEPBIND)
    try:
        with suppress(ImportError):  # a torch without it, as on most machines without CUDA
            import_module("triton._C.libtriton")
    finally:
        sys.setdlopenflags(usual)


if hasattr(os, "RTLD_DEEPBIND"):  # Linux
    _load_triton_with_its_own_llvm()
