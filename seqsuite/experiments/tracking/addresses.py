"""What a store's address may hold that nobody else must read: passwords and tokens, in any of its shapes."""

import os
import re
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

_HIDDEN = "…"
_SECRET_VARIABLES = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN")


class _Address(NamedTuple):
    """``scheme://user@place?query``; ``user`` may be a name with a password, or a token."""

    scheme: str
    user: str
    place: str
    query: str


def shown_uri(uri: str) -> str:
    """Return an address to show: without user, password or token, and without the values of its query."""
    address = _parse(uri)
    user = f"{_HIDDEN}@" if address.user else ""
    return f"{address.scheme}{user}{address.place}{re.sub(r'=[^&]*', '=' + _HIDDEN, address.query)}"


def public_uri(uri: str) -> str:
    """Return an address that can be opened: without user, password and query."""
    address = _parse(uri)
    return address.scheme + address.place


def without_secrets(text: str, uri: str) -> str:
    """Return a message without the secrets of the store's address and of the environment."""
    if uri:
        text = text.replace(uri, shown_uri(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, text)
    # A library may show only a piece of it, such as what precedes an unescaped "@" in a password.
    return re.sub(r"(://)[^\s/'\"]*@", rf"\1{_HIDDEN}@", text)


def _secrets(uri: str) -> set[str]:
    """Return the secrets of an address, and what a library may take for a part of it."""
    user = _parse(uri).user
    name, _, password = user.partition(":")
    values = [user, password or name, *re.split(r"[@/?#:&=]", password or name)]
    values += re.findall(r"[?&][^=&]*=([^&]*)", uri)
    values += [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    forms = {form for value in values for form in (value, unquote(value), unquote_plus(value))}
    return forms - {""}


def _parse(uri: str) -> _Address:
    """Split an address. A password may hold any letter, even one that should be escaped: too much is hidden
    rather than too little."""
    scheme, slashes, rest = uri.partition("://")
    if not slashes:
        scheme, rest = "", uri
    if scheme == "sqlite":
        place, mark, query = rest.partition("?")
        return _Address(scheme + slashes, "", place, mark + query)
    user, _, place = rest.rpartition("@")
    if "?" in user:  # of the password, or of a query that holds an "@"
        return _Address(scheme + slashes, rest, "", "")
    place, mark, query = place.partition("?")
    return _Address(scheme + slashes, user, place, mark + query)
