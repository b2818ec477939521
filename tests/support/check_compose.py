"""What the checker sees in a compose file, next to the image that it runs."""
import json
import re
from dataclasses import dataclass
from pathlib import Path

from .check_rules import Finding, last
from .dockerfiles import DockerfileError, parse
from .engine import docker

@dataclass(frozen=True)
class Service:
    """A service of a compose file: where it stands ({"file", "line"}), and whether it has an init program."""
    where: dict
    init: bool


NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")


def compose_rules(folder, file, image):
    """Return the Findings on the folder's compose file, and the Service that it makes of this Dockerfile, or None."""
    path = next((folder / n for n in NAMES if (folder / n).exists()), None)
    if path is None:
        return [], None
    done = docker("compose", "-f", path, "config", "--format", "json", check=False, cwd=folder)
    if done.returncode:
        return [Finding("build", 1, "docker compose can't read it: " + done.stderr.strip()[-300:], "Nothing can be started.", "Mend the line it names.", path.name)], None
    services = json.loads(done.stdout).get("services", {})
    text = path.read_text().splitlines()
    made = {name: dockerfile_of(service, folder) for name, service in services.items()}
    mine = {name for name, built in made.items() if built and built[0] == file}
    findings = [*not_ready(services, made, text), *localhost(services, made, text), *quotes(services, text),
                *hidden(services, mine, image, text), *unpublished(services, text)]
    service = next((Service({"file": path.name, "line": line(text, name)}, bool(services[name].get("init"))) for name in sorted(mine)), None)
    return [Finding(**{**vars(f), "file": path.name}) for f in findings], service


def dockerfile_of(service, folder):
    """Return (path, instructions of the target) of the Dockerfile that a service is built from, or None."""
    build = service.get("build")
    if not build:
        return None
    path = Path(folder, build["context"], build.get("dockerfile", "Dockerfile")).resolve()
    try:
        return path, parse(path).target(build.get("target")).all()
    except DockerfileError:
        return None


def line(text, service, *keys):
    """Return the line of a service's key, or of the service, in a compose file's lines."""
    start = next((n for n, row in enumerate(text) if re.match(rf"\s+[\"']?{re.escape(service)}[\"']?:\s*(#.*)?$", row)), 0)
    indent = len(text[start]) - len(text[start].lstrip())
    for number in range(start + 1, len(text)):
        row = text[number]
        if row.strip() and not row.lstrip().startswith("#") and len(row) - len(row.lstrip()) <= indent:
            break
        if any(key in row for key in keys):
            return number + 1
    return start + 1


def not_ready(services, made, text):
    for name, service in services.items():
        for other, how in (service.get("depends_on") or {}).items():
            health = services.get(other, {}).get("healthcheck") or made.get(other) and last(made[other][1], "HEALTHCHECK")
            if how.get("condition") == "service_started" and health:
                yield Finding("not-ready", line(text, name, "depends_on"), f"{name} starts as soon as the container of {other} does, not when it is ready.",
                              f"{other} has a health check, and nobody waits for it: some starts fail and some don't.",
                              f"depends_on: {other}: condition: service_healthy")


def ports(name, services, made):
    """Return the ports that a service listens on, as far as its settings say."""
    service = services[name]
    found = {str(p).split("/")[0] for p in service.get("expose") or []} | {str(p["target"]) for p in service.get("ports") or []}
    if made.get(name):
        found |= {v.split("/")[0] for i in made[name][1] if i.cmd == "EXPOSE" for v in i.value}
    return found


def localhost(services, made, text):
    for name, service in services.items():
        said = " ".join([*(v or "" for v in (service.get("environment") or {}).values()), *(service.get("command") or [])])
        for port in re.findall(r"\b\w+://(?:localhost|127\.0\.0\.1):(\d+)", said):
            owner = next((o for o in services if o != name and port in ports(o, services, made)), None)
            if owner and port not in ports(name, services, made):
                yield Finding("localhost-service", line(text, name, f"localhost:{port}", f"127.0.0.1:{port}"),
                              f"{name} looks for port {port} at localhost, which is its own container.",
                              f"It is {owner} that listens there.", f"The service's name: http://{owner}:{port}")


def quotes(services, text):
    for name, service in services.items():
        for key, value in (service.get("environment") or {}).items():
            if value and re.fullmatch(r"\"[^\"]*\"|'[^']*'", value):
                yield Finding("quoted-value", line(text, name, f"{key}="), f"The quotes are part of the value: {key} is {value}, quotes included.",
                              "In a YAML list the entry is one plain text.", f"{key}={value[1:-1]}, or the other form: {key}: {value}")


def hidden(services, mine, image, text):
    for name in mine:
        for mount in services[name].get("volumes") or []:
            if mount.get("type") != "bind" or not Path(mount["source"]).is_dir():
                continue
            target = mount["target"].rstrip("/") + "/"
            lost = sorted(p for _, layer in image.own() for p, m in layer.files.items()
                          if p.startswith(target) and m.isreg() and p in image.tree and not Path(mount["source"], p.removeprefix(target)).exists())
            if lost:
                yield Finding("mount-hides", line(text, name, mount["target"]), f"Your folder is mounted over {mount['target']} and hides {len(lost)} files of the image, such as {lost[0]}.",
                              "A mount covers the whole folder: the container sees your files and none of the image's.",
                              "Mount only the files or folders that you want to change.")


def unpublished(services, text):
    exposing = [name for name, service in services.items() if service.get("expose")]
    if exposing and not any(service.get("ports") or service.get("network_mode") for service in services.values()):
        yield Finding("nothing-published", line(text, exposing[0], "expose"), "No service publishes a port, so nothing can be reached from outside.",
                      "expose only notes a port; other services reach it without, too.", "ports: [\"127.0.0.1:8080:8080\"]")
