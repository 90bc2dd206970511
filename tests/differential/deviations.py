"""Where Envoy's transcoder is not as the specification is, or where that leaves it open: by what differs, and by what is odd about a request.

Everything else has to be the same on both, for the service and for the client.
"""

JSON = "https://protobuf.dev/programming-guides/json: "
HTTP = "google/api/http.proto: "
RFC = "RFC 8259, "

EXPONENT = JSON + '"Exponent notation (such as 1e2) is accepted in both quoted and unquoted forms"'
FRACTION = JSON + '"Zero fractional portions are accepted. For example 1.0 is valid for an int32 field"'
PLUS = RFC + "section 6: a number has no plus"
BOOLEAN = JSON + '"bool: true, false"; a text is neither'
LEAP_SECOND = 'timestamp.proto: "all minutes are 60 seconds long", so that a leap second has no value'
UNKNOWN = JSON + '"The protobuf JSON parser should reject unknown fields by default"; Envoy passes over them in a body, and has no setting for it'
TWICE = JSON + '"a range of behaviors is considered permissible": Envoy takes the last one, which the page prefers, and the edge refuses what readers differ on'

# What differs. Who takes a request calls the service, and the client gets an answer.
ENVOY_REFUSES, ENVOY_TAKES = "only the edge takes it", "only Envoy takes it"
ANSWERS_DIFFER = "the clients get different answers"

DEVIATIONS = {
    ENVOY_REFUSES: {
        'integer "1e3"': EXPONENT,
        'unsigned "1e3"': EXPONENT,
        "integer 1e3 in a query": EXPONENT,
        "unsigned 1e3 in a query": EXPONENT,
        'integer "1.0"': FRACTION,
        "integer 1.0 in a query": FRACTION,
        "unsigned 1.0 in a query": FRACTION,
        "enum 77 in a query": JSON + '"Parsers accept both enum names and integer values"; numbers without a name are values of an open enum, and Envoy takes them in a body',
    },
    ENVOY_TAKES: {
        # Values.
        'integer "+1"': PLUS,
        "integer +1 in a query": PLUS,
        'bool "true"': BOOLEAN,
        'bool "yes"': BOOLEAN,
        "bool yes in a query": BOOLEAN + "; in a query http.proto leaves the spelling open, and the edge has those of Go",
        'enum "2"': JSON + '"Parsers accept both enum names and integer values"; a text is no integer in a body',
        'Timestamp "2016-12-31T23:59:60Z"': LEAP_SECOND,
        "Timestamp 2016-12-31T23:59:60Z in a query": LEAP_SECOND,
        'FieldMask "a_b"': 'field_mask.proto: "converted to/from lower-camel naming conventions"; in a query both take the names of the contract',
        "ListValue {}": JSON + '"ListValue: array"',
        # Names.
        'Empty {"a":1}': UNKNOWN,
        "an unknown name": UNKNOWN,
        "a name twice": TWICE,
        "both names": TWICE,
        # Paths and queries.
        "a parameter twice": HTTP + '"In the case of a repeated type, the parameter can be repeated in the URL": of others it cannot',
        "a broken escape": "RFC 3986, section 2.1: an escape has two hexadecimal digits",
        "a field of the path or the body as a parameter": HTTP + '"All other fields are passed via the URL query parameters": other than those of the path and the body',
    },
    ANSWERS_DIFFER: {
        'Any {"@type":"type.googleapis.com/google.protobuf.Empty"}': JSON + '"Empty is not considered to have any special JSON mapping": the edge gives it a value that it should not have',
    },
}
