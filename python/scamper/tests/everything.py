"""Everything that an object of the module says, as plain JSON: to be held beside what was recorded."""

import datetime
import enum
import types

# Methods that take the place of an item, and how many there are.
COUNTED = {
    "an": "ancount",
    "ns": "nscount",
    "ar": "arcount",
    "buf": "buf_count",
    "elem": "elemc",
    "ext": "ext_count",
    "link": "link_count",
    "mpls_lse": "mpls_count",
    "mpls_label": "mpls_count",
    "mpls_ttl": "mpls_count",
    "mpls_exp": "mpls_count",
    "mpls_s": "mpls_count",
    "node": "node_count",
    "param": "paramc",
    "pkt": "pkt_count",
    "probedef": "probedef_count",
    "reply": "reply_count",
    "rx": "rx_count",
    "sched": "sched_count",
    "str": "strc",
    "tx": "tx_count",
    "hop": "hop_count",
}
# Methods with an argument, or whose answer is no value.
OTHERS = {"elem", "halt", "probeset", "response_hdr_byname", "transmit_hdr_byname"}
# Links and nodes lead to each other in a ring.
RING = {"near", "far", "links", "link"}


def everything(value: object, depth: int = 0) -> object:
    """The value, and all that is within."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}={value.value}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return "hex:" + value.hex()
    if isinstance(value, datetime.datetime):
        return "datetime:" + value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"timedelta:{value.total_seconds():.6f}"
    if isinstance(value, dict):
        return {str(key): everything(item, depth) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [everything(item, depth) for item in value]
    if not hasattr(type(value), "__module__") or not type(value).__name__.startswith("Scamper"):
        if hasattr(value, "__next__"):
            return [everything(item, depth) for item in value]
        return f"{type(value).__name__}?"
    if type(value).__name__ == "ScamperAddr":
        return f"address:{value}"
    if depth > 6:
        return type(value).__name__
    return members(value, depth)


def members(value: object, depth: int) -> dict[str, object]:
    said: dict[str, object] = {"class": type(value).__name__}
    if type(value).__str__ is not object.__str__:
        said["str()"] = str(value)
    for name in sorted(dir(type(value))):
        if name.startswith("_") or name in OTHERS or (depth > 0 and name in RING):
            continue
        member = getattr(value, name)
        if callable(member) and not isinstance(member, type):
            if name in COUNTED and hasattr(value, COUNTED[name]):
                count = getattr(value, COUNTED[name]) or 0
                said[name] = [everything(call(member, i), depth + 1) for i in range(min(count + 1, 8))]
            elif name == "pkt" or name == "probe" or name == "hop":
                continue
            elif name == "reply":
                said[name] = [everything(call(member, i), depth + 1) for i in range(3)]
            elif name in ("note", "probeset"):
                continue
            else:
                said[name] = everything(call(member), depth + 1)
        else:
            said[name] = everything(member, depth + 1)
    if hasattr(value, "__iter__") and not isinstance(value, types.GeneratorType):
        said["iter()"] = [everything(item, depth + 1) for item in value]
    if hasattr(value, "probeset"):
        said["probeset"] = [everything(value.probeset(i), depth + 1) for i in range(value.length)]
    return said


def call(member: object, *args: object) -> object:
    try:
        return member(*args)  # type: ignore[operator]
    except Exception as error:  # which one it is is what is to be compared
        return f"raises {type(error).__name__}"
