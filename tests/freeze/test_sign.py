"""Keys and signatures."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from counteranimal.errors import PolicyError, UsageError
from counteranimal.freeze.sign import PRIVATE_KEY, PUBLIC_KEY, keygen, load_private_key
from counteranimal.release.layout import SIGNATURE, SUMS
from counteranimal.release.signature import load_public_key, parse
from tests.fakes.small_release import Released


def test_the_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask, the private key has mode 0600, and both keys belong together."""
    before = os.umask(0)
    try:
        private, public = keygen(tmp_path / "keys")
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_private_key(private).public_key().public_bytes_raw().hex() == load_public_key(public)


@pytest.mark.parametrize("existing", [PRIVATE_KEY, PUBLIC_KEY])
def test_keys_are_never_overwritten(tmp_path: Path, existing: str) -> None:
    """If either file is there, even as a dangling link, nothing is written."""
    (tmp_path / existing).symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="not overwritten"):
        keygen(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [existing]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A private key open to others does not sign."""
    private, _ = keygen(tmp_path)
    private.chmod(0o640)
    with pytest.raises(PolicyError, match="read by others"):
        load_private_key(private)


def test_what_is_no_private_key_is_a_usage_error(tmp_path: Path) -> None:
    """A missing file, a public key and noise end with advice."""
    _, public = keygen(tmp_path)
    noise = tmp_path / "noise"
    noise.write_bytes(b"noise")
    for path in (tmp_path / "nowhere", public, noise):
        path.exists() and path.chmod(0o600)
        with pytest.raises(UsageError, match="counteranimal keygen"):
            load_private_key(path)


def test_another_tool_agrees(released: Released, tmp_path: Path) -> None:
    """OpenSSL verifies the signature over the plain bytes of SHA256SUMS."""
    if subprocess.run(["openssl", "version"], capture_output=True, check=False).returncode:
        pytest.skip("openssl is not installed")
    raw = tmp_path / "signature"
    raw.write_bytes(bytes.fromhex(parse((released.folder / SIGNATURE).read_bytes()).signature))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(released.public_key), "-rawin"]
    command += ["-in", str(released.folder / SUMS), "-sigfile", str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
