"""Requests for the service of transcode/tests/proto/bindings.proto: right ones in unusual spellings, and some that are wrong."""

import dataclasses
import random
import urllib.parse

from google.protobuf.descriptor import FieldDescriptor as Field

INTEGERS = {Field.TYPE_INT32, Field.TYPE_SINT32, Field.TYPE_SFIXED32, Field.TYPE_INT64, Field.TYPE_SINT64, Field.TYPE_SFIXED64}
UNSIGNED = {Field.TYPE_UINT32, Field.TYPE_FIXED32, Field.TYPE_UINT64, Field.TYPE_FIXED64}

# What everybody reads alike, and what is spelled in another way or wrong, as JSON has it. Each odd one is a tag of its request.
PLAIN = {
    "integer": ["1", "-7", "2147483647", '"5"'],
    "unsigned": ["1", "7", "4294967295", '"5"'],
    "number": ["1.5", "-2", "1e3", '"NaN"', '"Infinity"', "0.1"],
    "bool": ["true", "false"],
    "string": ['"a"', '"é 😀"', '""', '"a/b?c=d&e+f%20"'],
    "bytes": ['"AQI="', '"AAAA"', '""'],
    "enum": ['"RED"', '"GREEN"', "2"],
    "NullValue": ["null"],
    "Timestamp": ['"2024-02-29T12:00:00Z"', '"1969-12-31T23:59:59.999999999Z"', '"9999-12-31T23:59:59Z"'],
    "Duration": ['"1.5s"', '"-3s"', '"0s"'],
    "FieldMask": ['"a,bC"', '"a"'],
    "Struct": ["{}", '{"a":1,"b":[null,{"c":"d"}]}'],
    "Value": ["1.5", '"x"', "[1,true]", '{"a":null}'],
    "ListValue": ["[]", '[1,"a",null]'],
    "Any": ['{"@type":"type.googleapis.com/every.v1.Every","aString":"x"}', '{"@type":"type.googleapis.com/google.protobuf.Duration","value":"2s"}'],
    "Empty": ["{}"],
}
ODD = {
    "integer": ["1.0", "1e3", '"1e3"', '"1.0"', "1.5", '"x"', '"+1"', '" 1"', "true", "99999999999999999999"],
    "unsigned": ["1.0", "1e3", "-1", '"1e3"', "1.5", "99999999999999999999"],
    "number": ['"1.5"', '"inf"', '"nan"', "-0.0", "1e400", "true", '"1e400"'],
    "bool": ['"true"', "1", '"yes"'],
    "string": ["1", "true", '"\\u0000"'],
    "bytes": ['"_-8"', '"AQI"', '"*"', '"A"'],
    "enum": ["77", '"red"', "1.0", '"2"', '"NOPE"'],
    "NullValue": ['"NULL_VALUE"', "0"],
    "Timestamp": ['"2024-02-29T12:00:00.5+01:00"', '"2023-02-29T00:00:00Z"', '"2016-12-31T23:59:60Z"', '"2024-01-01T00:00:00.1234567891Z"', '""'],
    "Duration": ['"1"', '"315576000001s"', '"1.1234567891s"', "1"],
    "FieldMask": ['"a_b"', '""', "1"],
    "Struct": ["[]", "1"],
    "Value": ["null", "-0.0"],
    "ListValue": ["{}", "null"],
    "Any": ["{}", '{"@type":"type.googleapis.com/nope"}', '{"@type":"type.googleapis.com/google.protobuf.Empty"}'],
    "Empty": ['{"a":1}'],
}
# What a query and a path can have, of those.
TEXTS = ["integer", "unsigned", "number", "bool", "string", "bytes", "enum", "Timestamp", "Duration", "FieldMask"]


@dataclasses.dataclass
class Request:
    method: str
    target: str
    body: bytes | None = None
    # What is odd about it.
    tags: set = dataclasses.field(default_factory=set)


def kind(field):
    """What a field takes, and whether that is wrapped."""
    if field.type in INTEGERS:
        return "integer"
    if field.type in UNSIGNED:
        return "unsigned"
    if field.message_type is not None:
        name = field.message_type.name
        wrapped = field.message_type.fields_by_number.get(1)
        if field.message_type.full_name == "google.protobuf." + name and name.endswith("Value") and name not in ["Value", "ListValue"]:
            return kind(wrapped)
        return name
    if field.type == Field.TYPE_ENUM:
        return field.enum_type.name if field.enum_type.name == "NullValue" else "enum"
    names = {Field.TYPE_DOUBLE: "number", Field.TYPE_FLOAT: "number", Field.TYPE_BOOL: "bool", Field.TYPE_STRING: "string", Field.TYPE_BYTES: "bytes"}
    return names[field.type]


class Generator:
    def __init__(self, every, seed):
        self.fields = [field for field in every.fields]
        self.random = random.Random(seed)

    def value(self, field, tags, depth):
        of = kind(field)
        if of == "Every":
            return self.message(tags, depth - 1)
        if self.random.random() < 0.06:
            odd = self.random.choice(ODD[of])
            tags.add(f"{of} {odd}")
            return odd
        return self.random.choice(PLAIN[of])

    def member(self, field, tags, depth):
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key = {"bool": '"true"', "string": '"k"'}.get(kind(field.message_type.fields_by_name["key"]), '"7"')
            return f'{{{key}:{self.value(field.message_type.fields_by_name["value"], tags, depth)}}}'
        if field.is_repeated:
            if kind(field) == "NullValue":
                tags.add("null in a list")
            return "[" + ",".join(self.value(field, tags, depth) for _ in range(self.random.randrange(3))) + "]"
        return self.value(field, tags, depth)

    def message(self, tags, depth=2):
        if depth <= 0:
            return "{}"
        members, choices = [], 0
        for field in self.random.sample(self.fields, self.random.randrange(1, 5)):
            if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1:
                choices += 1
            name = self.random.choice([field.json_name, field.name]).replace('"', '\\"')
            members.append(f'"{name}":{self.member(field, tags, depth)}')
        if choices > 1:
            tags.add("two fields of a oneof")
        for tag, more in [("an unknown name", '"nope":1'), ("a name twice", '"aString":"x","aString":"y"'), ("both names", '"aBool":true,"a_bool":true')]:
            if self.random.random() < 0.01:
                tags.add(tag)
                members.append(more)
        return "{" + ",".join(members) + "}"

    def text(self, field, tags):
        """A value as a query has it."""
        odd = set()
        value = self.value(field, odd, 0)
        text = value[1:-1].replace("\\u0000", "\0") if value.startswith('"') else value
        if odd:
            tags.add(f"{kind(field)} {text} in a query")
        return text

    def query(self, tags, bound=()):
        """Parameters, of which the path or the body may have bound some."""
        fields = [field for field in self.fields if kind(field) in TEXTS and not (field.is_repeated and field.message_type is not None)]
        pairs, names = [], []
        for field in self.random.sample(fields, self.random.randrange(4)):
            before = self.random.choice(["", "", "", "inner.", "inner.inner."])
            name = before + self.random.choice([field.json_name, field.name])
            names.append(before + field.name)
            for _ in range(self.random.randrange(1, 3) if field.is_repeated else 1):
                pairs.append(urllib.parse.quote(name, safe=".") + "=" + urllib.parse.quote(self.text(field, tags), safe=""))
        for tag, more in [("an unknown parameter", "nope=1"), ("a parameter twice", "aString=x&aString=y"), ("a broken escape", "aString=%zz"), ("a message as a parameter", "object=1")]:
            if self.random.random() < 0.01:
                tags.add(tag)
                names.append("a_string" if "aString" in more else "")
                pairs.append(more)
        if names.count("a_string") > 1:
            tags.add("a parameter twice")
        if any(name == taken or name.startswith(taken + ".") for name in names for taken in bound):
            tags.add("a field of the path or the body as a parameter")
        return "&".join(pairs)

    def segment(self):
        text = self.random.choice(["a", "b-c", "é", "x y", "1.5", "a:b", "a/b", "p+q", "a%b"])
        return urllib.parse.quote(text, safe=self.random.choice(["", ":+"]))

    def request(self):
        tags, choice, segment = set(), self.random.random, self.segment
        if choice() < 0.5:
            method, path = self.random.choice([("POST", "/v1/every"), ("PUT", f"/v1/strings/{segment()}")])
            query = self.query(tags, ["a_string", "inner"]) if method == "PUT" and choice() < 0.3 else ""
            return Request(method, path + ("?" + query if query else ""), self.message(tags).encode(), tags)
        paths = [
            (["/v1/every"], []),
            (["/v1/strings/", segment()], ["a_string"]),
            (["/v1/shelves/", segment(), "/books/", segment()], ["a_string"]),
            (["/v1/shelves/", segment(), ":check"], ["a_string"]),
            (["/v1/files/", segment(), "/", segment(), ":read"], ["a_string"]),
            (["/v1/under/", segment()], ["inner.a_string"]),
            (["/v1/numbers/", str(self.random.randrange(10)), "/", str(self.random.randrange(10))], ["an_int64", "inner.a_uint32"]),
            (["/v1/a/", segment(), "/b/", segment(), "/c/x"], ["inner.a_string", "maybe_string"]),
        ]
        path, bound = self.random.choice(paths)
        query = self.query(tags, bound)
        return Request("GET", "".join(path) + ("?" + query if query else ""), None, tags)
