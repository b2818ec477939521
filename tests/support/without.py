"""Generated parts: what fails when a line of a Dockerfile is missing (tests/mutants.json), and the list of mistakes."""
import re

from . import ROOT, generated, mistakes, mutants


@generated.part("without")
def without(folder, argument):
    """A table of a Dockerfile's lines, each with what its deletion breaks."""
    stored, rows, stage = mutants.results(), [], None
    found = mutants.mutants(str((folder / argument).relative_to(ROOT)))
    several = len({m.stage for m in found}) > 1
    for mutant in found:
        if mutant.rule == "delete":
            if several and mutant.stage != stage:
                stage = mutant.stage
                rows.append(f"| | **stage {stage}** | |")
            rows.append(f"| {mutant.line} | {code(mutant.change)} | {words(stored.get(mutant.key))} |")
    return "\n".join(["| line | instruction | without it |", "|---|---|---|", *rows])


def code(text):
    """Return text as code in a table's cell."""
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"


def words(result):
    """Return in a learner's words what happened to a mutant."""
    if result is None:
        return "not tried yet"
    if result["outcome"] == "equivalent":
        return "The image is the same. " + result["said"]
    if result["outcome"] == "survived":
        return "no test minds"
    if result["by"] == "the build":
        return "The build fails: " + code(result["said"])
    name = re.sub(r"\[.*", "", result["by"].rpartition("::")[2]).removeprefix("test_").replace("_s_", "'s ").replace("_", " ")
    # What Python says of its own accord, such as KeyError, tells a learner nothing.
    said = "" if re.match(r"\w+Error\b", result["said"]) else result["said"]
    return f"The test “{name}” fails" + (f": {said}" if said else ".")


@generated.part("mistakes")
def gallery(folder, argument):
    """A table of the gallery: each mistake with its symptom."""
    rows = [f"| [{name}]({name}/{mistakes.subject(name)}) | {story['Mistake']} | {' '.join(story['Symptom'].split())} |"
            for name in mistakes.names() for story in [mistakes.story(name)]]
    return "\n".join([f"| folder ({len(rows)}) | mistake | what you see |", "|---|---|---|", *rows])
