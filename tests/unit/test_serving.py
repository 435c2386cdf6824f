"""The HTTP contract, without Ray: answers, refusals, limits, keys, and following an alias."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from roadbed.data.labels import CAMVID_11
from roadbed.inference.images import read_image
from roadbed.inference.predictor import Predictor
from roadbed.registry import Registry
from roadbed.serving.answers import choose_encoder, run_lengths
from roadbed.serving.app import make_app
from roadbed.serving.body import picture_of, read_body
from roadbed.serving.refused import RefusedError
from roadbed.serving.service import Service
from roadbed.spec.serve import LimitsSpec, ServeSpec
from roadbed.storage import open_store
from serving_support import Clock, Counted, made, pixels, promote, publish, saved


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(open_store(str(tmp_path)))


def client_of(service: Service, **settings: Any) -> TestClient:
    service.follower.look()
    return TestClient(make_app(service, **settings), raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Serves what `publish` publishes first, to all tests that only ask."""
    registry = Registry(open_store(str(tmp_path_factory.mktemp("registry"))))
    promote(registry, publish(registry))
    service = made(registry)
    yield client_of(service)
    service.stop()


def refused(answer: Any, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return str(error["message"])


class TestAnswers:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
    def test_a_mask_is_what_predict_would_write(self, client: TestClient, registry: Registry, kind: str) -> None:
        publish(registry)
        body = saved(pixels(), kind)
        answer = client.post("/v1/segment", content=body, headers={"content-type": f"image/{kind.lower()}"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-model"] == "road:1"
        assert answer.headers["x-engine"] == "torch"
        stages = [stage.partition(";")[0] for stage in answer.headers["server-timing"].split(", ")]
        assert stages == ["queue", "decode", "infer", "encode"]
        expected = Predictor.load(registry.resolve("road:1")).predict(read_image(body))
        with Image.open(io.BytesIO(answer.content)) as mask:
            assert mask.mode == "P"
            assert np.array_equal(np.asarray(mask), expected)
            assert mask.getpalette()[:33] == CAMVID_11.palette_N3[:11].ravel().tolist()

    def test_a_form(self, client: TestClient) -> None:
        body = saved(pixels())
        plain = client.post("/v1/segment", content=body).content
        typed = {"content-type": "application/x-www-form-urlencoded"}  # what curl says of --data-binary
        assert client.post("/v1/segment", content=body, headers=typed).content == plain
        for form in (
            {"files": {"image": ("a.png", body)}},
            {"files": {"anything": ("a.png", body)}, "data": {"note": "hello"}},
        ):
            answer = client.post("/v1/segment", **form)
            assert answer.status_code == 200, answer.text
            assert answer.content == plain

    def test_json_tells_the_same_mask(self, client: TestClient) -> None:
        body = saved(pixels())
        with Image.open(io.BytesIO(client.post("/v1/segment", content=body).content)) as picture:
            mask = np.asarray(picture)
        answer = client.post("/v1/segment", content=body, headers={"accept": "application/json"}).json()
        assert (answer["width"], answer["height"], answer["model"]) == (64, 48, "road:1")
        again = np.repeat(answer["runs"]["ids"], answer["runs"]["lengths"]).reshape(48, 64)
        assert np.array_equal(again, mask)
        assert [row["name"] for row in answer["classes"]] == list(CAMVID_11.class_names)
        assert sum(row["share"] for row in answer["classes"]) == pytest.approx(1)
        assert answer["classes"][mask[0, 0]]["share"] == pytest.approx((mask == mask[0, 0]).mean())

    @pytest.mark.parametrize("kind", ["webp", "jpeg"])
    def test_an_overlay(self, client: TestClient, kind: str) -> None:
        answer = client.post("/v1/segment", content=saved(pixels()), headers={"accept": f"image/{kind}"})
        assert answer.headers["content-type"] == f"image/{kind}"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert (picture.format, picture.size) == (kind.upper(), (64, 48))

    def test_upright_as_exif_says(self, client: TestClient) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        answer = client.post("/v1/segment", content=saved(pixels(), "JPEG", exif=exif))
        with Image.open(io.BytesIO(answer.content)) as mask:
            assert mask.size == (48, 64)

    @pytest.mark.parametrize("mode", ["L", "1", "RGBA", "LA", "P", "CMYK", "I;16"])
    def test_pictures_of_other_modes(self, client: TestClient, mode: str) -> None:
        grey = Image.fromarray(pixels()[:, :, 0])
        picture = Image.new(mode, (64, 48)) if mode == "I;16" else grey.convert("RGB" if mode == "CMYK" else "L")
        picture = picture if mode == "I;16" else picture.convert(mode)
        answer = client.post("/v1/segment", content=saved(picture, "TIFF" if mode == "CMYK" else "PNG"))
        assert answer.status_code == 200, answer.text

    def test_run_lengths_of_one_class(self) -> None:
        ids, lengths = run_lengths(np.zeros((3, 5), np.uint8))
        assert (ids.tolist(), lengths.tolist()) == ([0], [15])

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("", "image/png"),
            ("*/*", "image/png"),
            ("image/*", "image/png"),
            ("application/json", "application/json"),
            ("text/html, application/json;q=0.9, */*;q=0.1", "application/json"),
            ("image/webp;q=0.5, image/jpeg", "image/jpeg"),
            ("IMAGE/PNG", "image/png"),
        ],
    )
    def test_what_accept_chooses(self, accept: str, kind: str) -> None:
        assert choose_encoder(accept)[0] == kind


class TestRefusals:
    @pytest.mark.parametrize("accept", ["text/csv", "image/png;q=0", "nonsense;q=x"])
    def test_no_such_answer(self, client: TestClient, accept: str) -> None:
        answer = client.post("/v1/segment", content=saved(pixels()), headers={"accept": accept})
        assert "image/png, application/json" in refused(answer, 406, "not_acceptable")

    def test_no_body(self, client: TestClient) -> None:
        refused(client.post("/v1/segment"), 400, "empty_body")

    def test_something_else(self, client: TestClient) -> None:
        answer = client.post("/v1/segment", content=b"hello", headers={"content-type": "text/plain"})
        assert "text/plain" in refused(answer, 415, "not_an_image")
        assert "PNG, JPEG" in refused(client.post("/v1/segment", content=b"hello" * 99), 415, "not_an_image")

    def test_formats_that_are_not_taken(self, client: TestClient) -> None:
        refused(client.post("/v1/segment", content=saved(pixels(), "GIF")), 415, "not_an_image")
        refused(client.post("/v1/segment", content=b"%!PS-Adobe-3.0 EPSF-3.0\n"), 415, "not_an_image")

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_cut_short(self, client: TestClient, kind: str) -> None:
        answer = client.post("/v1/segment", content=saved(pixels(96, 96), kind)[:-900])
        assert "damaged" in refused(answer, 400, "damaged_image")

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"files": {"note": (None, "hello")}}, "the form holds note"),
            ({"files": {"image": ("a.png", b"")}}, "image"),
        ],
    )
    def test_a_form_without_a_picture(self, client: TestClient, data: Any, words: str) -> None:
        assert words in refused(client.post("/v1/segment", **data), 400, "no_image")

    def test_a_form_that_is_none(self, client: TestClient) -> None:
        for kind in ("multipart/form-data", "multipart/form-data; boundary=abc"):
            refused(client.post("/v1/segment", content=b"no form", headers={"content-type": kind}), 400, "bad_form")

    def test_a_bomb_is_not_decoded(self, client: TestClient) -> None:
        bomb = saved(Image.new("1", (9000, 9000)))
        assert len(bomb) < 20_000
        message = refused(client.post("/v1/segment", content=bomb), 413, "too_many_pixels")
        assert "9000x9000, 81.0 million pixels; up to 4.2 million" in message
        long = saved(Image.new("1", (16_384, 40)))
        assert "sides up to 16383 pixels" in refused(client.post("/v1/segment", content=long), 413, "too_many_pixels")

    def test_a_large_body(self, registry: Registry) -> None:
        promote(registry, publish(registry))
        client = client_of(made(registry, limits={"body_mb": 0.001}))
        message = refused(client.post("/v1/segment", content=bytes(2000)), 413, "body_too_large")
        assert "larger than 0.001 MB" in message

    def test_paths_and_methods(self, client: TestClient) -> None:
        refused(client.get("/v2"), 404, "not_found")
        refused(client.get("/v1/segment"), 405, "wrong_method")
        refused(client.get("/examples/none.jpg"), 404, "not_found")

    def test_what_fails_inside_is_not_told(self, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("the secret of the house")

        monkeypatch.setattr(Predictor, "predict", fail)
        answer = client.post("/v1/segment", content=saved(pixels()), headers={"x-request-id": "my-own"})
        message = refused(answer, 500, "internal")
        assert "secret" not in answer.text
        assert "my-own" in message


class TestBodies:
    def read(self, parts: list[bytes], headers: dict[str, str], limits: LimitsSpec, *, pause_s: float = 0) -> bytes:
        async def stream() -> AsyncIterator[bytes]:
            for part in parts:
                await asyncio.sleep(pause_s)
                yield part

        return asyncio.run(read_body(stream(), headers, limits))

    def test_parts_are_joined(self) -> None:
        assert self.read([b"a", b"", b"b"], {}, LimitsSpec()) == b"ab"

    def test_a_size_that_is_announced_is_refused_before_anything_is_read(self) -> None:
        with pytest.raises(RefusedError, match="larger than 1 MB"):
            self.read([], {"content-length": "1000001"}, LimitsSpec(body_mb=1))

    def test_one_that_lies_about_its_size_is_cut_off(self) -> None:
        with pytest.raises(RefusedError, match="larger than 1 MB"):
            self.read([bytes(600_000)] * 2, {"content-length": "10"}, LimitsSpec(body_mb=1))

    def test_a_slow_sender(self) -> None:
        with pytest.raises(RefusedError, match=r"did not come within 0\.2 s \([1-3] bytes") as caught:
            self.read([b"x"] * 100, {}, LimitsSpec(body_timeout_s=0.2), pause_s=0.06)
        assert caught.value.status == 408

    def test_the_field_image_goes_before_other_files(self) -> None:
        body = (
            b'--x\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nfirst\r\n'
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="b"\r\n\r\nsecond\r\n--x--\r\n'
        )
        assert picture_of(body, "multipart/form-data; boundary=x") == b"second"


class TestKeys:
    def test_they_open_what_is_below_v1(self, registry: Registry) -> None:
        promote(registry, publish(registry))
        client = client_of(made(registry), key_hashes=[hashlib.sha256(b"sesame").hexdigest()])
        body = saved(pixels())
        refused(client.post("/v1/segment", content=body), 401, "no_key")
        for headers in ({"authorization": "Bearer open"}, {"x-api-key": "open"}):
            answer = client.post("/v1/segment", content=body, headers=headers)
            refused(answer, 401, "wrong_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        for headers in ({"authorization": "bearer sesame"}, {"x-api-key": "sesame"}):
            assert client.post("/v1/segment", content=body, headers=headers).status_code == 200
        refused(client.get("/v1/model"), 401, "no_key")
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200

    def test_other_pages_may_ask_where_the_spec_says_so(self, registry: Registry) -> None:
        promote(registry, publish(registry))
        client = client_of(made(registry, cors_origins=["https://maps.example"]))
        answer = client.get("/v1/model", headers={"origin": "https://maps.example"})
        assert answer.headers["access-control-allow-origin"] == "https://maps.example"
        answer = client.get("/v1/model", headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in answer.headers


class TestQueue:
    def test_one_more_than_may_wait_is_refused_at_once(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        promote(registry, publish(registry))
        service = made(registry, limits={"waiting": 2})
        service.follower.look()
        go = threading.Event()
        monkeypatch.setattr(Predictor, "predict", lambda _, image: go.wait(30) and image[:, :, 0] // 32)
        encoder = choose_encoder("image/png")[1]

        async def ask() -> list[Any]:
            body = saved(pixels())
            waiting = [asyncio.create_task(service.segment(body, encoder)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(RefusedError) as caught:
                await service.segment(body, encoder)
            assert caught.value.status == 429
            assert int(caught.value.headers["Retry-After"]) >= 1
            go.set()
            answers = await asyncio.gather(*waiting)
            return [*answers, await service.segment(body, encoder)]

        assert len(asyncio.run(ask())) == 3
        assert service.num_waiting == 0

    def test_who_goes_away_while_waiting_costs_nothing(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        promote(registry, publish(registry))
        service = made(registry)
        service.follower.look()
        go, seen = threading.Event(), []
        monkeypatch.setattr(
            Predictor, "predict", lambda _, image: seen.append(1) or (go.wait(30) and image[:, :, 0] // 32)
        )
        encoder = choose_encoder("image/png")[1]

        async def ask() -> None:
            first, second = (asyncio.create_task(service.segment(saved(pixels()), encoder)) for _ in range(2))
            await asyncio.sleep(0.05)
            second.cancel()
            await asyncio.sleep(0.05)
            go.set()
            await first

        asyncio.run(ask())
        service.stop()
        assert len(seen) == 1


class TestFollowing:
    def test_no_model_yet_is_a_state(self, registry: Registry) -> None:
        service = made(registry)
        client = client_of(service)
        assert client.get("/healthz").status_code == 200
        message = refused(client.get("/readyz"), 503, "no_model")
        assert "follows road@champion" in message
        assert "roadbed models promote" in message
        answer = client.post("/v1/segment", content=saved(pixels()))
        refused(answer, 503, "no_model")
        assert answer.headers["retry-after"] == "5"
        described = client.get("/v1/model").json()
        assert (described["state"], described["message"]) == ("waiting", message)
        promote(registry, publish(registry))
        service.follower.look()
        assert client.get("/readyz").json() == {"status": "ready", "model": "road:1"}

    def test_a_promotion_is_taken_up(self, registry: Registry) -> None:
        metrics = Counted()
        promote(registry, publish(registry))
        service = made(registry, metrics)
        client = client_of(service)
        promote(registry, publish(registry, seed=1))
        assert client.post("/v1/segment", content=saved(pixels())).headers["x-model"] == "road:1"
        service.follower.look()
        assert client.post("/v1/segment", content=saved(pixels())).headers["x-model"] == "road:2"
        assert metrics.values["roadbed_serve_model_version"] == 2
        assert metrics.values["roadbed_serve_swaps"] == 1
        described = client.get("/v1/model").json()
        assert (described["model"], described["state"], described["failed"]) == ("road:2", "ready", None)
        assert described["classes"][3]["name"] == CAMVID_11.class_names[3]
        assert described["scores"]["miou"] == 0.5

    def test_what_the_version_learnt_from_is_told(self, registry: Registry) -> None:
        metrics = Counted()
        facts = {"uri": "s3://roadbed/datasets/camvid", "digest": "0" * 64, "split": "val"}
        promote(registry, publish(registry, dataset=facts | {"class_shares": {"Sky": 0.2, "Road": 0.8}}))
        service = made(registry, metrics)
        service.follower.look()
        assert metrics.values["roadbed_serve_training_share/Road"] == 0.8
        promote(registry, publish(registry, dataset=facts | {"class_shares": {"Road": 1.0}}))
        service.follower.look()
        assert metrics.values["roadbed_serve_training_share/Road"] == 1.0
        assert metrics.values["roadbed_serve_training_share/Sky"] == 0.0, "of a class that is gone"

    def test_one_that_cannot_be_loaded_leaves_the_old_one(self, registry: Registry) -> None:
        metrics, clock = Counted(), Clock()
        promote(registry, publish(registry))
        service = made(registry, metrics, clock)
        client = client_of(service)
        second = publish(registry, seed=1)
        store = registry.resolve(f"road:{second}").store
        whole = store.get("weights.safetensors")
        store.put("weights.safetensors", whole[:-1] + b"!")
        promote(registry, second)
        for _ in range(3):
            service.follower.look()
        assert client.post("/v1/segment", content=saved(pixels())).headers["x-model"] == "road:1"
        failed = client.get("/v1/model").json()["failed"]
        assert failed["model"] == "road:2"
        assert "weights.safetensors: sha256" in failed["reason"]
        assert metrics.values["roadbed_serve_swap_failures"] == 1, "it is not tried again at every look"
        store.put("weights.safetensors", whole)
        service.follower.look()
        assert service.follower.serving.name == "road:1"
        clock.now += 61
        service.follower.look()
        assert service.follower.serving.name == "road:2"
        assert client.get("/v1/model").json()["failed"] is None

    def test_a_store_that_is_away_leaves_the_model(self, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
        promote(registry, publish(registry))
        service = made(registry)
        client = client_of(service)
        monkeypatch.setattr(Registry, "resolve", lambda *_: (_ for _ in ()).throw(OSError("no route")))
        service.follower.look()
        assert client.get("/readyz").status_code == 200
        assert "no route" in client.get("/v1/model").json()["failed"]["reason"]

    def test_it_looks_by_itself(self, registry: Registry) -> None:
        promote(registry, publish(registry))
        service = made(registry, follow_s=0.05)
        service.follower.start()
        swapped = threading.Event()
        service.follower._metrics = type("Sink", (), {"set": lambda *_: None, "add": lambda *_: swapped.set()})()
        promote(registry, publish(registry, seed=1))
        assert swapped.wait(30)
        service.stop()
        assert not service.follower._thread.is_alive()

    def test_a_pinned_version_stays(self, registry: Registry) -> None:
        promote(registry, publish(registry))
        service = made(registry, model="road:1")
        service.follower.look()
        promote(registry, publish(registry, seed=1))
        service.follower.look()
        assert service.follower.serving.name == "road:1"


class TestRest:
    def test_request_ids(self, client: TestClient) -> None:
        assert client.get("/healthz", headers={"x-request-id": "mine.1"}).headers["x-request-id"] == "mine.1"
        ids = {
            client.get("/healthz", headers={"x-request-id": "a b\t" + "x" * 99}).headers["x-request-id"] for _ in "ab"
        }
        assert len(ids) == 2
        assert all(len(text) == 16 for text in ids)

    def test_the_openapi_document_has_examples(self, client: TestClient) -> None:
        document = client.get("/openapi.json").json()
        operation = document["paths"]["/v1/segment"]["post"]
        assert {"200", "400", "413", "415", "429", "503"} <= set(operation["responses"])
        assert operation["responses"]["429"]["content"]["application/json"]["example"]["error"]["code"] == "overloaded"
        assert "image/jpeg" in operation["requestBody"]["content"]
        assert json.dumps(document)

    def test_the_page_and_its_examples(self, client: TestClient) -> None:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        for path in client.get("/v1/model").json()["examples"]:
            with Image.open(io.BytesIO(client.get(path).content)) as picture:
                assert picture.size == (480, 360)


def test_the_spec_is_strict(roadbed: Callable[..., tuple[int, str, str]]) -> None:
    from roadbed.errors import UsageError

    with pytest.raises(UsageError, match=r"min 3 is more than max 2; exchange them"):
        ServeSpec.parse({"model": "road@champion", "replicas": {"min": 3}}, origin="test")
    with pytest.raises(UsageError, match="at least 64 pixels"):
        ServeSpec.parse({"model": "road@champion", "tile_px": [32, 100]}, origin="test")


def test_a_port_that_is_taken_is_told_before_anything_starts(roadbed: Callable[..., tuple[int, str, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = roadbed("serve", "road@champion", "--store", "file:///none", "--port", port)
    assert status == 2
    assert f"127.0.0.1:{port} cannot be listened at" in err
    assert "--port, 0 for any free one" in err
