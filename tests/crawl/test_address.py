"""Which addresses are refused, before a packet and where the socket is opened."""

from __future__ import annotations

import socket

import pytest
from yarl import URL

from counteranimal.crawl.address import Reach, asking, connect, guarded_socket, is_public
from counteranimal.errors import Reason, Rejected
from counteranimal.recipe import SourceSpec
from tests.crawl.conftest import source_of
from tests.fakes.crawled_site import CrawledSite, answer, jpeg, redirect

PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255",
]  # fmt: skip
REACH = Reach(frozenset({"photos.example.org"}), frozenset({("127.0.0.1", 8183)}))


def literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def refusal(url: str, **more: URL) -> Reason:
    with pytest.raises(Rejected) as caught:
        REACH.check(url, **more)
    return caught.value.reason


@pytest.mark.case("A10")
@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_by_url_and_at_the_socket(address: str):
    """A private address is refused as a literal, even one that a recipe lists, and once more when its socket is to open."""
    listed = Reach(frozenset({address}), frozenset())
    with pytest.raises(Rejected, match="E_SSRF"):
        listed.check(f"http://{literal(address)}/a.jpg")
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    url = URL("http://photos.example.org/a.jpg")
    with asking(url, REACH) as asked, pytest.raises(PermissionError):
        guarded_socket((family, socket.SOCK_STREAM, 0, "", (address, 80)))
    assert asked.refused == [address]


@pytest.mark.case("A12")
@pytest.mark.parametrize(
    "url",
    [
        "http://2130706433/", "http://0177.0.0.1/", "http://0x7f.1/", "http://127.1/", "http://good@127.0.0.1/",
        "http://photos.example.org:22/", "http://photos.example.org:25/", "http://photos.example.org:6379/",
        "http://photos.example.org@127.0.0.1/", "http://photos.example.org:443/", "http://a\\@photos.example.org/",
        "http://127.0.0.1:8184/", "http://localhost:8183/", "http://photos.example.org.evil.net/", "http://",
    ],
)  # fmt: skip
def test_odd_spellings_users_and_ports_are_refused(url: str):
    """Nothing but a listed host on its scheme's port, or an exact loopback pair, is asked."""
    assert refusal(url) in {Reason.SSRF, Reason.SCHEME}


@pytest.mark.case("A12")
@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1"])
def test_listing_an_odd_spelling_does_not_help(host: str):
    """A number that a resolver would read as an address is no host name."""
    with pytest.raises(Rejected, match="E_SSRF"):
        Reach(frozenset({host}), frozenset()).check(f"http://{host}/")


def test_listed_hosts_and_pairs_are_asked():
    """What the recipe opens is open, whatever the letters' case."""
    assert REACH.check("https://PHOTOS.example.org/a.jpg").port == 443
    assert REACH.check("http://127.0.0.1:8183/a.jpg").port == 8183


@pytest.mark.case("A09")
@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://photos.example.org/", "data:,x", "javascript:1", "gopher://h/"]
)
def test_other_schemes_are_never_opened(place: str, site: CrawledSite, get):
    """A redirect to another scheme ends the photo with E_SCHEME and asks nobody."""
    site.pages["/a.jpg"] = redirect(place)
    [result] = get(f"{site.url}/a.jpg")
    assert result.reason is Reason.SCHEME
    assert site.paths() == ["/a.jpg"]


@pytest.mark.case("A09")
def test_redirect_never_steps_down_from_https():
    """A redirect from https to http is E_SCHEME, though the host is listed."""
    before = URL("https://photos.example.org/a.jpg")
    assert refusal("http://photos.example.org/a.jpg", came_from=before) is Reason.SCHEME


@pytest.mark.case("A10")
def test_redirect_to_another_loopback_port_is_refused(site: CrawledSite, get):
    """A canary beside the opened port sees no connection when a photo redirects to it."""
    with CrawledSite() as canary:
        site.pages["/a.jpg"] = redirect(f"{canary.url}/secret")
        site.pages["/b.jpg"] = redirect(f"http://localhost:{canary.port}/secret")
        results = get(f"{site.url}/a.jpg", f"{site.url}/b.jpg")
        assert [result.reason for result in results] == [Reason.SSRF, Reason.SSRF]
        assert canary.seen == []


@pytest.mark.case("A11")
def test_listed_name_that_leads_to_loopback_is_refused_at_the_socket(site: CrawledSite, get, monkeypatch):
    """A listed name whose address is private at the moment of connecting gets no connection, however it resolved before."""
    spec = source_of(site, hosts=("rebound.example.org",), loopback=())
    # The name's own port is 80; the canary listens where the guard would let a loopback pair through.
    real = socket.getaddrinfo

    def rebound(host, *rest, **named):
        return real("127.0.0.1" if host == "rebound.example.org" else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    [result] = get("http://rebound.example.org/a.jpg", spec=spec)
    assert result.reason is Reason.SSRF
    with asking(URL("http://rebound.example.org/"), Reach.of(spec)), pytest.raises(PermissionError):
        connect("rebound.example.org", 80, timeout=1)


def test_no_socket_opens_outside_a_question():
    """The guard refuses when nobody has said what is being asked for."""
    with pytest.raises(PermissionError):
        guarded_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("1.1.1.1", 80)))


def test_exact_pair_is_served(site: CrawledSite, get):
    """The loopback pair that a recipe opens is fetched from."""
    site.pages["/a.jpg"] = answer(jpeg(1))
    assert get(f"{site.url}/a.jpg") == [jpeg(1)]


def test_recipe_cannot_open_a_network():
    """Only loopback can be opened by pair."""
    with pytest.raises(ValueError, match="loopback"):
        SourceSpec(name="s", kind="folder", loopback=("10.0.0.1:80",))
