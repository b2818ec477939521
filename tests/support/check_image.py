"""An image, layer by layer: which file came from which instruction of the Dockerfile."""
import json
import posixpath
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field

WHITEOUT = ".wh."


@dataclass
class Layer:
    """One layer. instruction is the Dockerfile's, or None for what came with the base image."""
    instruction: object
    files: dict = field(default_factory=dict)
    removed: set = field(default_factory=set)


class Image:
    """The layers and the merged file system of an image. Use as a context manager: it keeps a temporary file."""

    def __init__(self, tag, stage):
        """Read an image. stage: the dockerfiles.Stage that it was built from. Raises CalledProcessError."""
        self.stage = stage
        self.saved = tempfile.TemporaryFile()
        subprocess.run(["docker", "save", tag], stdout=self.saved, stderr=subprocess.PIPE, check=True)
        self.saved.seek(0)
        self.archive = tarfile.open(fileobj=self.saved)
        manifest = json.load(self.archive.extractfile("manifest.json"))[0]
        everything = json.load(self.archive.extractfile(manifest["Config"]))
        self.config = everything.get("config", {})
        self.env = dict(e.split("=", 1) for e in self.config.get("Env") or [])
        self.layers = [Layer(i) for i in self.origins(everything.get("history", []))]
        assert len(self.layers) == len(manifest["Layers"]), "the image's history doesn't fit its layers"
        self.tars = [tarfile.open(fileobj=self.archive.extractfile(name)) for name in manifest["Layers"]]
        self.tree = {}
        for number, (layer, tar) in enumerate(zip(self.layers, self.tars)):
            for member in tar:
                self.add(number, layer, member)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.saved.close()

    def origins(self, history):
        """Return the instruction behind each layer. Each instruction leaves one line of history; the base's come first."""
        steps = self.stage.all()
        padded = [None] * (len(history) - len(steps)) + steps[max(0, len(steps) - len(history)):]
        return [i for i, entry in zip(padded, history) if not entry.get("empty_layer")]

    def add(self, number, layer, member):
        path = "/" + member.name.removeprefix("./").strip("/")
        folder, name = posixpath.split(path)
        if name.startswith(WHITEOUT):
            hidden = folder if name == ".wh..wh..opq" else posixpath.join(folder, name.removeprefix(WHITEOUT))
            gone = [p for p, (n, _) in self.tree.items()
                    if n < number and (p.startswith(hidden + "/") or p == hidden != folder)]
            for p in gone:
                del self.tree[p]
            layer.removed.update(gone)
        else:
            layer.files[path] = member
            self.tree[path] = (number, member)

    def line(self, path):
        """Return the instruction that brought a path; the FROM line if the base image did; None if there is no such path."""
        if path not in self.tree:
            return None
        return self.layers[self.tree[path][0]].instruction or self.stage.chain()[0].start

    def own(self):
        """Return the layers that the Dockerfile made, as [(number, layer)]."""
        return [(n, layer) for n, layer in enumerate(self.layers) if layer.instruction]

    def resolve(self, path):
        """Follow links; return the path that is meant, whether it exists or not."""
        for _ in range(40):
            walked = "/"
            for part in path.strip("/").split("/"):
                walked = posixpath.join(walked, part)
                member = self.tree.get(walked, (0, None))[1]
                if member is not None and member.issym():
                    rest = path.removeprefix(walked).lstrip("/")
                    path = posixpath.normpath(posixpath.join(posixpath.dirname(walked), member.linkname, rest))
                    break
            else:
                return path
        return path

    def read(self, path, limit=4096):
        """Return the first bytes of a file in the merged file system, or None."""
        path = self.resolve(path)
        return self.content(self.tree[path][0], path, limit) if path in self.tree else None

    def content(self, number, path, limit=-1):
        """Return the first bytes of a file as it is in one layer, or None if it is no regular file."""
        member = self.layers[number].files[path]
        if member.islnk():
            member = self.layers[number].files.get("/" + member.linkname.removeprefix("./").strip("/"), member)
        return self.tars[number].extractfile(member).read(limit) if member.isreg() else None

    def find(self, program):
        """Return the path of a program as the container would look it up, or None."""
        if "/" in program:
            return posixpath.normpath(posixpath.join(self.config.get("WorkingDir") or "/", program))
        for folder in self.env.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").split(":"):
            if self.resolve(posixpath.join(folder, program)) in self.tree:
                return posixpath.join(folder, program)
        return None

    def user(self):
        """Return the numeric user that the image runs as, or None if its name is unknown."""
        name = (self.config.get("User") or "root").split(":")[0]
        if name.isdigit():
            return int(name)
        passwd = (self.read("/etc/passwd", 1 << 20) or b"").decode(errors="replace")
        found = re.search(rf"^{re.escape(name)}:[^:]*:(\d+):", passwd, re.M)
        return int(found[1]) if found else 0 if name == "root" else None
