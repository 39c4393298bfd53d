"""From a spec to a model, or to one clear sentence within seconds."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.models import FORMS, load_model
from counteranimal.models.registry import find_weights
from counteranimal.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A cache of its own."""
    return load_settings(cache=tmp_path, device="cpu")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A hub on loopback that writes down every request; the real one is out of reach, and nothing is cached."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        do_GET = do_HEAD  # noqa: N815 - the server calls it so

        def log_message(self, *_: object) -> None:
            return

    from huggingface_hub import constants

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_importing_the_models_package_imports_no_torch() -> None:
    """Help texts and table work must not wait for it."""
    code = "import sys, counteranimal.models, counteranimal.score.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("spec", ["resnet50", "open_clip:ViT-B-32", "timm:", "clip", ""])
def test_an_unknown_spec_lists_the_forms(spec: str, settings: Settings) -> None:
    """The sentence shows what could have been written."""
    with pytest.raises(UsageError) as caught:
        load_model(spec, settings=settings)
    assert all(form in str(caught.value) for form in FORMS)


@pytest.mark.case("I03")
@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("open_clip:ViT-B-32-quickgelu/laion400m_e32", "laion400m_e32.*its tag names no hash"),
        ("timm:resnet50.tv_in1k", "resnet50.tv_in1k.*its tag names no hash"),
        ("torchvision:resnet50", "resnet50-0676ba61.pth, sha256 0676ba61"),
    ],
)
def test_missing_weights_offline_are_named_without_a_question_to_the_hub(
    spec: str, named: str, settings: Settings, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HF_HUB_OFFLINE set, not one request leaves."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(EnvironmentFailure, match=rf"{named}.*not on this machine.*HF_HUB_OFFLINE"):
        load_model(spec, settings=settings)
    assert hub == []


@pytest.mark.case("I03")
def test_missing_weights_without_a_network_are_named_at_once(
    settings: Settings, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port is found out by one question, not by a minute of retries."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(EnvironmentFailure, match="cannot be reached"):
        load_model("open_clip:ViT-B-32-quickgelu/laion400m_e32", settings=settings)
    assert hub == []


@pytest.mark.case("I03")
def test_all_missing_weights_are_named_before_any_model_runs_and_the_network_is_asked_once(
    tmp_path: Path, hub: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over many models does not end at the last one's weights, nor wait for each of them."""
    import httpx
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    asked, head = [], httpx.head
    monkeypatch.setattr(httpx, "head", lambda *words, **named: (asked.append(words), head(*words, **named))[1])
    here = tmp_path / "here.safetensors"
    here.write_bytes(b"weights")
    present = f"open_clip:ViT-B-32/{here}"
    missing = ["open_clip:ViT-B-32-quickgelu/laion400m_e32", "timm:resnet50.tv_in1k", "torchvision:resnet50"]
    with pytest.raises(
        EnvironmentFailure, match=r"laion400m_e32.*cannot be reached.*3 models.*tv_in1k.*sha256 0676ba61"
    ):
        find_weights([present, *missing, "efficientnet-lite0"])
    assert len(asked) == 1
    assert hub == []
    assert find_weights([present, "stand-in"]) == {present: here}


@pytest.mark.parametrize(
    ("spec", "right"),
    [
        ("open_clip:ViT-B-32/openai", "ViT-B-32-quickgelu/openai"),
        ("open_clip:ViT-B-32-quickgelu/laion2b_s34b_b79k", "ViT-B-32/laion2b_s34b_b79k"),
    ],
)
def test_a_tag_under_the_other_activation_is_refused(spec: str, right: str, settings: Settings) -> None:
    """The mistake costs points and raises no error anywhere else."""
    with pytest.raises(UsageError, match=f"other activation.*{right}"):
        load_model(spec, settings=settings)


@pytest.mark.parametrize("spec", ["open_clip:ViT-Z-9/openai", "open_clip:ViT-B-32/no_such_tag", "timm:no_such_net"])
def test_an_unknown_model_is_the_users_mistake(spec: str, settings: Settings) -> None:
    """Not a network's."""
    with pytest.raises(UsageError, match=r"(open_clip|timm) has no"):
        load_model(spec, settings=settings)


@pytest.mark.case("I03")
def test_a_missing_weight_file_is_named(settings: Settings, tmp_path: Path) -> None:
    """By its path."""
    with pytest.raises(EnvironmentFailure, match=r"absent\.safetensors is missing"):
        load_model(f"open_clip:ViT-B-32/{tmp_path}/absent.safetensors", settings=settings)
