# Every image of this repo, once: its name, its build context, its Dockerfile.
#
#   docker buildx bake -f docker-bake.hcl --print      what would be built
#   docker buildx bake -f docker-bake.hcl ch03         build one chapter

# A registry to push to, e.g. registry.example.org/you. Empty: the images stay on this machine.
variable "REGISTRY" { default = "" }
# The commit and the time that the images were made from. Empty: no such label, so that the same
# sources give the same image today and tomorrow.
variable "REVISION" { default = "" }
variable "CREATED" { default = "" }

function "tag" {
  params = [name]
  result = [REGISTRY == "" ? name : "${REGISTRY}/${name}"]
}

# learn.multistage.image is how build-all.sh --clean knows its own images again.
function "labels" {
  params = [name, folder, description]
  result = {
    for key, value in {
      "org.opencontainers.image.title"       = name
      "org.opencontainers.image.description" = description
      "org.opencontainers.image.source"      = folder
      "org.opencontainers.image.revision"    = REVISION
      "org.opencontainers.image.created"     = CREATED
      "learn.multistage.image"               = name
    } : key => value if value != ""
  }
}

group "default" { targets = ["ch03", "ch04", "ch05"] }

# --- chapter 3: a Node program ------------------------------------------------------------------
group "ch03" { targets = ["ch03-web-ping", "ch03-web-ping-optimized"] }

target "ch03-web-ping" {
  context = "ch03-web-ping"
  tags    = tag("ch03-web-ping")
  labels  = labels("ch03-web-ping", "ch03-web-ping", "the book's Dockerfile")
}

target "ch03-web-ping-optimized" {
  context    = "ch03-web-ping"
  dockerfile = "optimized.Dockerfile"
  tags       = tag("ch03-web-ping:optimized")
  labels     = labels("ch03-web-ping:optimized", "ch03-web-ping", "multi-stage: the same program, only what it needs")
}

# --- chapter 4: a Java program, up the ladder ------------------------------------------------------
group "ch04" {
  targets = ["ch04-multistage-single-stage", "ch04-multistage", "ch04-multistage-optimized"]
}

target "ch04-multistage-single-stage" {
  context    = "ch04-multistage"
  dockerfile = "single-stage.Dockerfile"
  tags       = tag("ch04-multistage:single-stage")
  labels     = labels("ch04-multistage:single-stage", "ch04-multistage", "what people did before: JDK, Maven and sources in the final image")
}

target "ch04-multistage" {
  context = "ch04-multistage"
  tags    = tag("ch04-multistage")
  labels  = labels("ch04-multistage", "ch04-multistage", "two stages: build with Maven, run with a JRE")
}

target "ch04-multistage-optimized" {
  context    = "ch04-multistage"
  dockerfile = "optimized.Dockerfile"
  tags       = tag("ch04-multistage:optimized")
  labels     = labels("ch04-multistage:optimized", "ch04-multistage", "custom runtime, layered application, start-up archive")
}

# --- chapter 5: a cropper and a gallery, two images of one Dockerfile ----------------------------
group "ch05" {
  targets = [
    "ch05-python-crop-single-stage", "ch05-cropper", "ch05-server", "ch05-cropper-optimized",
    "ch05-server-optimized",
  ]
}

target "ch05-python-crop-single-stage" {
  context    = "ch05-python-crop"
  dockerfile = "single-stage.Dockerfile"
  tags       = tag("ch05-python-crop:single-stage")
  labels     = labels("ch05-python-crop:single-stage", "ch05-python-crop", "both programs in one naive image, for comparison")
}

# Both programs' unit tests: a stage to be run, not an image to be kept.
target "ch05-tests" {
  context = "ch05-python-crop"
  target  = "tests"
  output  = ["type=cacheonly"]
}

target "ch05-cropper" {
  context = "ch05-python-crop"
  target  = "cropper"
  tags    = tag("ch05-cropper")
  labels  = labels("ch05-cropper", "ch05-python-crop", "a target of one multi-stage Dockerfile: crops photos")
}

target "ch05-server" {
  context = "ch05-python-crop"
  target  = "server"
  tags    = tag("ch05-server")
  labels  = labels("ch05-server", "ch05-python-crop", "its other target: shows them")
}

target "ch05-cropper-optimized" {
  context    = "ch05-python-crop"
  dockerfile = "optimized.Dockerfile"
  target     = "cropper"
  tags       = tag("ch05-cropper:optimized")
  labels     = labels("ch05-cropper:optimized", "ch05-python-crop", "the cropper, only what it needs")
}

target "ch05-server-optimized" {
  context    = "ch05-python-crop"
  dockerfile = "optimized.Dockerfile"
  target     = "server"
  tags       = tag("ch05-server:optimized")
  labels     = labels("ch05-server:optimized", "ch05-python-crop", "the server, only what it needs")
}

# --- what only tests need -----------------------------------------------------------------------
group "tests" { targets = ["test-browser", "test-load", "test-nasa"] }

target "test-browser" {
  context = "tests/images/browser"
  tags    = tag("test-browser")
  labels  = labels("test-browser", "tests/images/browser", "a browser, for tests of web pages")
}

target "test-load" {
  context = "tests/images/load"
  tags    = tag("test-load")
  labels  = labels("test-load", "tests/images/load", "a load generator, for tests of servers")
}

target "test-nasa" {
  context = "tests/images/nasa"
  tags    = tag("test-nasa")
  labels  = labels("test-nasa", "tests/images/nasa", "NASA's picture service, with answers that tests script")
}

# --- stand-ins for the official base images (base-images/README.md) -----------------------------
# Not built by default: build-all.sh asks for the ones that are missing here and can't be pulled.
group "bases" { targets = ["base-debian", "base-python", "base-node", "base-jre", "base-maven"] }

# The folder that build-all.sh lets base-images/bootstrap.py write.
variable "BOOTSTRAP" { default = "base-images/bootstrap" }

function "stand_in" {
  params = [name]
  result = {
    "org.opencontainers.image.title"       = name
    "org.opencontainers.image.description" = "Stand-in for the official ${name}, built from Debian packages where Docker Hub can't be reached"
    "learn.multistage.stand-in"            = name
  }
}

target "base-debian" {
  context = BOOTSTRAP
  tags    = ["debian:trixie-slim"]
  labels  = stand_in("debian:trixie-slim")
}

# Stand-ins stand on the stand-in for Debian, also where an official debian:trixie-slim is at hand:
# it alone carries the host's certificate authorities.
target "_on-debian" {
  contexts = { "debian:trixie-slim" = "target:base-debian" }
}

target "base-python" {
  inherits = ["_on-debian"]
  context  = "base-images/python"
  tags     = ["python:3.13-slim"]
  labels   = stand_in("python:3.13-slim")
}

target "base-node" {
  context = "base-images/node"
  contexts = {
    "debian:trixie-slim" = "target:base-debian"
    "python:3.13-slim"   = "target:base-python"
  }
  tags   = ["node:24-slim"]
  labels = stand_in("node:24-slim")
}

target "base-jre" {
  context = "base-images/jre"
  contexts = {
    "debian:trixie-slim"           = "target:base-debian"
    "maven:3.9-eclipse-temurin-25" = "target:base-maven"
  }
  tags   = ["eclipse-temurin:25-jre"]
  labels = stand_in("eclipse-temurin:25-jre")
}

target "base-maven" {
  inherits = ["_on-debian"]
  context  = "base-images/maven"
  tags     = ["maven:3.9-eclipse-temurin-25"]
  labels   = stand_in("maven:3.9-eclipse-temurin-25")
}
