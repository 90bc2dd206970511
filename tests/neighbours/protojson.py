"""For schemathesis: what it sends, without what says nothing about the document.

ProtoJSON takes more than schemas say, null for a member that is absent and the number of an enum for its name: a schema that said so would make
generated clients of members that may be null, and of enums that are text. And whether a call is over in a tenth of a second is a matter of the machine.
"""

import re

import schemathesis

TIMEOUT = "X-Request-Timeout"


def has_null(value):
    if isinstance(value, dict):
        return any(member is None or has_null(member) for member in value.values())
    return isinstance(value, list) and any(map(has_null, value))


@schemathesis.hook
def filter_case(context, case):
    status = (case.query or {}).get("status")
    return not has_null(case.body) and not str(status).lstrip("-").isdigit()


@schemathesis.hook
def map_case(context, case):
    if case.headers and re.fullmatch(r"0\.[1-9][0-9]*s?|[1-9][0-9]{2}ms", str(case.headers.get(TIMEOUT))):
        case.headers[TIMEOUT] = "9"
    return case
