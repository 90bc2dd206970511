"""Says which message a path and a query make: by the comments of google/api/http.proto, and with protobuf for Python for values.

usage: bindings.py SET MESSAGE < cases > answers
A case is {"template": TEXT, "path": TEXT, "query": TEXT}, its answer {"wire": HEX}, or {"refused": WHY}.

It shares nothing with the edge: templates are read here too.
"""

import json
import re
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor

WELL_KNOWN = "google.protobuf."
WRAPPERS = {
    WELL_KNOWN + kind + "Value"
    for kind in ["Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes"]
}
# Messages whose JSON is a text.
TEXTS = {WELL_KNOWN + name for name in ["Timestamp", "Duration", "FieldMask"]}


class Refused(Exception):
    pass


def decoded(text, kept=b"", plus=False):
    """Percent-decoding (RFC 3986, section 2.1), but for the bytes that are `kept`; `plus` for a query, in which it is a space."""
    raw, out, at = text.encode(), bytearray(), 0
    while at < len(raw):
        byte = raw[at : at + 1]
        if byte == b"%":
            escape = raw[at : at + 3]
            if not re.fullmatch(rb"%[0-9A-Fa-f]{2}", escape):
                raise Refused("an escape is broken")
            byte = bytes.fromhex(escape[1:].decode())
            out += escape if byte in kept else byte
            at += 3
        else:
            out += b" " if plus and byte == b"+" else byte
            at += 1
    try:
        return out.decode()
    except UnicodeDecodeError:
        raise Refused("no UTF-8")


def parsed(template):
    """The segments of a template, its variables as (names, begin, end, whether several segments), and its verb."""
    body, verb = re.fullmatch(r"(.*?)(?::(\w+))?", template).groups()
    segments, variables = [], []
    for part in re.findall(r"\{[^}]*\}|[^/{}]+", body):
        if part.startswith("{"):
            names, _, inner = part[1:-1].partition("=")
            inner = (inner or "*").split("/")
            several = len(inner) > 1 or inner[-1] == "**"
            variables.append((names.split("."), len(segments), len(segments) + len(inner), several))
            segments += inner
        else:
            segments.append(part)
    return segments, variables, verb


def captured(template, path):
    """What the variables of a template are in a path."""
    segments, variables, verb = parsed(template)
    path = path[1:]
    if verb is not None:
        path, colon, tail = path.rpartition(":")
        if not colon or "/" in tail or decoded(tail) != verb:
            raise Refused("another verb")
    given = path.split("/")
    # "The syntax `**` matches zero or more URL path segments, which must be the last part of the URL path except the `Verb`."
    is_open = segments[-1] == "**"
    fixed = segments[:-1] if is_open else segments
    if len(given) < len(fixed) or (len(given) > len(fixed) and not is_open):
        raise Refused("more or fewer segments")
    for segment, text in zip(fixed, given):
        # "The syntax `*` matches a single URL path segment."
        if segment == "*":
            if not text:
                raise Refused("no segment")
        # "The syntax `LITERAL` matches literal text in the URL path."
        elif decoded(text) != segment:
            raise Refused("another segment")
    values = []
    for names, begin, end, several in variables:
        text = "/".join(given[begin : len(given) if is_open and end == len(segments) else end])
        # "When such a variable is expanded into a URL path … multiple path segments … The server side does the reverse decoding, except
        # "%2F" and "%2f" are left unchanged."
        values.append((names, decoded(text, kept=b"/" if several else b"")))
    return values


def boolean(text):
    """As grpc-gateway has it (https://pkg.go.dev/strconv#ParseBool): http.proto says nothing of how values are spelled."""
    if text in ["1", "t", "T", "TRUE", "true", "True"]:
        return True
    if text in ["0", "f", "F", "FALSE", "false", "False"]:
        return False
    raise Refused("no boolean")


def camel(path):
    return re.sub("_([a-z])", lambda found: found[1].upper(), path)


def value(field, text):
    """A text as ProtoJSON has such a value."""
    if field.message_type is not None:
        name = field.message_type.full_name
        if name in WRAPPERS:
            return value(field.message_type.fields_by_number[1], text)
        if name == WELL_KNOWN + "FieldMask":
            # Google's clients send the names of the contract.
            return ",".join(camel(path) for path in text.split(","))
        return text
    if field.type == FieldDescriptor.TYPE_BOOL:
        return boolean(text)
    if field.type == FieldDescriptor.TYPE_ENUM and re.fullmatch("-?[0-9]+", text):
        return int(text)
    return text


def named(message, name):
    """A field by its name in JSON or in the contract."""
    for field in message.fields:
        if name == field.json_name:
            return field
    if name not in message.fields_by_name:
        raise Refused("no such field")
    return message.fields_by_name[name]


def put(tree, message, names, text):
    *parents, last = names
    for name in parents:
        field = named(message, name)
        # "In the case of a message type, each field of the message is mapped to a separate parameter, such as `...?foo.a=A&foo.b=B&foo.c=C`."
        if field.message_type is None or field.is_repeated or field.message_type.full_name.startswith(WELL_KNOWN):
            raise Refused("has no parameters of its own")
        tree = tree.setdefault(field.json_name, {})
        message = field.message_type
    field = named(message, last)
    # "Fields which are mapped to URL query parameters must have a primitive type or a repeated primitive type or a non-repeated message type."
    if field.message_type is not None and (
        field.is_repeated or field.message_type.full_name not in WRAPPERS | TEXTS
    ):
        raise Refused("no primitive type")
    # "In the case of a repeated type, the parameter can be repeated in the URL as `...?param=A&param=B`."
    if field.is_repeated:
        tree.setdefault(field.json_name, []).append(value(field, text))
    elif field.json_name in tree:
        raise Refused("given twice")
    else:
        tree[field.json_name] = value(field, text)


def message(case, kind, make, pool):
    tree = {}
    for names, text in captured(case["template"], case["path"]):
        put(tree, kind, names, text)
    # application/x-www-form-urlencoded (https://url.spec.whatwg.org/#urlencoded-parsing).
    for pair in case["query"].split("&"):
        if pair:
            name, _, text = pair.partition("=")
            put(tree, kind, decoded(name, plus=True).split("."), decoded(text, plus=True))
    return json_format.ParseDict(tree, make(), descriptor_pool=pool)


def main():
    file, name = sys.argv[1:]
    pool = descriptor_pool.DescriptorPool()
    with open(file, "rb") as encoded:
        for described in descriptor_pb2.FileDescriptorSet.FromString(encoded.read()).file:
            pool.Add(described)
    kind = pool.FindMessageTypeByName(name)
    make = message_factory.GetMessageClass(kind)
    for line in sys.stdin:
        try:
            wire = message(json.loads(line), kind, make, pool).SerializeToString(deterministic=True)
            print(json.dumps({"wire": wire.hex()}))
        except (Refused, json_format.ParseError, ValueError) as error:
            print(json.dumps({"refused": str(error)}))


main()
