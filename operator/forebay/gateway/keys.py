"""API keys from a Secret: whatever is wrong with it becomes a sentence, and never lets anybody in."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

# What a header can carry.
_LONGEST = 4096


@dataclass(frozen=True, kw_only=True)
class ApiKeys:
    """The API keys by client. `problem` is empty when all of the Secret could be used; with no keys nobody gets in.

    `pending`: the apiserver hasn't said yet what is in it, nor that it can't be had.
    """

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""
    pending: bool = False


def name_secret(namespace: str, secret: str) -> str:
    """The Secret, in a sentence."""
    return f"the Secret {secret} of access.apiKeys in namespace {namespace}"


def describe_unread(namespace: str, secret: str, *, status: int) -> ApiKeys:
    """What an answer of the apiserver other than the Secret means. 0: there was none."""
    named = name_secret(namespace, secret)
    create = f"kubectl create secret generic {secret} -n {namespace} --from-literal=CLIENT=KEY"
    if status == 404:
        return ApiKeys(problem=f"{named} does not exist: {create}")
    if status == 403:
        return ApiKeys(problem=f"{named} can't be read: the gateway's ServiceAccount may not `get` Secrets there")
    answer = f"answered {status}" if status else "is away"
    return ApiKeys(problem=f"{named} can't be read: the apiserver {answer}", pending=True)


def parse_api_keys(namespace: str, secret: str, data: Mapping[str, str]) -> ApiKeys:
    """The keys of a Secret's `data`: client names, and API keys in base64. A key that can't be used is left out."""
    keys: dict[str, str] = {}
    wrong: list[str] = []
    owners: dict[str, str] = {}
    for client, encoded in sorted(data.items()):
        key, complaint = _decode(encoded)
        if not complaint and key in owners:
            complaint = f"is the same as that of {owners[key]}"
        if complaint:
            wrong.append(f"the key of {client} {complaint}")
            continue
        keys[client] = key
        owners[key] = client
    named = name_secret(namespace, secret)
    if not data:
        return ApiKeys(problem=f"{named} is empty: write a client's name and its API key into it")
    return ApiKeys(keys=keys, problem=f"{named}: {', '.join(wrong)}" if wrong else "")


def _decode(encoded: str) -> tuple[str, str]:
    """A key, and what is wrong with it. The newline that `echo` and editors add is none of it."""
    try:
        key = base64.b64decode(encoded, validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        return "", "is not ASCII text"
    if not key:
        return "", "is empty"
    if len(key) > _LONGEST:
        return "", f"is longer than {_LONGEST} characters"
    if not key.isprintable() or " " in key:
        return "", "has a space or a control character in it"
    return key, ""
