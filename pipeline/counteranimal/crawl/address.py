"""Which addresses the crawl may connect to: hosts the recipe lists, at public unicast addresses, and nothing else.

Decides twice. Before anything is sent, `Reach.check` reads a URL and refuses schemes, ports, users and hosts that the recipe
does not list. Where a socket is opened, `guarded_socket` looks at the address that is about to be connected to, so that
neither an IP literal, a redirect nor a name that changes its answer slips through. Only the exact loopback pairs of a recipe
(the sample upstream) are open. Leaves what is asked, and how often, to `politeness` and `fetch`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from counteranimal.errors import Reason, Rejected
from counteranimal.recipe import SourceSpec

__all__ = ["Asked", "Reach", "asking", "connect", "guarded_socket", "is_public"]

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
# Blocks inside global space that carry an embedded or special address, which a look at the outer one would miss.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


def is_public(text: str) -> bool:
    """Say whether an address in its usual spelling is public unicast.

    Examples
    --------
    >>> is_public("1.1.1.1"), is_public("100.64.0.1"), is_public("::ffff:127.0.0.1"), is_public("127.1")
    (True, False, False, False)
    """
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        if address not in _GLOBAL_V6:
            return False
    special = any(address in network for network in _NOT_PUBLIC if network.version == address.version)
    return address.is_global and not (address.is_multicast or address.is_reserved or special)


@dataclass(frozen=True, slots=True)
class Reach:
    """What one source may ask: host names, and exact loopback (host, port) pairs."""

    hosts: frozenset[str]
    loopback: frozenset[tuple[str, int]]

    @classmethod
    def of(cls, spec: SourceSpec) -> Reach:
        """Return the reach that a recipe gives a source."""
        pairs = (pair.rpartition(":") for pair in spec.loopback)
        return cls(
            frozenset(host.casefold().rstrip(".") for host in spec.hosts),
            frozenset((host.strip("[]"), int(port)) for host, _, port in pairs),
        )

    def check(self, text: str | URL, *, came_from: URL | None = None) -> URL:
        """Return the URL as it will be asked, or turn it away before any packet.

        Raises
        ------
        Rejected
            E_SCHEME for another scheme than http and https or a step down from https; E_SSRF for a user, a port, an odd
            spelling or a host that the recipe does not list.
        """
        try:
            url = text if isinstance(text, URL) else URL(text)
        except (ValueError, UnicodeError) as error:
            raise Rejected(Reason.SSRF, f"the address cannot be read ({error})") from error
        if url.scheme not in _PORTS:
            raise Rejected(Reason.SCHEME, f"scheme {url.scheme or 'none'!r} is never opened")
        if came_from is not None and came_from.scheme == "https" and url.scheme == "http":
            raise Rejected(Reason.SCHEME, "a redirect steps down from https to http")
        host = (url.raw_host or "").casefold()
        if not host or url.user is not None or url.password is not None:
            raise Rejected(Reason.SSRF, "the address has no host or carries a user name")
        if self.is_loopback_pair(host, url.port):
            return url
        if host.rstrip(".") not in self.hosts:
            raise Rejected(Reason.SSRF, f"host {host} is not among the source's hosts in the recipe")
        if url.port != _PORTS[url.scheme]:
            raise Rejected(Reason.SSRF, f"port {url.port} is not the port of {url.scheme}")
        if _looks_numeric(host) and not is_public(host):
            raise Rejected(Reason.SSRF, f"address {host} is not public")
        return url

    def is_loopback_pair(self, host: str, port: int | None) -> bool:
        """Say whether the recipe opens exactly this loopback host and port."""
        return port is not None and (host, port) in self.loopback


def _looks_numeric(host: str) -> bool:
    """Say whether a resolver might read `host` as an address: 2130706433, 0x7f.1, 127.1 and the usual spellings."""
    last = host.rstrip(".").rsplit(".", 1)[-1]
    return ":" in host or last.isdigit() or last.startswith("0x")


@dataclass(slots=True)
class Asked:
    """The endpoint that the running request asked for, and the addresses that were refused on the way to it."""

    port: int
    loopback: bool
    refused: list[str] = field(default_factory=list)


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def asking(url: URL, reach: Reach) -> Iterator[Asked]:
    """Say, for the sockets opened inside, which endpoint was asked for; without it none may be opened."""
    port = url.port or 0
    asked = Asked(port, reach.is_loopback_pair((url.raw_host or "").casefold(), port))
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
    """Return an unconnected socket for one entry of `getaddrinfo`, if its address may be connected to.

    Raises
    ------
    PermissionError
        For any other address; it is also noted in the running `Asked`.
    """
    family, kind, protocol, _, address = info
    host, port = str(address[0]), int(address[1])
    asked = _asked.get()
    if asked is not None:
        loopback = (
            family in {socket.AF_INET, socket.AF_INET6} and ipaddress.ip_address(host.partition("%")[0]).is_loopback
        )
        if port == asked.port and (loopback if asked.loopback else is_public(host)):
            return socket.socket(family, kind, protocol)
        asked.refused.append(host)
    raise PermissionError(f"connections to {host} port {port} are never made")


def connect(host: str, port: int, *, timeout: float) -> socket.socket:
    """Resolve and connect, trying each permitted address in turn; used where a blocking client opens its sockets.

    Raises
    ------
    OSError
        If no address is permitted (PermissionError) or none answers.
    """
    failure: OSError | None = None
    for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            opened = guarded_socket(info)
        except PermissionError as error:
            failure = failure or error
            continue
        try:
            opened.settimeout(timeout)
            opened.connect(info[4])
        except OSError as error:
            opened.close()
            failure = error
            continue
        return opened
    raise failure or OSError(f"host {host} has no address")
