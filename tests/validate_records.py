#!/usr/bin/env python3
"""Holds records against schema/, with a validator that is none of ours (python3-jsonschema).

usage: validate_records.py [--every-type] FILE|FOLDER...

Each line must be valid, and must have no field that its schema does not name: others may add fields, our programs may not without
saying so. --every-type: a type of which no record was seen is an error, too. Ends with 1 if something is wrong.
"""

import copy
import datetime
import json
import multiprocessing
import pathlib
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker

try:
    from referencing import Registry, Resource
except ImportError:  # jsonschema before 4.18
    from jsonschema import RefResolver

    Registry = None

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "schema"
SCHEMAS = {file.stem: json.loads(file.read_text()) for file in FOLDER.glob("*.json")}
TYPES = sorted(SCHEMAS.keys() - {"record"})
SHOWN = 5


def is_time(value):
    """RFC 3339 in UTC, with a Z."""
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", value):
        return False
    datetime.datetime.fromisoformat(value[:19])
    return True


# Of the formats this one alone is used, and what it accepts by itself depends on what else is installed.
FORMATS = FormatChecker(formats=())
FORMATS.checkers["date-time"] = (is_time, ValueError)


def closed(schema):
    """The schema with no room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema and schema.get("type") == "object":
        schema["additionalProperties"] = False
    return schema


def validator(schema):
    files = {f"{name}.json": text for name, text in SCHEMAS.items()}
    if Registry is None:
        return Draft202012Validator(schema, format_checker=FORMATS, resolver=RefResolver("", schema, store=files))
    registry = Registry().with_resources((name, Resource.from_contents(text)) for name, text in files.items())
    return Draft202012Validator(schema, format_checker=FORMATS, registry=registry)


OPEN = {name: validator(schema) for name, schema in SCHEMAS.items()}
CLOSED = {name: validator(closed(SCHEMAS[name])) for name in TYPES}


def what_is_wrong(line):
    """The type of a line, and what is wrong with it, if anything."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return None, str(error)
    kind = record.get("type")
    if kind not in CLOSED:
        return kind, None
    # Most are valid, and that is soon known; why one is not may take its time.
    if CLOSED[kind].is_valid(record):
        return kind, None
    return kind, "; ".join(f"{error.json_path}: {error.message}" for error in CLOSED[kind].iter_errors(record))


def controls(record):
    """Breaks a good record in every way that must be noticed, and in those that must not."""
    kind = record["type"]
    schema, wrong = SCHEMAS[kind], []

    def expect(valid, change, why, which=OPEN[kind]):
        changed = copy.deepcopy(record)
        change(changed)
        if which.is_valid(changed) != valid:
            wrong.append(f"{kind}: {why} is {'refused' if valid else 'taken'}")

    expect(True, lambda r: None, "it as it is")
    expect(True, lambda r: None, "it as any record", OPEN["record"])
    expect(True, lambda r: r.update(weather="fine"), "a field of somebody else")
    expect(False, lambda r: r.update(weather="fine"), "a field of our own that nobody has described", CLOSED[kind])
    expect(False, lambda r: r.update(time="yesterday"), "a time that is none")
    expect(False, lambda r: r.update(time="2026-03-01T10:00:00+01:00"), "a time that is not UTC")
    expect(False, lambda r: r.update(time="yesterday"), "a time that is none, in any record,", OPEN["record"])
    for name in schema["required"]:
        expect(False, lambda r: r.pop(name), f"it without {name}")
        expect(False, lambda r: r.update({name: {}}), f"it with an object as {name}")
    for name, field in schema["properties"].items():
        if name in record and "type" in field and name not in ("type", "time"):
            other = "x" if isinstance(record[name], (bool, int, float, list, dict)) or record[name] is None and "string" not in field["type"] else 1
            expect(False, lambda r: r.update({name: other}), f"it with {other!r} as {name}")
            if "enum" in field:
                expect(False, lambda r: r.update({name: "sideways"}), f"a word of our own as {name}")
            if "maximum" in field:
                expect(False, lambda r: r.update({name: field["maximum"] + 1}), f"{name} above {field['maximum']}")
            if "minimum" in field:
                expect(False, lambda r: r.update({name: -1}), f"{name} below 0")
    return wrong


def main(words):
    every = "--every-type" in words
    paths = [pathlib.Path(word) for word in words if word != "--every-type"]
    if not paths or any(not path.exists() for path in paths):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)

    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.glob("*.ndjson")))]
    lines = [line for file in files for line in file.read_text().splitlines()]
    # The same bytes are valid or not however often they stand there.
    distinct = sorted(set(lines))
    with multiprocessing.Pool() as pool:
        answers = dict(zip(distinct, pool.map(what_is_wrong, distinct, chunksize=200)))

    seen, first, faults = dict.fromkeys(TYPES, 0), {}, []
    for line in lines:
        kind, wrong = answers[line]
        if wrong:
            faults.append(f"{kind}: {wrong}\n  {line[:500]}")
        elif kind in seen:
            seen[kind] += 1
            # The one with the most fields is worth the most as a control.
            if line.count('":') > first.get(kind, "").count('":'):
                first[kind] = line
    faults += [wrong for line in first.values() for wrong in controls(json.loads(line))]
    if not OPEN["record"].is_valid({"type": "weather", "time": "2026-03-01T10:00:00Z"}) or OPEN["record"].is_valid({"type": "weather"}):
        faults.append("a record of a type that is not known needs a time, and nothing else")
    if every:
        faults += [f"{kind}: no record of this type was seen" for kind in TYPES if not seen[kind]]

    for kind in TYPES:
        print(f"{seen[kind]:8}  {kind}")
    print(f"{sum(seen.values())} records, {len(distinct)} of them distinct, in {len(files)} files; {len(faults)} faults")
    for fault in faults[:SHOWN]:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
