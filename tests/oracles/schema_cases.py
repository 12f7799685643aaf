"""Random JSON Schemas and values, judged by the package jsonschema (draft 2020-12).

python3 -m tests.oracles.schema_cases cases FOLDER   writes FOLDER/cases.jsonl: {schema, values: [{value, valid}]}
python3 -m tests.oracles.schema_cases judge FOLDER   reads FOLDER/outputs.jsonl, {schema, text} a line, and fails where
                                                     a text is not JSON that its schema accepts
"""
import json
import random
import sys
from pathlib import Path

import jsonschema

WORDS = ["a", "b", "id", "name", "größe", "a/b", 'q"q', "with space", "", "\n", "𝄞", "x" * 20]
PATTERNS = ["^[a-z]+$", "^\\d{2,4}$", "^(foo|bar)-[0-9]$", "^[A-F0-9]{4}$", "^a.c$", "^\\w+@\\w+\\.com$"]


def random_schema(rng, depth):
    """A schema of the keywords that src/grammar/schema.h calls enforced or checked."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const"]
    if depth > 0:
        kinds += ["object", "object", "array", "array", "anyOf", "oneOf", "allOf", "types", "ref"]
    kind = rng.choice(kinds)
    if kind == "string":
        schema = {"type": "string"}
        if rng.random() < 0.3:
            schema["pattern"] = rng.choice(PATTERNS)
        elif rng.random() < 0.5:
            low = rng.randrange(4)
            schema["minLength"] = low
            if rng.random() < 0.7:
                schema["maxLength"] = low + rng.randrange(8)
        return schema
    if kind in ("integer", "number"):
        schema = {"type": kind}
        low = rng.randrange(-30, 30)
        if rng.random() < 0.4:
            schema[rng.choice(["minimum", "exclusiveMinimum"])] = low
        if rng.random() < 0.4:
            schema[rng.choice(["maximum", "exclusiveMaximum"])] = low + rng.randrange(3, 200)
        if kind == "integer" and rng.random() < 0.2:
            schema["multipleOf"] = rng.choice([2, 3, 5])
        return schema
    if kind in ("boolean", "null"):
        return {"type": kind}
    if kind == "enum":
        return {"enum": [random_value(rng, 1) for _ in range(rng.randrange(1, 5))]}
    if kind == "const":
        return {"const": random_value(rng, 1)}
    if kind == "types":
        return {"type": rng.sample(["string", "integer", "null", "boolean"], 2)}
    if kind == "ref":
        return {"$ref": rng.choice(["#/$defs/leaf", "#/$defs/a~1b", "#/$defs/list"])}
    if kind in ("anyOf", "oneOf"):
        return {kind: [random_schema(rng, depth - 1) for _ in range(rng.randrange(1, 4))]}
    if kind == "allOf":
        first = random_object(rng, depth)
        second = {"properties": {w: random_schema(rng, 0) for w in rng.sample(WORDS, 1)}, "minProperties": 1}
        return {"allOf": [first, second]}
    if kind == "array":
        schema = {"type": "array"}
        if rng.random() < 0.7:
            schema["items"] = random_schema(rng, depth - 1)
        if rng.random() < 0.3:
            schema["prefixItems"] = [random_schema(rng, depth - 1) for _ in range(rng.randrange(1, 3))]
        if rng.random() < 0.5:
            schema["minItems"] = rng.randrange(3)
        if rng.random() < 0.5:
            schema["maxItems"] = schema.get("minItems", 0) + rng.randrange(4)
        if rng.random() < 0.1:
            schema["uniqueItems"] = True
        return schema
    return random_object(rng, depth)


def random_object(rng, depth):
    names = rng.sample(WORDS, rng.randrange(0, 4))
    schema = {"type": "object", "properties": {name: random_schema(rng, depth - 1) for name in names}}
    required = [name for name in names if rng.random() < 0.5]
    if required:
        schema["required"] = required
    choice = rng.random()
    if choice < 0.3:
        schema["additionalProperties"] = False
    elif choice < 0.5:
        schema["additionalProperties"] = random_schema(rng, 0)
    if rng.random() < 0.1:
        schema["maxProperties"] = len(names)
    if rng.random() < 0.1:
        schema["propertyNames"] = {"maxLength": 20}
    if rng.random() < 0.1:
        schema["patternProperties"] = {"^p[0-9]$": random_schema(rng, 0)}
    return schema


def random_value(rng, depth):
    kinds = ["string", "integer", "number", "boolean", "null"]
    if depth > 0:
        kinds += ["object", "array"]
    kind = rng.choice(kinds)
    if kind == "string":
        return rng.choice(WORDS + ["foo-1", "12", "abc", "BEEF", "me@there.com"])
    if kind == "integer":
        return rng.randrange(-40, 240)
    if kind == "number":
        return rng.choice([0.5, -3.25, 1.0, 1e3, 17.0, -0.125])
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    if kind == "array":
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(WORDS + ["p1"]): random_value(rng, depth - 1) for _ in range(rng.randrange(4))}


def fitting(rng, schema, root, depth=0):
    """A value that is likely to fit: the verdict is the package's in any case."""
    if depth > 8 or not isinstance(schema, dict):
        return random_value(rng, 1)
    if "$ref" in schema:
        return fitting(rng, root["$defs"][schema["$ref"].rsplit("/", 1)[1].replace("~1", "/")], root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return fitting(rng, rng.choice(schema[keyword]), root, depth + 1)
    if "allOf" in schema:
        value = {}
        for part in schema["allOf"]:
            value.update(fitting(rng, {"type": "object", **part}, root, depth + 1))
        return value
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = rng.choice(kind)
    if kind == "object":
        value = {}
        for name, inner in schema.get("properties", {}).items():
            if name in schema.get("required", []) or rng.random() < 0.6:
                value[name] = fitting(rng, inner, root, depth + 1)
        extra = schema.get("additionalProperties", True)
        if extra is not False and rng.random() < 0.3:
            value["extra"] = random_value(rng, 0) if extra is True else fitting(rng, extra, root, depth + 1)
        return value
    if kind == "array":
        prefix = schema.get("prefixItems", [])
        low = schema.get("minItems", 0)
        count = rng.randrange(low, schema.get("maxItems", low + 3) + 1)
        inner = schema.get("items", {} if not prefix else False)
        if inner is False:
            count = min(count, len(prefix))
        return [fitting(rng, prefix[i] if i < len(prefix) else inner, root, depth + 1) for i in range(count)]
    if kind == "integer":
        step = schema.get("multipleOf", 1)
        low = schema.get("minimum", schema.get("exclusiveMinimum", -41) + 1)
        return (low // step + rng.randrange(1, 6)) * step
    if kind == "number":
        return schema.get("minimum", schema.get("exclusiveMinimum", 0)) + rng.choice([0.5, 1, 2.25])
    if kind == "string":
        if "pattern" in schema:
            return {"^[a-z]+$": "abc", "^\\d{2,4}$": "123", "^(foo|bar)-[0-9]$": "bar-7", "^[A-F0-9]{4}$": "BEEF",
                    "^a.c$": "aöc", "^\\w+@\\w+\\.com$": "me@there.com"}[schema["pattern"]]
        low = schema.get("minLength", 0)
        return "".join(rng.choice("ab\"\\/\n\té𝄞 ") for _ in range(rng.randrange(low, schema.get("maxLength", low + 5) + 1)))
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    return random_value(rng, 1)


def random_root(rng):
    root = random_schema(rng, 3)
    root["$defs"] = {
        "leaf": random_schema(rng, 0),
        "a/b": random_object(rng, 1),
        "list": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "maxItems": 3},
    }
    return root


def write_cases(folder, count=400, seed=20):
    rng = random.Random(seed)
    with open(folder / "cases.jsonl", "w") as out:
        for _ in range(count):
            schema = random_root(rng)
            validator = jsonschema.Draft202012Validator(schema)
            values = [random_value(rng, 2) for _ in range(6)]
            values += [fitting(rng, schema, schema) for _ in range(10)]
            judged = [{"value": value, "valid": validator.is_valid(value)} for value in values]
            print(json.dumps({"schema": schema, "values": judged}), file=out)


def judge(folder):
    count = 0
    for line in open(folder / "outputs.jsonl"):
        case = json.loads(line)
        value = json.loads(case["text"])
        jsonschema.Draft202012Validator(case["schema"]).validate(value)
        count += 1
    print(count, "outputs fit")


if __name__ == "__main__":
    {"cases": write_cases, "judge": judge}[sys.argv[1]](Path(sys.argv[2]))
