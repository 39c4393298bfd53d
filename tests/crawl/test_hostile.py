"""Servers that try to lead, flood, stall or outlast the fetcher; every connection that is tried is written down at the socket."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from counteranimal.crawl.address import is_public
from counteranimal.crawl.fetch import Limits, PhotoClient
from counteranimal.crawl.outcome import Faulty, Unreachable, Visit
from counteranimal.errors import Reason, Rejected
from tests.crawl.conftest import QUICK, source_of
from tests.fakes.crawled_site import CrawledSite, answer, dripping, gone, in_turn, jpeg, raw, redirect

PHOTO = jpeg(1, side=256)
PRIVATE = [
    "127.0.0.1", "10.0.0.1", "10.255.255.254", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.254",
    "169.254.169.254", "100.64.0.1", "100.127.255.254", "0.0.0.0", "[::1]", "[fe80::1]", "[febf::1]", "[fc00::1]",  # noqa: S104
    "[fdff::1]", "[::ffff:10.0.0.1]",
]  # fmt: skip


@dataclass
class Canary:
    """Every address that a socket of this process was to be connected to; only loopback is let through."""

    seen: list[tuple[str, int]] = field(default_factory=list)

    def private(self, *allowed: int) -> list[tuple[str, int]]:
        """The connections to addresses that are not public, apart from allowed ports of loopback."""
        return [(host, port) for host, port in self.seen if not is_public(host) and port not in allowed]


_listening: list[Canary] = []


def _hear(event: str, details: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _listening and isinstance(details[1], tuple):
        host, port = details[1][:2]
        _listening[-1].seen.append((host, port))
        if not ip_address(host.partition("%")[0]).is_loopback:
            raise ConnectionRefusedError("no test leaves this machine")


sys.addaudithook(_hear)


@pytest.fixture
def canary() -> Iterator[Canary]:
    _listening.append(Canary())
    yield _listening[-1]
    _listening.pop()


@pytest.mark.case("A10")
def test_no_socket_is_connected_to_a_private_address(site: CrawledSite, get, canary: Canary):
    """Every private network, by address and by redirect, though the recipe lists it: E_SSRF, and no socket is connected to it."""
    hosts = tuple(address.strip("[]") for address in PRIVATE)
    spec = source_of(site, hosts=hosts, in_flight=8)
    for number, address in enumerate(PRIVATE):
        site.pages[f"/{number}.jpg"] = redirect(f"http://{address}/secret")
    results = get(
        *(f"http://{address}/secret" for address in PRIVATE),
        *(f"{site.url}/{number}.jpg" for number in range(len(PRIVATE))),
        spec=spec,
    )
    assert [getattr(result, "reason", result) for result in results] == [Reason.SSRF] * 2 * len(PRIVATE)
    assert len(site.paths()) == len(PRIVATE)
    assert canary.private(site.port) == []
    assert canary.seen


@pytest.mark.case("A11")
def test_a_rebound_name_reaches_no_private_address(site: CrawledSite, get, canary: Canary, monkeypatch):
    """A hundred times a name is public when first asked for and private when connected to, or both at once: nobody private is connected to."""
    public, private = "93.184.215.14", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"]
    answers: list[list[str]] = []

    def rebound(host: str, port: int, *rest: Any, **named: Any) -> list[Any]:
        del rest, named
        assert host == "rebound.example.org"
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port, *((0, 0) if ":" in address else ())))
            for address in addresses
        ]  # fmt: skip

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    spec = source_of(site, hosts=("rebound.example.org",))
    reasons: Counter[str] = Counter()
    for turn in range(100):
        hidden = private[turn % len(private)]
        answers[:] = [[[public], [hidden]], [[hidden]], [[public, hidden]], [[hidden, public]]][turn // 4 % 4]
        limits = Limits(tries=2, backoff_base=0.0, connect=1.0)
        [result] = get("http://rebound.example.org/a.jpg", spec=spec, limits=limits)
        reasons[type(result).__name__] += 1
        assert isinstance(result, Rejected | Unreachable)
    assert canary.private() == []
    assert {host for host, _ in canary.seen} == {public}
    assert reasons["Rejected"] >= 70


@pytest.mark.case("A13")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_credential_reaches_another_origin(status: int, site: CrawledSite, get, monkeypatch, tmp_path: Path):
    """Whatever is set in the environment, in a file or by the first origin, the next origin gets four harmless headers."""
    secrets = tmp_path / "netrc"
    secrets.write_text("machine 127.0.0.1 login ada password secret\ndefault login ada password secret\n")
    secrets.chmod(0o600)
    monkeypatch.setenv("NETRC", str(secrets))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://ada:secret@127.0.0.1:9")
    with CrawledSite() as other:
        cookie = {"Set_Cookie": "session=secret; Path=/; Domain=127.0.0.1"}
        site.pages["/a.jpg"] = answer(status=status, Location=f"{other.url}/b.jpg", WWW_Authenticate="Basic", **cookie)
        site.pages["/c.jpg"] = in_turn(answer(status=503, **cookie), answer(status=status, Location="/d.jpg", **cookie))
        site.pages["/d.jpg"] = other.pages["/b.jpg"] = answer(PHOTO)
        other.pages["/robots.txt"] = answer(b"User-agent: *\nAllow: /\n", **cookie)
        spec = source_of(site, loopback=(site.pair, other.pair))
        assert get(f"{site.url}/a.jpg", f"{site.url}/c.jpg", spec=spec) == [PHOTO, PHOTO]
        assert other.paths() == ["/b.jpg"]
        for seen in [*site.seen, *other.seen]:
            assert set(seen.headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}


@pytest.mark.case("A13")
def test_credentials_in_a_redirect_are_refused(site: CrawledSite, get):
    """A redirect that carries a name and a password for the next origin is not followed."""
    with CrawledSite() as other:
        site.pages["/a.jpg"] = redirect(f"http://ada:secret@{other.pair}/b.jpg")
        [result] = get(f"{site.url}/a.jpg", spec=source_of(site, loopback=(site.pair, other.pair)))
        assert result.reason is Reason.SSRF
        assert other.seen == []


@pytest.mark.case("A14")
def test_slow_hosts_hold_up_nobody(get):
    """Eight of forty hosts drip: each is dropped for its slowness, and all others are done before the first of them is."""
    with CrawledSite(hosts=40) as many:
        slow, good = many.pairs[:8], many.pairs[8:]
        stall = dripping(every=0.1)

        async def by_host(request: web.Request) -> web.StreamResponse:
            return await (stall(request) if request.host in slow else answer(PHOTO)(request))

        many.pages.update({"/0.jpg": by_host, "/1.jpg": by_host})
        ended: list[tuple[str, object]] = []
        spec = source_of(many, loopback=many.pairs)

        async def one(client: PhotoClient, pair: str, number: int) -> None:
            try:
                ended.append((pair, await client.get(f"http://{pair}/{number}.jpg", Visit(spec.name))))
            except Faulty as error:
                ended.append((pair, error.reason))

        limits = Limits(deadline=20.0, slow_seconds=5.0, slow_bytes=1024)
        get.with_client(lambda client: [one(client, pair, n) for pair in many.pairs for n in (0, 1)], spec, limits)
        assert Counter(pair in slow for pair, _ in ended[:64]) == {False: 64}
        assert {result for pair, result in ended if pair in good} == {PHOTO}
        assert [result for pair, result in ended if pair in slow] == [Reason.TIMEOUT] * 16


@pytest.mark.case("A15")
@pytest.mark.parametrize("flood", ["many headers", "long header"])
def test_floods_of_headers_are_refused_at_once(flood: str, site: CrawledSite, get, grown: Callable[[], float]):
    """8 MB of headers, or one header of 1 MB: refused within the second, and nothing like it is kept in memory."""
    lines = [f"X-{n}: ".encode() + b"y" * 4096 + b"\r\n" for n in range(2000)] if flood == "many headers" else [
        b"X-Long: " + b"y" * 1_000_000 + b"\r\n"
    ]  # fmt: skip
    site.pages["/a.jpg"] = raw(b"HTTP/1.1 200 OK\r\n", *lines, b"Content-Length: 0\r\n\r\n")
    site.pages["/b.jpg"] = answer(PHOTO)
    assert get(f"{site.url}/b.jpg") == [PHOTO]
    before = grown()
    [result] = get(f"{site.url}/a.jpg", limits=Limits(deadline=1.0))
    assert isinstance(result, Faulty)
    assert result.reason is Reason.HTTP
    assert grown() - before < 10
    assert site.paths() == ["/b.jpg", "/a.jpg"]


@pytest.mark.case("A16")
def test_ten_announced_gigabytes_are_not_waited_for(site: CrawledSite, get):
    """An announced body of 10 GB ends with its headers."""
    site.pages["/a.jpg"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", b"\xff\xd8\xff")
    [result] = get(f"{site.url}/a.jpg")
    assert result.reason is Reason.TOO_LARGE


@pytest.mark.case("A17")
@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "br"])
def test_a_bomb_of_any_coding_is_never_unpacked(coding: str, site: CrawledSite, get, grown: Callable[[], float]):
    """200 MB packed a thousandfold: cut off at the cap where the coding is known, refused where it is not; memory stays."""
    packed = {
        "gzip": gzip.compress(bytes(200_000_000), 1),
        "deflate": zlib.compress(bytes(200_000_000), 1),
        # A frame of 1,600 run-length blocks of 128 KiB, and a stream that no decoder here reads.
        "zstd": b"\x28\xb5\x2f\xfd\x00\x58"
        + (1 << 20 | 1 << 1).to_bytes(3, "little").join([b""] * 1601)
        + b"\x00" * 1600,
        "br": bytes(range(256)) * 800,
    }[coding]
    site.pages["/a.jpg"] = answer(packed, Content_Encoding=coding)
    before = grown()
    [result] = get(f"{site.url}/a.jpg", limits=Limits(tries=1))
    assert result.reason is Reason.TOO_LARGE if coding in {"gzip", "deflate"} else isinstance(result, Faulty)
    assert grown() - before < 64


@pytest.mark.case("A19")
@pytest.mark.parametrize(
    ("name", "days", "words"),
    [("127.0.0.1", 1, ""), ("127.0.0.1", -1, "expired"), ("127.0.0.2", 1, "mismatch")],
    ids=["good", "expired", "wrong host"],
)
def test_certificates_that_do_not_fit_are_refused(name: str, days: int, words: str, get, tmp_path: Path):
    """Of three certificates by an authority that is trusted, the good one is served, the expired and another host's are not."""
    authority, served = _certificates(tmp_path, name, timedelta(days=days))
    trusting = ssl.create_default_context(cafile=authority)
    with pytest.MonkeyPatch.context() as patch, CrawledSite(served) as https:
        patch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
        https.pages["/a.jpg"] = answer(PHOTO)
        [result] = get(f"{https.url}/a.jpg", spec=source_of(https))
        assert isinstance(result, Unreachable) if words else result == PHOTO
        assert bool(https.seen) is not bool(words)


def _certificates(folder: Path, name: str, left: timedelta) -> tuple[Path, ssl.SSLContext]:
    """Return an authority's certificate file, and a server's context with a certificate by it that ends after `left`."""
    moment = datetime.now(UTC)
    keys = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def signed(subject: x509.Name, key: Any, end: datetime, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(moment - timedelta(days=9)).not_valid_after(end)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM)

    usage = x509.KeyUsage(*(place in {0, 5, 6} for place in range(9)))
    identity = x509.SubjectKeyIdentifier.from_public_key(keys[0].public_key())
    parent = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity)
    authority = folder / "authority.pem"
    authority.write_bytes(
        signed(
            issuer, keys[0], moment + timedelta(days=9), x509.BasicConstraints(ca=True, path_length=0), usage, identity
        )
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
    chain = folder / "served.pem"
    private = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(private + signed(subject, keys[1], moment + left, names, parent))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return authority, context


def _paced(get: Any, urls: int, interval: float) -> None:
    """Ask ten hosts for `urls` photos each with 64 workers, and hold what the servers saw against the rules."""
    with CrawledSite(hosts=10) as many:
        many.pages.update({f"/{number}.jpg": answer(PHOTO) for number in range(urls)})
        spec = source_of(many, loopback=many.pairs, interval_seconds=interval, in_flight=2)
        waiting = [f"http://{pair}/{number}.jpg" for number in range(urls) for pair in many.pairs]
        got: list[bytes] = []

        async def worker(client: PhotoClient) -> None:
            while waiting:
                got.append(await client.get(waiting.pop(0), Visit(spec.name)))

        get.with_client(lambda client: [worker(client) for _ in range(64)], spec, QUICK)
        assert Counter(got) == {PHOTO: 10 * urls}
        assert many.most_in_flight <= 2
        for pair in many.pairs:
            moments = [seen.at for seen in many.seen if seen.host == pair]
            assert len(moments) == urls + 1
            # The interval holds between departures; a busy machine may write two arrivals down closer, but not all of them.
            assert min(later - earlier for earlier, later in pairwise(moments)) >= 0.5 * interval
            assert moments[-1] - moments[0] >= (urls - 0.5) * interval


@pytest.mark.case("A20")
def test_pace_of_ten_hosts(get):
    """Ten hosts, 64 workers: two in flight a host at most and never under the interval, as the servers see it."""
    _paced(get, 20, 0.1)


@pytest.mark.soak
@pytest.mark.case("A20")
def test_pace_of_ten_hosts_at_length(get):
    """The same with 200 addresses a host."""
    _paced(get, 200, 0.25)


@pytest.mark.case("A22")
def test_robots_that_do_not_come_forbid(site: CrawledSite, get):
    """A robots.txt that times out forbids the host's photos; one that is not there allows them."""
    with CrawledSite() as silent:

        async def never(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(30)
            return web.Response()

        silent.pages.update({"/robots.txt": never, "/a.jpg": answer(PHOTO)})
        site.pages["/a.jpg"] = answer(PHOTO)
        spec = source_of(site, loopback=(site.pair, silent.pair))
        quick = Limits(deadline=0.5, tries=1, backoff_base=0.01)
        refused, again, fine = get(
            f"{silent.url}/a.jpg", f"{silent.url}/a.jpg", f"{site.url}/a.jpg", spec=spec, limits=quick
        )
        assert isinstance(refused, Unreachable)
        assert isinstance(again, Unreachable)
        assert fine == PHOTO
        assert [seen.path for seen in silent.seen] == ["/robots.txt"]
        assert [seen.path for seen in site.seen] == ["/robots.txt", "/a.jpg"]


@pytest.mark.case("A22")
def test_robots_are_kept_for_a_day_at_most(site: CrawledSite, get, monkeypatch):
    """The file serves every photo of a host until it is a day old; then it is asked for anew, and its new rules hold."""
    from counteranimal.crawl import fetch, robots

    assert robots.LIFETIME <= 24 * 3600
    closed = answer(b"User-agent: *\nDisallow: /\n")
    site.pages["/robots.txt"] = in_turn(answer(b"User-agent: *\nAllow: /\n"), closed)
    site.pages["/a.jpg"] = answer(PHOTO)
    results: list[Any] = []

    async def one(client: PhotoClient) -> None:
        loop = asyncio.get_running_loop()
        start, real = loop.time(), loop.time
        for hours in (0, 23.9, 24.1):
            monkeypatch.setattr(fetch, "LIFETIME", robots.LIFETIME - hours * 3600 + (real() - start))
            try:
                results.append(await client.get(f"{site.url}/a.jpg", Visit("site")))
            except Rejected as refused:
                results.append(refused.reason)

    get.with_client(lambda client: [one(client)], source_of(site), QUICK)
    assert results == [PHOTO, PHOTO, Reason.ROBOTS]
    assert [seen.path for seen in site.seen] == ["/robots.txt", "/a.jpg", "/a.jpg", "/robots.txt"]


@pytest.mark.case("A27")
@pytest.mark.parametrize("falls", ["from the beginning", "after some photos"])
def test_a_host_that_is_down_is_probed_five_times_and_holds_up_nobody(falls: str, site: CrawledSite, get):
    """Of a hundred photos behind a dead host five are tried at most, in all; every other host is served."""
    with CrawledSite() as down:
        served = {f"/{number}.jpg": answer(PHOTO) for number in range(5)} if falls == "after some photos" else {}
        down.pages.update({"/robots.txt": answer(status=404) if served else gone, **served})
        down.pages.update({f"/{number}.jpg": gone for number in range(len(served), 100)})
        site.pages.update({f"/{number}.jpg": answer(PHOTO) for number in range(30)})
        spec = source_of(site, loopback=(site.pair, down.pair), in_flight=2)
        results = get(
            *(f"{host.url}/{number}.jpg" for host, n in ((down, 100), (site, 30)) for number in range(n)), spec=spec
        )
        assert results[100:] == [PHOTO] * 30
        assert results[: len(served)] == [PHOTO] * len(served)
        assert {type(result) for result in results[len(served) : 100]} <= {Unreachable, Faulty}
        assert sum(isinstance(result, Faulty) for result in results) <= 5
        probes = len(down.seen) - (1 + len(served) if served else 0)
        assert 3 <= probes <= 5
