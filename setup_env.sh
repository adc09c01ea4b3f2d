#!/bin/sh
# Sets this program up in an environment of its own; may be run again at any time.
#
#   ./setup_env.sh         make the environment, install, and check that it can describe a picture
#   ./setup_env.sh demo    the same, then show a search on real photographs
#   ./setup_env.sh test    the same with the developer's tools, then all checks and all tests
#
#   --offline DIR          install from the folder DIR, made by scripts/wheelhouse, without any network
#
# The environment is .venv beside this file, or the folder that VENV names. PYTHON names the interpreter to
# use (3.11 or later). Nothing outside the environment is changed, and root is not needed.
set -eu

die() {
    echo "setup_env: $1" >&2
    exit 1
}

mode=plain
offline=
while [ $# -gt 0 ]; do
    case $1 in
    demo | test) mode=$1 ;;
    --offline)
        [ $# -ge 2 ] || die "--offline needs a folder; make one with: scripts/wheelhouse DIR"
        shift
        [ -f "$1/requirements.txt" ] || die "$1 holds no requirements.txt; make it with: scripts/wheelhouse $1"
        offline=$(cd "$1" && pwd)
        ;;
    -h | --help)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "unknown argument '$1'; see: $0 --help" ;;
    esac
    shift
done

cd "$(dirname "$0")"
venv=${VENV:-.venv}
case $mode in
plain) extras= ;;
demo) extras=demo ;;
test) extras=dev ;;
esac

# --- a Python that is new enough -------------------------------------------------------------------------

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    die "no Python 3.11 or later found${PYTHON:+ ($PYTHON is none)}; on Debian 12: apt-get install python3 python3-venv"
}

# --- the environment: kept if it works, made anew if it was left half-made -------------------------------

make_environment() {
    if is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    base=$(find_python)
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$base lacks the venv module; on Debian: apt-get install python3-venv"
    # Only what looks like an environment is ever emptied.
    if [ -d "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        die "$venv exists and is no environment; name another folder with VENV=..."
    fi
    echo "Making the environment $venv with $("$base" --version)"
    "$base" -m venv --clear "$venv" || die "the environment $venv could not be made"
}

# --- what is to be installed, and whether it already is --------------------------------------------------

state() {
    {
        cat pyproject.toml setup.py constraints.txt
        grep '^__version__' image_similarity/__init__.py
        "$venv/bin/python" --version
        echo "${offline:-online} $PWD"
        [ -z "$offline" ] || cat "$offline/requirements.txt"
    } | cksum
}

need_space() {
    free=$(df -Pk "$venv" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge 2000 ] || die "the installation needs about 2 GB, $venv has $free MB free"
}

pip_install() {
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -qq "$@" ||
        die "pip could not install what is needed, its own words stand above (no network: see --offline in --help)"
}

install_online() {
    torch=$(grep '^torch==' constraints.txt)
    echo "Installing $torch, the largest part"
    pip_install -c constraints.txt "$torch"
    echo "Installing the rest${extras:+ and what '$extras' adds}"
    pip_install -c constraints.txt -e ".${extras:+[$extras]}"
}

install_offline() {
    list=$offline/requirements.txt
    made_for=$(sed -n 's/^# python: //p' "$list")
    here=$("$venv/bin/python" -c 'import platform as p; print(p.python_version().rsplit(".", 1)[0], p.system(), p.machine())')
    [ "$made_for" = "$here" ] || die "$offline was made for Python $made_for, this is Python $here"
    if [ -n "$extras" ] && ! grep -q "^# extras:.* $extras\( \|\$\)" "$list"; then
        die "$offline lacks what '$extras' needs; make it with: scripts/wheelhouse DIR --extras $extras"
    fi
    echo "Installing from $offline, without a network, every file checked against its SHA-256"
    pip_install --no-index -f "$offline" --require-hashes -r "$list"
    if [ "$mode" = test ]; then
        # A developer tests the checkout, not the wheel that was made of it.
        pip_install --no-index --no-deps --no-build-isolation -e .
    else
        # pip takes an installed package of the same version for the same package.
        grep '^image_similarity==' "$list" >"$venv/own.txt"
        pip_install --no-index -f "$offline" --no-deps --force-reinstall --require-hashes -r "$venv/own.txt"
        rm -f "$venv/own.txt"
    fi
}

make_environment
stamp=$venv/.installed${extras:+-$extras}
if [ "$(cat "$stamp" 2>/dev/null)" = "$(state)" ]; then
    echo "Everything is installed in $venv"
else
    rm -f "$venv"/.installed*
    need_space
    if [ -n "$offline" ]; then install_offline; else install_online; fi
    # Whatever an extra needs includes the plain program, and the developer's includes the demonstration's.
    for covered in "" ${extras:+-demo} "${extras:+-$extras}"; do
        state >"$venv/.installed$covered"
    done
fi

# --- does it work? ---------------------------------------------------------------------------------------

if ! "$venv/bin/image-similarity" models check builtin; then
    rm -f "$venv"/.installed*
    die "the program was installed but its self-check failed; run again to install everything anew"
fi

PATH=$(cd "$venv/bin" && pwd):$PATH
export PATH
case $mode in
plain) echo "Ready. Next: . $venv/bin/activate && generate_embeddings --help" ;;
demo) exec python scripts/demo.py ;;
test)
    # The tests run also where a check fails: whoever mends one wants to know of the other.
    status=0
    scripts/check || status=1
    # Half as many again as there are processors: a good part of the tests waits, for a browser, a server or a process.
    scripts/test -n "$(((3 * $(nproc) + 1) / 2))" --maxprocesses 6 --dist worksteal || status=1
    exit $status
    ;;
esac
