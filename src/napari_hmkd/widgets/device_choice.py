"""The list of this machine's devices, as every panel shows it."""

from __future__ import annotations

from magicgui.widgets import ComboBox

from napari_hmkd.device import available_devices, is_built_for


def device_choice() -> ComboBox:
    """A choice of where to compute; a GPU that would be refused is left out, and the tooltip says why."""
    found = {name: is_built_for(name) for name in available_devices()}
    choice = ComboBox(label="Device", choices=["auto", *(name for name in found if found[name])])
    if refused := [name for name in found if not found[name]]:
        choice.tooltip = (
            f"Without {', '.join(refused)}: the installed torch is not built for it. Install a torch build "
            "for your GPU."
        )
    return choice
