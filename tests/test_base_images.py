"""The base images keep the contract of the official ones, whether they come from Docker Hub or are stand-ins."""
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.engine import docker
from tests.support.images import plan

BASES = {target: fields["tags"][0] for target, fields in plan("bases").items()}
DEBIAN, PYTHON, NODE, JRE, MAVEN = (BASES[f"base-{name}"] for name in ("debian", "python", "node", "jre", "maven"))


def run(image, *command, entrypoint=None):
    """Run a command in a new container of a base; return what it prints, both streams, stripped."""
    options = ["--entrypoint", entrypoint] if entrypoint else []
    done = docker("run", "--rm", "--network", "none", *options, image, *command)
    return (done.stdout + done.stderr).strip()


def config(image, inspect):
    here = inspect(image)["Config"]
    here["Env"] = dict(pair.split("=", 1) for pair in here["Env"])
    return here


@pytest.fixture(params=BASES.values())
def base(request):
    """Each base image in turn; skipped where it is not on this machine (nothing here needed it)."""
    if docker("image", "inspect", request.param, check=False).returncode:
        pytest.skip(f"{request.param} is not on this machine: no chapter that was built needs it")
    return request.param


def need(image):
    if docker("image", "inspect", image, check=False).returncode:
        pytest.skip(f"{image} is not on this machine: no chapter that was built needs it")


def test_every_stand_in_says_what_it_is(base, inspect):
    label = (inspect(base)["Config"]["Labels"] or {}).get("learn.multistage.stand-in")
    if label is None:
        pytest.skip(f"{base} is no stand-in")
    assert label == base
    assert base in inspect(base)["Config"]["Labels"]["org.opencontainers.image.description"]


def test_every_base_runs_as_root_unless_told_otherwise(base):
    assert run(base, "-u", entrypoint="id") == "0"


def test_debian(inspect):
    need(DEBIAN)
    assert 'VERSION_CODENAME=trixie' in run(DEBIAN, "cat", "/etc/os-release")
    assert config(DEBIAN, inspect)["Cmd"] == ["bash"]
    assert run(DEBIAN, "dpkg", "--audit") == "", "packages are only half installed"


def test_debian_slim_has_no_manuals(files):
    need(DEBIAN)
    papers = [p for p, m in files(DEBIAN).items() if m.isreg() and re.match("/usr/share/(man|info|locale)/", p)]
    assert not [p for p in papers if not p.endswith(("locale.alias", "info/dir"))]


def test_node(inspect):
    need(NODE)
    here = config(NODE, inspect)
    assert run(NODE, "--version") == "v" + here["Env"]["NODE_VERSION"], "the entry point hands options to node"
    assert here["Env"]["NODE_VERSION"].startswith("24.")
    assert (here["Entrypoint"], here["Cmd"]) == (["docker-entrypoint.sh"], ["node"])
    assert run(NODE, "which", "node", "npm", "npx").split() == [
        f"/usr/local/bin/{tool}" for tool in ("node", "npm", "npx")]
    assert run(NODE, "sh", "-c", "id -u node; id -g node; echo ~node").split() == ["1000", "1000", "/home/node"]
    assert run(NODE, "npm", "--version").startswith("11.")


def test_node_entry_point_runs_scripts_and_commands():
    need(NODE)
    assert run(NODE, "-p", "6*7") == "42"
    assert run(NODE, "echo", "hello") == "hello"


def test_python(inspect):
    need(PYTHON)
    here = config(PYTHON, inspect)
    assert here["Cmd"] == ["python3"] and not here["Entrypoint"]
    script = """if True:
        import sys, sysconfig, site, bz2, ctypes, lzma, readline, sqlite3, ssl, uuid, zlib, curses
        print(sys.executable, sys.prefix, sysconfig.get_path('purelib'), '.'.join(map(str, sys.version_info[:3])))"""
    assert run(PYTHON, "python", "-c", script).split() == [
        "/usr/local/bin/python", "/usr/local", "/usr/local/lib/python3.13/site-packages",
        here["Env"]["PYTHON_VERSION"]]
    assert here["Env"]["PYTHON_VERSION"].startswith("3.13.")
    assert run(PYTHON, "which", "python3", "pip", "pip3").split() == [
        f"/usr/local/bin/{tool}" for tool in ("python3", "pip", "pip3")]


def test_python_makes_virtual_environments_with_pip():
    need(PYTHON)
    assert run(PYTHON, "sh", "-c", "python3 -m venv /v && /v/bin/pip --version").startswith("pip ")
    assert run(PYTHON, "sh", "-c", "python3 -m venv --without-pip /v && readlink -f /v/bin/python3") == (
        "/usr/local/bin/python3.13")


def test_python_slim_has_no_bytecode_and_no_test_suite(files):
    need(PYTHON)
    assert not [p for p in files(PYTHON) if re.match(r"/usr/local/lib/.*(\.pyc$|/tests?/)", p)]


def test_jre(inspect):
    need(JRE)
    here = config(JRE, inspect)
    assert here["Env"]["JAVA_HOME"] == "/opt/java/openjdk"
    assert here["Entrypoint"] == ["/__cacert_entrypoint.sh"]
    assert 'openjdk version "25' in run(JRE, "java", "-version")
    assert run(JRE, "which", "java") == "/opt/java/openjdk/bin/java"
    modules = run(JRE, "java", "--list-modules")
    assert "java.desktop@" in modules and "jdk.crypto.ec@" in modules
    assert "jdk.compiler@" not in modules, "a JRE has no compiler"


def test_maven(inspect):
    need(MAVEN)
    here = config(MAVEN, inspect)
    assert (here["Entrypoint"], here["Cmd"]) == (["/usr/local/bin/mvn-entrypoint.sh"], ["mvn"])
    assert (here["Env"]["JAVA_HOME"], here["Env"]["MAVEN_HOME"]) == ("/opt/java/openjdk", "/usr/share/maven")
    version = run(MAVEN, "mvn", "-version")
    assert re.search(r"Apache Maven 3\.9\.", version) and re.search(r"Java version: 25[.,]", version)
    assert run(MAVEN, "which", "javac", "jlink", "jdeps", "git").split() == [
        "/opt/java/openjdk/bin/javac", "/opt/java/openjdk/bin/jlink", "/opt/java/openjdk/bin/jdeps", "/usr/bin/git"]


def host_authorities():
    folder = Path("/usr/local/share/ca-certificates")
    return [c for file in folder.glob("*.crt") for c in
            re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", file.read_text(), re.S)]


def test_stand_ins_trust_whom_this_machine_trusts(base, inspect):
    if "learn.multistage.stand-in" not in (inspect(base)["Config"]["Labels"] or {}):
        pytest.skip(f"{base} is no stand-in")
    if not host_authorities():
        pytest.skip("this machine trusts no authorities of its own")
    bundle = "".join(run(base, "/etc/ssl/certs/ca-certificates.crt", entrypoint="cat").split())
    assert all("".join(c.split()) in bundle for c in host_authorities())


@pytest.fixture(scope="session")
def registries(tmp_path_factory):
    """Skips the test where the package registries can't be reached."""
    done = subprocess.run(["python3", "-m", "pip", "download", "-q", "--no-deps", "six", "-d",
                           tmp_path_factory.mktemp("pip")], capture_output=True, timeout=60)
    if done.returncode:
        pytest.skip("needs the internet: the package registries can't be reached")


@pytest.mark.parametrize("base, step", [
    (DEBIAN, "apt-get update && apt-get install -y --no-install-recommends hello && hello"),
    (PYTHON, "pip install --no-cache-dir six && python3 -c 'import six'"),
    (NODE, "npm install is-number@7 && node -e \"require('is-number')\""),
    (MAVEN, "mvn -B -q org.apache.maven.plugins:maven-clean-plugin:3.5.0:clean"),
])
def test_packages_install_in_a_build(base, step, registries, tmp_path):
    need(base)
    (tmp_path / "pom.xml").write_text("""<project><modelVersion>4.0.0</modelVersion>
        <groupId>any</groupId><artifactId>any</artifactId><version>1</version></project>""")
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /work\nCOPY . .\nRUN {step}\n")
    docker("buildx", "build", "--no-cache", "--output", "type=cacheonly", tmp_path)


def test_java_trusts_whom_the_system_trusts(registries, tmp_path):
    need(JRE)
    need(MAVEN)
    # Java has a trust store of its own: a program in the JRE reads an https page, that of the repository
    # which Maven's own library names.
    (tmp_path / "Get.java").write_text(
        'public class Get { public static void main(String[] a) throws Exception {'
        ' new java.net.URI(a[0]).toURL().openStream().close(); } }')
    (tmp_path / "Dockerfile").write_text(f"""FROM {MAVEN} AS build
WORKDIR /work
COPY Get.java .
RUN javac Get.java
RUN jar xf /usr/share/maven/lib/maven-model-builder-*.jar org/apache/maven/model/pom-4.0.0.xml \\
 && grep -o 'https://[^<]*' org/apache/maven/model/pom-4.0.0.xml | head -n 1 > address
FROM {JRE}
COPY --from=build /work/Get.class /work/address ./
RUN java Get "$(cat address)/junit/junit/4.13.2/junit-4.13.2.pom"
""")
    docker("buildx", "build", "--output", "type=cacheonly", tmp_path)
