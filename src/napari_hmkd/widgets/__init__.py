"""The napari side: the only part of the package that imports napari, magicgui and Qt."""
