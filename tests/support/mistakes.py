"""Reading and trying out the gallery of mistakes: tests/mistakes/README.md says how an entry is written."""
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import ROOT
from .engine import docker

GALLERY = ROOT / "tests/mistakes"
FIELDS = ("Mistake", "Symptom", "Before", "Options", "Try", "Says", "Why", "Cure")


def names():
    """Return the names of all mistakes, sorted: the folders of the gallery."""
    return sorted(path.name for path in GALLERY.iterdir() if path.is_dir())


def subject(name):
    """Return which file of a mistake is wrong: "compose.yaml" if there is one, else "Dockerfile"."""
    return "compose.yaml" if (GALLERY / name / "compose.yaml").exists() else "Dockerfile"


def fields(path):
    """Return the fields of the comment that opens a Dockerfile or compose file, {name: text}.

    A field is "# Name: text"; comment lines that are indented further continue it.
    """
    found, last = {}, None
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"# (\w+): +(.*)", line):
            last, found[match[1]] = match[1], match[2]
        elif last and (match := re.fullmatch(r"# {3,}(.*)", line)):
            found[last] += "\n" + match[1]
        else:
            break
    return found


def story(name, cured=False):
    """Return the fields of a mistake; those of its cure are the same where the cured file names no other."""
    file = GALLERY / name / subject(name)
    found = fields(file)
    return {**found, **fields(file.with_name("cured." + file.name))} if cured else found


class Trial:
    """One mistake, or its cure, in a copy of its folder, where it can be built and tried.

    A context manager: what the trial leaves in the engine is removed at the end.
    """

    def __init__(self, name, folder, cured=False):
        self.story = story(name, cured)
        self.tag = f"mistakes-{name}-{'cured' if cured else 'wrong'}"
        self.folder = Path(folder, "cured" if cured else "wrong")
        shutil.copytree(GALLERY / name, self.folder)
        for file in self.folder.glob("cured.*"):
            if cured:
                name = file.name.removeprefix("cured.")
                # A learner would write .dockerignore; the longer name is for two of them in one folder.
                file.rename(file.with_name(".dockerignore" if name == "Dockerfile.dockerignore" else name))
            else:
                file.unlink()

    def __enter__(self):
        self.clean()
        self.bash(self.story.get("Before", ""))
        return self

    def __exit__(self, *error):
        self.clean()
        moving = ["moving-base"] if "moving-base" in self.story.get("Before", "") else []
        docker("image", "rm", "-f", *self.images(), *moving, check=False)

    def images(self):
        """Return the names of this trial's images: one, or one for each service of a compose.yaml."""
        return docker("image", "ls", "--filter", f"reference={self.tag}*", "--format", "{{.Repository}}").stdout.split()

    def clean(self):
        """Remove the containers, networks and volumes of this trial; images only at its end."""
        docker("rm", "-f", "-v", self.tag, check=False)
        if (self.folder / "compose.yaml").exists():
            docker("compose", "-p", self.tag, "down", "-v", "-t", "1", cwd=self.folder, check=False)

    def bash(self, commands):
        """Run commands as a learner would type them; return the CompletedProcess, both outputs in stdout.

        The word "mistake" stands for the image and the container, which here get a name of their own.
        """
        return subprocess.run(["bash", "-c", re.sub(r"\bmistake\b", self.tag, commands)], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                              env={**os.environ, "COMPOSE_PROJECT_NAME": self.tag, "BUILDKIT_PROGRESS": "plain"})

    def says(self):
        """Build, then do what the field Try says; return what was printed, by the build if it failed."""
        if (self.folder / "compose.yaml").exists():
            return self.bash(self.story["Try"]).stdout
        built = self.bash(f"docker build --tag mistake {self.story.get('Options', '')} .")
        if built.returncode:
            return built.stdout
        # Some trials build again or wait for a server: a container of the try before must be gone.
        if "--name mistake" not in self.story.get("Before", ""):
            self.clean()
        return self.bash(self.story.get("Try", "docker run --rm mistake")).stdout
