#!/usr/bin/env python3
"""Looks whether definitions fit the published schema.

    fit-schema.py definitions <LINES   each line a definition that the engine accepts: it fits
    fit-schema.py misspelt <LINES      the same, each object that holds keys of the language with one more: none fits
    fit-schema.py keys <LINES          each line {"place": …, "keys": […]}: the schema has the same keys there

Ends with 1 after saying what does not.
"""
import json
import sys
from pathlib import Path

import jsonschema

SCHEMA = json.loads((Path(__file__).parent.parent / "Sources/Millrace/Resources/definition.schema.json").read_text())


def places(node):
    """The objects of the schema by the place that the engine has for them."""
    if isinstance(node, dict):
        comment = node.get("$comment", "")
        if isinstance(comment, str) and comment.startswith("keys: "):
            yield comment.removeprefix("keys: "), node
        for value in node.values():
            yield from places(value)


def name(definition):
    return definition.get("workflow") if isinstance(definition, dict) else definition


def misfits(validator, definition):
    return [f"{name(definition)}: {error.json_path}: {error.message[:300]}" for error in validator.iter_errors(definition)]


def misspelt(definition):
    """The definition once for each of its objects that holds keys of the language, with a key that is none."""
    for path in [[], ["defaults"], ["defaults", "retry"], ["steps", 0], ["steps", 0, "retry"]]:
        copy = json.loads(json.dumps(definition))
        node = copy
        for part in path:
            node = node[part] if isinstance(node, list) else node.get(part)
            if node is None:
                break
        if isinstance(node, dict):
            node["misspelt"] = 1
            yield ".".join(map(str, path)), copy


def main():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    lines = [json.loads(line) for line in sys.stdin if line.strip()]
    problems = [] if lines else ["nothing was given"]
    if sys.argv[1:] == ["definitions"]:
        for definition in lines:
            problems += misfits(validator, definition)
    elif sys.argv[1:] == ["misspelt"]:
        for definition in lines:
            problems += [
                f"{name(definition)}: fits with an unknown key in {path or 'the whole'}"
                for path, copy in misspelt(definition)
                if not misfits(validator, copy)
            ]
    elif sys.argv[1:] == ["keys"]:
        of_schema = {place: set(node.get("properties", {})) for place, node in places(SCHEMA)}
        for line in lines:
            known, listed = set(line["keys"]), of_schema.get(line["place"])
            if listed is None:
                problems.append(f"{line['place']}: the schema has no such place")
            elif known - listed:
                problems.append(f"{line['place']}: not in the schema: {', '.join(sorted(known - listed))}")
    else:
        sys.exit(__doc__)
    for problem in problems[:50]:
        print(problem)
    sys.exit(1 if problems else 0)


main()
