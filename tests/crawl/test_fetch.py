"""What an answer means: final, tried again, cut short, too large, too slow, not for us."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from counteranimal.crawl.fetch import Limits
from counteranimal.crawl.outcome import Faulty, Postponed, Unreachable
from counteranimal.errors import Reason, Rejected
from tests.crawl.conftest import QUICK, source_of
from tests.fakes.crawled_site import CrawledSite, answer, cut, dripping, in_turn, jpeg, redirect

PHOTO = jpeg(1, side=256)


@pytest.mark.case("A03")
def test_server_error_is_tried_three_times(site: CrawledSite, get):
    """503, 503, 200 is three requests and a photo."""
    site.pages["/a.jpg"] = in_turn(answer(status=503), answer(status=503), answer(PHOTO))
    assert get(f"{site.url}/a.jpg") == [PHOTO]
    assert len(site.paths()) == 3


@pytest.mark.case("A03")
@pytest.mark.parametrize(
    ("status", "reason"), [(400, "HTTP"), (401, "HTTP"), (403, "HTTP"), (404, "GONE"), (410, "GONE")]
)
def test_client_error_is_one_request(site: CrawledSite, get, status: int, reason: str):
    """A 4xx is final and never asked again."""
    site.pages["/a.jpg"] = answer(status=status)
    [result] = get(f"{site.url}/a.jpg")
    assert isinstance(result, Rejected)
    assert result.reason is Reason[reason]
    assert len(site.paths()) == 1


@pytest.mark.case("A04")
def test_lasting_server_error_is_a_failure_not_a_removal(site: CrawledSite, get):
    """503 for ever ends after the tries as something that may pass."""
    site.pages["/a.jpg"] = answer(status=503)
    [result] = get(f"{site.url}/a.jpg")
    assert isinstance(result, Faulty)
    assert result.reason is Reason.HTTP
    assert len(site.paths()) == 3


@pytest.mark.case("A01")
def test_retry_after_holds_the_host_and_nobody_else(site: CrawledSite, get):
    """After 429 with Retry-After the host gets no request for that long, while another host is served."""
    with CrawledSite() as other:
        site.pages["/a.jpg"] = in_turn(answer(status=429, Retry_After="3"), answer(PHOTO))
        site.pages["/b.jpg"] = answer(PHOTO)
        other.pages.update({f"/{number}.jpg": answer(PHOTO) for number in range(12)})
        spec = source_of(site, loopback=(site.pair, other.pair), interval_seconds=0.2, in_flight=1)
        results = get(f"{site.url}/a.jpg", f"{site.url}/b.jpg", *(f"{other.url}/{n}.jpg" for n in range(12)), spec=spec)
        assert results == [PHOTO] * 14
        first, second = [seen.at for seen in site.seen if seen.path != "/robots.txt"][:2]
        assert second - first >= 3.0
        meanwhile = [seen.at for seen in other.seen if first < seen.at < second]
        assert len(meanwhile) >= 10
        assert max(later - earlier for earlier, later in pairwise(meanwhile)) < 1.0


@pytest.mark.case("A02")
def test_long_retry_after_puts_the_photo_and_its_host_off(site: CrawledSite, get):
    """A wait longer than a run makes is not shortened: photo and host are left alone."""
    site.pages["/a.jpg"] = answer(status=429, Retry_After="86400")
    site.pages["/b.jpg"] = answer(PHOTO)
    spec = source_of(site, in_flight=1)
    results = get(f"{site.url}/a.jpg", f"{site.url}/b.jpg", spec=spec)
    assert [type(result) for result in results] == [Postponed, Postponed]
    assert {result.until.day for result in results} == {2}
    assert site.paths() == ["/a.jpg"]


@pytest.mark.case("A02")
def test_garbage_retry_after_falls_back_to_own_backoff(site: CrawledSite, get):
    """A Retry-After that says nothing leaves our own waits."""
    site.pages["/a.jpg"] = in_turn(
        answer(status=429, Retry_After="-5"), answer(status=429, Retry_After="abc"), answer(PHOTO)
    )
    assert get(f"{site.url}/a.jpg") == [PHOTO]


@pytest.mark.case("A05")
def test_cut_body_is_fetched_again_whole(site: CrawledSite, get):
    """A body that breaks off is tried again and ends with the right bytes."""
    site.pages["/a.jpg"] = in_turn(cut(PHOTO, 100), cut(PHOTO, len(PHOTO) - 1), answer(PHOTO))
    assert get(f"{site.url}/a.jpg") == [PHOTO]


@pytest.mark.case("A06")
@pytest.mark.parametrize("chunked", [False, True])
def test_short_length_and_missing_last_chunk_are_truncated(site: CrawledSite, get, chunked: bool):
    """A declared length not reached, or chunks without an end, is E_TRUNCATED after the tries."""
    site.pages["/a.jpg"] = cut(PHOTO, 500, chunked=chunked)
    [result] = get(f"{site.url}/a.jpg")
    assert isinstance(result, Faulty)
    assert result.reason is Reason.TRUNCATED
    assert len(site.paths()) == 3


@pytest.mark.case("A08")
@pytest.mark.parametrize("chain", [2, 11])
def test_redirects_stop_after_five(chain: int, site: CrawledSite, get):
    """A loop, and a chain of eleven with a photo at its end, end after six requests with E_REDIRECT."""
    for number in range(chain):
        site.pages[f"/{number}.jpg"] = redirect(f"/{(number + 1) % chain if chain == 2 else number + 1}.jpg")
    site.pages["/11.jpg"] = answer(PHOTO)
    [result] = get(f"{site.url}/0.jpg")
    assert result.reason is Reason.REDIRECT
    assert len(site.paths()) == 6


@pytest.mark.case("A08")
def test_five_redirects_are_followed(site: CrawledSite, get):
    """A chain of five is still a photo."""
    for number in range(5):
        site.pages[f"/{number}.jpg"] = redirect(f"{site.url}/{number + 1}.jpg", 301 + number % 3)
    site.pages["/5.jpg"] = answer(PHOTO)
    assert get(f"{site.url}/0.jpg") == [PHOTO]


@pytest.mark.case("A08")
@pytest.mark.parametrize("place", ["", "http://[", "http://h:99999/"])
def test_redirect_to_nowhere_is_refused(site: CrawledSite, get, place: str):
    """A redirect without a readable address is E_REDIRECT."""
    site.pages["/a.jpg"] = redirect(place)
    [result] = get(f"{site.url}/a.jpg")
    assert result.reason is Reason.REDIRECT


@pytest.mark.case("A14")
def test_dripping_body_is_dropped(site: CrawledSite, get):
    """A body slower than the limit is dropped, and its neighbours do not wait for it."""
    site.pages["/slow.jpg"] = dripping()
    site.pages["/good.jpg"] = answer(PHOTO)
    slow, good = get(f"{site.url}/slow.jpg", f"{site.url}/good.jpg")
    assert good == PHOTO
    assert (type(slow), slow.reason) == (Faulty, Reason.TIMEOUT)


@pytest.mark.case("A16")
def test_declared_size_over_the_cap_stops_before_the_body(site: CrawledSite, get):
    """An announced body over the cap is not read."""
    site.pages["/a.jpg"] = answer(b"x" * (QUICK.most_bytes + 1))
    [result] = get(f"{site.url}/a.jpg")
    assert result.reason is Reason.TOO_LARGE
    assert "announces" in result.detail


@pytest.mark.case("A16")
def test_endless_body_stops_at_the_cap(site: CrawledSite, get):
    """A body without length or end is cut off at the cap."""
    site.pages["/a.jpg"] = dripping(b"x" * 65536, every=0.0)
    [result] = get(f"{site.url}/a.jpg")
    assert result.reason is Reason.TOO_LARGE


@pytest.mark.case("A22")
def test_robots_govern_photos_and_are_asked_for_once(site: CrawledSite, get):
    """A wildcard rule keeps us away from its paths only; one robots.txt request serves all."""
    site.pages["/robots.txt"] = answer(b"User-agent: *\nDisallow: /*.jpg$\nAllow: /open/*.jpg$\n")
    site.pages["/a.png"] = site.pages["/open/a.jpg"] = answer(PHOTO)
    refused, allowed, longest = get(f"{site.url}/a.jpg", f"{site.url}/a.png", f"{site.url}/open/a.jpg")
    assert refused.reason is Reason.ROBOTS
    assert allowed == longest == PHOTO
    assert sorted(seen.path for seen in site.seen) == ["/a.png", "/open/a.jpg", "/robots.txt"]


@pytest.mark.case("A22")
def test_robots_that_cannot_be_stated_forbid_for_now(site: CrawledSite, get):
    """A server error on robots.txt forbids everything, as something that may pass."""
    site.pages["/robots.txt"] = answer(status=500)
    site.pages["/a.jpg"] = answer(PHOTO)
    [result] = get(f"{site.url}/a.jpg")
    assert (type(result), result.reason) == (Postponed, Reason.ROBOTS)
    assert site.paths() == []


@pytest.mark.case("A22")
def test_only_the_first_part_of_a_huge_robots_file_is_read(site: CrawledSite, get):
    """Rules behind 500 KiB do not exist, and three redirects to the file are followed."""
    site.pages["/robots.txt"] = redirect("/r1")
    site.pages["/r1"] = redirect("/r2")
    site.pages["/r2"] = redirect("/r3")
    site.pages["/r3"] = answer(b"User-agent: *\nDisallow: /closed/\n" + b"#" * 10_000_000 + b"\nDisallow: /\n")
    site.pages["/a.jpg"] = site.pages["/closed/a.jpg"] = answer(PHOTO)
    closed, fine = get(f"{site.url}/closed/a.jpg", f"{site.url}/a.jpg")
    assert fine == PHOTO
    assert closed.reason is Reason.ROBOTS


@pytest.mark.case("A23")
@pytest.mark.parametrize(
    "value",
    [
        "noai",
        "NoImageAI",
        "nofollow, NOINDEX",
        "noimageindex",
        "counteranimal: noai",
        "otherbot: all, counteranimal: noai",
    ],
)
def test_opt_out_is_obeyed_and_never_asked_again(site: CrawledSite, get, value: str):
    """An opt-out header ends the photo with E_OPTOUT after one request."""
    site.pages["/a.jpg"] = answer(PHOTO, X_Robots_Tag=value)
    [result] = get(f"{site.url}/a.jpg")
    assert result.reason is Reason.OPTOUT
    assert len(site.paths()) == 1


@pytest.mark.case("A23")
@pytest.mark.parametrize(
    "value", ["otherbot: noindex, noai", "nofollow", "unavailable_after: 25 Jun 2030 15:00:00 GMT", "all"]
)
def test_rules_for_others_do_not_bind(site: CrawledSite, get, value: str):
    """Another crawler's rule, or one about something else, leaves the photo."""
    site.pages["/a.jpg"] = answer(PHOTO, X_Robots_Tag=value)
    assert get(f"{site.url}/a.jpg") == [PHOTO]


@pytest.mark.case("A24")
def test_requests_say_who_asks_and_use_no_proxy(site: CrawledSite, get, monkeypatch):
    """The User-Agent names project, version and contact; a proxy in the environment is not used; no cookie comes back."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    site.pages["/a.jpg"] = in_turn(answer(status=503, Set_Cookie="a=b"), answer(PHOTO))
    assert get(f"{site.url}/a.jpg") == [PHOTO]
    for seen in site.seen:
        assert seen.headers["User-Agent"] == "counteranimal/0 (tester@example.org)"
        assert not {"Cookie", "Authorization", "Proxy-Authorization"} & set(seen.headers)


@pytest.mark.case("A19")
def test_certificate_that_nobody_vouches_for_is_refused(site: CrawledSite, get, tmp_path: Path):
    """A self-signed server gets no request, and nothing turns that off."""
    with CrawledSite(self_signed(tmp_path)) as forged:
        forged.pages["/a.jpg"] = answer(PHOTO)
        [result] = get(f"{forged.url}/a.jpg", spec=source_of(site, loopback=(forged.pair,)))
        assert isinstance(result, Unreachable)
        assert forged.seen == []


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's certificate for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "site.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_silent_host_is_given_up_without_failing_its_photos(site: CrawledSite, get):
    """Photos of a host that nobody answers for are not counted as failed: they were never asked for."""
    with CrawledSite() as gone:
        address = f"{gone.url}/a.jpg"
        spec = source_of(site, loopback=(gone.pair,))
    quick = Limits(backoff_base=0.01, connect=1.0)
    assert [type(result) for result in get(address, address, spec=spec, limits=quick)] == [Unreachable, Unreachable]
