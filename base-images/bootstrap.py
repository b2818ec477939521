#!/usr/bin/env python3
"""Fetch the packages of a minimal Debian, as a build context for base-images/debian.

debootstrap and mmdebstrap do this too, but need root and a Debian host. This needs Python 3.9
and a Debian mirror, so that it also runs on macOS and for a user who may only talk to Docker:
the packages are unpacked here, and configured by dpkg itself in a build stage.

Trust is Debian's: InRelease is signed (checked with gpgv and the host's Debian keyring; without
them the mirror must be https), it holds the SHA-256 of Packages.xz, which holds every package's
SHA-256 (https://wiki.debian.org/DebianRepository/Format).
"""
import argparse
import hashlib
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SUITE = "trixie"
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp")
WANTED = ("apt", "ca-certificates", "debian-archive-keyring")  # besides what is essential or required
# What Debian's slim images leave out (dpkg's path-exclude), but for the licences.
DROPPED = re.compile(r"\./usr/share/(doc(?!/[^/]+/copyright$)/[^/]+/|man/|info/|locale/|lintian/"
                     r"|groff/|linda/)")


class Problem(Exception):
    """Something the user can mend; its text is all that is shown."""


def apt_sources():
    """Return the Debian archives this host's own apt uses, as {"debian": URI, "debian-security": URI}.

    A host that is not Debian has none; $DEBIAN_MIRROR names one then (and wins always).
    """
    found = {}
    etc = Path("/etc/apt")
    for file in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if file.suffix in (".list", ".sources") and file.is_file():
            for uri in re.findall(r"^[^#\n]*?(https?://\S+)", file.read_text(), re.M):
                name = uri.rstrip("/").rsplit("/", 1)[-1]
                if name in ("debian", "debian-security"):
                    found.setdefault(name, uri.rstrip("/"))
    if os.environ.get("DEBIAN_MIRROR"):
        found["debian"] = os.environ["DEBIAN_MIRROR"].rstrip("/")
    if "debian" not in found:
        raise Problem("This machine names no Debian mirror. Set DEBIAN_MIRROR to one near you, "
                      "https://HOST/debian (debian.org/mirror/list has them), and run this again.")
    if not found["debian"].startswith(("http://", "https://")):
        raise Problem(f"{found['debian']} is no http or https address. Set DEBIAN_MIRROR to one.")
    return found


def fetch(url, tries=3):
    """Return the bytes at url; raise Problem, with the reason, when the last try has failed."""
    for attempt in range(tries):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()
        except (OSError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", None) or error
            if attempt + 1 < tries:
                time.sleep(2 ** attempt)
    raise Problem(f"Cannot fetch {url}: {reason}. "
                  "Is the network up? Behind a proxy, set http_proxy and https_proxy.")


def checked(url, sha256):
    """Return the bytes at url; raise Problem unless their SHA-256 is the one the archive signed."""
    data = fetch(url)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Problem(f"{url} is not what the archive's signed list says (SHA-256 differs). "
                      "Something between you and the mirror changes files, or the mirror is being updated.")
    return data


def release_hashes(mirror):
    """Return {path: SHA-256} from the mirror's InRelease, after its signature or https vouched for it."""
    data = fetch(f"{mirror}/dists/{SUITE}/InRelease")
    keyring = next((k for k in KEYRINGS if os.path.exists(k)), None)
    if keyring and shutil.which("gpgv"):
        done = subprocess.run(["gpgv", "--keyring", keyring, "-o", "-"], input=data, capture_output=True)
        if done.returncode:
            raise Problem(f"{mirror}/dists/{SUITE}/InRelease carries no valid Debian signature.")
        data = done.stdout
    elif not mirror.startswith("https:"):
        raise Problem(f"gpgv and Debian's keyring are not on this machine, so {mirror} must be an "
                      "https address: set DEBIAN_MIRROR to one.")
    sums = data.decode().split("\nSHA256:\n", 1)[1]
    return {path: sha for sha, path in re.findall(r"^ ([0-9a-f]{64}) +\d+ (\S+)$", sums, re.M)}


def choose(packages):
    """Return the packages to install: essential and required ones, WANTED, and all they depend on.

    packages is a list of {field: value}. Of alternatives ("a | b") the first that exists is taken.
    """
    needed = [p["Package"] for p in packages
              if p.get("Essential") == "yes" or p.get("Priority") == "required"]
    by_name, provided = {}, {}
    for package in sorted(packages, key=lambda p: p.get("Priority") != "required"):
        by_name[package["Package"]] = package
        for virtual in names(package.get("Provides", "")):
            provided.setdefault(virtual[0], package)
    todo = needed + list(WANTED)
    chosen = {}
    while todo:
        name = todo.pop()
        package = by_name.get(name) or provided[name]
        if package["Package"] not in chosen:
            chosen[package["Package"]] = package
            for field in ("Pre-Depends", "Depends"):
                todo += [next(a for a in alternatives if a in by_name or a in provided)
                         for alternatives in names(package.get(field, ""))]
    return [chosen[name] for name in sorted(chosen)]


def names(relation):
    """Return "a (>= 1) | b, c:any" as [["a", "b"], ["c"]]."""
    return [[re.match(r"\s*([^\s(:\[]+)", a)[1] for a in group.split("|")]
            for group in relation.split(",") if group.strip()]


def data_member(deb):
    """Return the data.tar of a .deb (an ar archive, deb(5)) as an uncompressed byte string."""
    at = 8
    while at < len(deb):
        name, size = deb[at:at + 16].decode().strip(), int(deb[at + 48:at + 58])
        if name.startswith("data.tar"):
            body = deb[at + 60:at + 60 + size]
            return lzma.decompress(body) if name.rstrip("/").endswith(".xz") else body
        at += 60 + size + size % 2
    raise Problem("a package without data.tar came from the mirror")


def write_context(chosen, mirror, folder):
    """Write rootfs.tar (everything unpacked, nothing configured) and debs/ into folder."""
    (folder / "debs").mkdir(parents=True)
    with ThreadPoolExecutor(8) as pool:
        debs = list(pool.map(lambda p: checked(f"{mirror}/{p['Filename']}", p["SHA256"]), chosen))
    # base-files first: it holds /bin -> usr/bin and its kin, which must be there before their content.
    order = sorted(zip(chosen, debs), key=lambda pair: pair[0]["Package"] != "base-files")
    seen = set()
    with tarfile.open(folder / "rootfs.tar", "w") as out:
        for package, deb in order:
            (folder / "debs" / os.path.basename(package["Filename"])).write_bytes(deb)
            with tarfile.open(fileobj=io.BytesIO(data_member(deb))) as data:
                for member in data:
                    name = "./" + member.name.lstrip("./")
                    if not DROPPED.match(name) and not (member.isdir() and name in seen):
                        seen.add(name)
                        out.addfile(member, data.extractfile(member) if member.isreg() else None)


def sources_file(found, suite=SUITE):
    """Return the deb822 text that makes the image's apt use the mirrors of this host."""
    parts = [(found["debian"], f"{suite} {suite}-updates")]
    if "debian-security" in found:
        parts.append((found["debian-security"], f"{suite}-security"))
    return "\n".join(f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\n"
                     f"Signed-By: {KEYRINGS[0]}\n" for uri, suites in parts)


def main():
    """Parse the command line, write the build context; exit 1 with one line when that can't be done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="the build context to write (must not exist)")
    parser.add_argument("--arch", default="amd64", help="Debian's name of the architecture")
    args = parser.parse_args()
    try:
        found = apt_sources()
        mirror = found["debian"]
        index = f"main/binary-{args.arch}/Packages.xz"
        hashes = release_hashes(mirror)
        if index not in hashes:
            raise Problem(f"Debian {SUITE} has no packages for the architecture {args.arch}.")
        text = lzma.decompress(checked(f"{mirror}/dists/{SUITE}/{index}", hashes[index])).decode()
        packages = [dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.M)) for stanza in text.split("\n\n")]
        write_context(choose([p for p in packages if p]), mirror, args.folder)
        (args.folder / "debian.sources").write_text(sources_file(found))
    except Problem as problem:
        sys.exit(f"error: {problem}")


if __name__ == "__main__":
    main()
