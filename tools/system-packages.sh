#!/bin/sh
# Makes sure that Debian's packages for a virtual environment (`python`) or for a virtual display
# and Qt (`display`) are there: installs what is missing with apt where root or sudo allows, and
# names it otherwise.
set -eu

missing=""
need() { missing="$missing $1"; }

case "$1" in
python)
    python="$2"
    command -v "$python" >/dev/null || { echo "error: $python not found: install Python 3.11 or newer" >&2; exit 1; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: napari-hmkd needs Python 3.11 or newer, found $("$python" --version 2>&1);" \
             "name another with: make PYTHON=python3.12 ..." >&2
        exit 1
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
    ;;
display)
    [ "$(uname -s)" = Linux ] || exit 0
    if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
        command -v xvfb-run >/dev/null || need xvfb
        command -v xauth >/dev/null || need xauth
    fi
    libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
    while read -r file package; do
        case "$libraries" in *"$file "*) ;; *) need "$package" ;; esac
    done <<EOF
libGL.so.1 libgl1
libEGL.so.1 libegl1
libglib-2.0.so.0 libglib2.0-0
libdbus-1.so.3 libdbus-1-3
libfontconfig.so.1 libfontconfig1
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-image.so.0 libxcb-image0
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0 libxcb-shape0
libxcb-xinerama.so.0 libxcb-xinerama0
libxkbcommon-x11.so.0 libxkbcommon-x11-0
EOF
    ls /usr/lib/*/dri/*_dri.so >/dev/null 2>&1 || need libgl1-mesa-dri
    ;;
esac

[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "error: these Debian packages, or what they are called here, are missing:$missing" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else
    echo "error: please install what is missing:  sudo apt-get install$missing" >&2
    exit 1
fi
echo "installing Debian packages:$missing"
$sudo apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
