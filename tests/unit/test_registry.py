"""The registry over a file store: publishing, references, gates, aliases. Races: contract/test_fencing.py."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from roadbed.errors import ConflictError, DamagedError, NotFoundError, RoadbedError, StoreError, UsageError
from roadbed.registry import Gates, Registry, failed_gates, looks_like_reference
from roadbed.storage import Store, open_store


@pytest.fixture
def root(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


@pytest.fixture
def registry(root: Store) -> Registry:
    return Registry(root, clock=lambda: 1_000.0)


def card(miou: float | None = 0.5, *, digest: str = "00ff", split: str = "val", **ious: float | None) -> dict[str, Any]:
    return {
        "scores": {"miou": miou, "pixel_accuracy": 0.9, "iou_per_class": ious or {"Road": miou}},
        "dataset": {"uri": "s3://roadbed/datasets/camvid", "digest": digest, "split": split},
    }


def publish(registry: Registry, *mious: float, name: str = "road") -> None:
    for miou in mious:
        registry.publish(name, {"model.safetensors": b"weights"}, card(miou))


def test_an_empty_registry(registry: Registry) -> None:
    assert registry.names() == []
    assert registry.versions("road") == []
    assert registry.aliases("road") == {}
    assert registry.alias_history("road", "champion") == []
    with pytest.raises(
        NotFoundError, match=r"^road@champion: there is no model road, nor any other under file:.*train"
    ):
        registry.resolve("road@champion")


def test_a_version_is_what_was_published(registry: Registry, root: Store, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"from a file")
    version = registry.publish("road", {"model.safetensors": b"weights", "report/a.png": tmp_path / "big"}, card())
    assert (version.name, version.number, version.uri) == ("road", 1, f"{root.uri}/models/road/versions/1")
    for reference in ("road:1", version.uri, f"{version.uri}/", f"{tmp_path}/models/road/versions/1"):
        found = registry.resolve(reference)
        assert found.files == ["card.json", "model.safetensors", "report/a.png"]
        assert found.get("model.safetensors") == b"weights"
        assert found.get("report/a.png") == b"from a file"
        assert found.num_bytes("model.safetensors") == 7
        assert found.sha256("model.safetensors") == hashlib.sha256(b"weights").hexdigest()
        assert found.card() == card()
    found.download("report/a.png", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"from a file"
    with pytest.raises(NotFoundError, match=r"has no file weights; it has card.json, model.safetensors, report/a.png"):
        found.get("weights")


def test_a_version_of_another_root_is_found_by_its_uri(registry: Registry, tmp_path: Path) -> None:
    other = Registry(open_store(str(tmp_path / "other")))
    version = other.publish("town", {}, card())
    assert registry.resolve(version.uri).uri == version.uri
    with pytest.raises(NotFoundError, match=r"versions/7: no such version; town has versions 1 and no alias"):
        registry.resolve(version.uri.replace("versions/1", "versions/7"))


def test_a_publication_that_broke_off_is_no_version(registry: Registry, root: Store) -> None:
    publish(registry, 0.5)
    with pytest.raises(StoreError):
        registry.publish("road", {"a": b"x", "a/b": b"cannot be, as a is a file"}, card())
    assert registry.versions("road") == [1]
    with pytest.raises(NotFoundError, match=r"road:2: no such version; road has versions 1 and no alias"):
        registry.resolve("road:2")
    publish(registry, 0.6)
    assert registry.versions("road") == [1, 3]


def test_damaged_files_are_told(registry: Registry, root: Store) -> None:
    publish(registry, 0.5)
    root.put("models/road/versions/1/model.safetensors", b"Weights")
    with pytest.raises(DamagedError, match=r"versions/1/model.safetensors: sha256 is [0-9a-f]{64}, expected"):
        registry.resolve("road:1").get("model.safetensors")
    root.put("models/road/versions/1/card.json", b"{}")
    with pytest.raises(DamagedError, match=r"versions/1/card.json: sha256 is"):
        registry.resolve("road:1").card()
    root.put("models/road/versions/1/manifest.json", b"{}")
    with pytest.raises(DamagedError, match=r"versions/1/manifest.json: names no files"):
        registry.resolve("road:1")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "a@b", "-a"])
def test_names_that_are_none(registry: Registry, name: str) -> None:
    with pytest.raises(UsageError, match="is no name for a model"):
        registry.publish(name, {}, card())


@pytest.mark.parametrize("file", ["card.json", "manifest.json", "claim.json"])
def test_the_files_of_the_registry_itself_cannot_be_given(registry: Registry, file: str) -> None:
    with pytest.raises(UsageError, match=f"{file} is written by the registry itself"):
        registry.publish("road", {file: b""}, card())
    assert registry.names() == []


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("road@champion", True),
        ("road:3", True),
        ("s3://roadbed/models/road/versions/3", True),
        ("out/models/road/versions/3/", True),
        ("imagenet", False),
        ("weights.safetensors", False),
        ("s3://roadbed/weights.safetensors", False),
        ("road:new", False),
        ("road@", False),
    ],
)
def test_what_looks_like_a_reference(registry: Registry, text: str, is_one: bool) -> None:
    assert looks_like_reference(text) is is_one
    if not is_one:
        with pytest.raises(UsageError, match=r"does not name a version of a model; write NAME@ALIAS, NAME:NUMBER"):
            registry.resolve(text)


def test_errors_say_what_there_is_instead(registry: Registry) -> None:
    publish(registry, 0.5, 0.6)
    publish(registry, 0.5, name="town")
    registry.promote("road", 2, gates=Gates(), by="me")
    with pytest.raises(
        NotFoundError, match=r"^road:3: no such version; road has versions 1, 2 and aliases champion -> 2"
    ):
        registry.resolve("road:3")
    with pytest.raises(NotFoundError, match=r"^road@chmpion: no such version; road has versions 1, 2 and aliases"):
        registry.resolve("road@chmpion")
    with pytest.raises(NotFoundError, match=r"^raod:1: there is no model raod under .*; did you mean road\?"):
        registry.resolve("raod:1")
    with pytest.raises(NotFoundError, match=r"^sign:1: there is no model sign under .*; there are road, town"):
        registry.resolve("sign:1")
    with pytest.raises(NotFoundError, match=r"^road:9: no such version"):
        registry.promote("road", 9, gates=Gates(), by="me")


def test_an_alias_moves_and_keeps_its_history(registry: Registry) -> None:
    publish(registry, 0.5, 0.6)
    registry.promote("road", 1, gates=Gates(), by="anna", reason="the first")
    registry.promote("road", 2, gates=Gates(), by="ben")
    registry.promote("road", 1, alias="canary", gates=Gates(), by="ben")
    assert registry.aliases("road") == {"canary": 1, "champion": 2}
    assert registry.resolve("road@champion").number == 2
    assert registry.alias_history("road", "champion") == [
        {"version": 1, "by": "anna", "at": 1_000.0, "reason": "the first", "failed_gates": []},
        {"version": 2, "by": "ben", "at": 1_000.0, "reason": "", "failed_gates": []},
    ]


def test_promoting_what_is_promoted_changes_nothing(registry: Registry) -> None:
    publish(registry, 0.5)
    for _ in range(2):
        registry.promote("road", 1, gates=Gates(), by="me")
    assert len(registry.alias_history("road", "champion")) == 1


def test_a_worse_version_is_refused_with_the_figures_unless_forced(registry: Registry) -> None:
    publish(registry, 0.6, 0.4)
    registry.promote("road", 1, gates=Gates(), by="me")
    with pytest.raises(RoadbedError) as refusal:
        registry.promote("road", 2, gates=Gates(), by="me")
    assert str(refusal.value) == (
        "road:2 is not promoted to champion:\n"
        "  mIoU is 40.0 %, the present version has 60.0 % (allowed drop 1.0 %)\n"
        "  IoU of Road is 40.0 %, the present version has 60.0 % (allowed drop 10.0 %)\n"
        "Train a better one, or pass --force to promote it anyway"
    )
    assert registry.aliases("road") == {"champion": 1}
    registry.promote("road", 2, gates=Gates(), force=True, by="me", reason="a demonstration")
    assert registry.aliases("road") == {"champion": 2}
    last = registry.alias_history("road", "champion")[-1]
    assert (last["reason"], len(last["failed_gates"])) == ("a demonstration", 2)


def test_a_promotion_that_comes_second_is_told_who_won(registry: Registry, root: Store) -> None:
    publish(registry, 0.5, 0.5, 0.5)
    registry.promote("road", 1, gates=Gates(), by="me")

    class Overtaken(Registry):
        def _read_alias(self, key: str) -> Any:
            seen = super()._read_alias(key)
            if registry.aliases("road") == {"champion": 1}:
                registry.promote("road", 2, gates=Gates(), by="ben")
            return seen

    with pytest.raises(ConflictError, match=r"^road:3 is not promoted to champion: ben moved the alias to version 2"):
        Overtaken(root).promote("road", 3, gates=Gates(), by="me")
    assert registry.aliases("road") == {"champion": 2}


def test_an_alias_file_is_readable_json(registry: Registry, root: Store) -> None:
    publish(registry, 0.5)
    registry.promote("road", 1, gates=Gates(), by="me")
    document = json.loads(root.get("models/road/aliases/champion.json"))
    assert (document["name"], document["alias"], document["version"]) == ("road", "champion", 1)


def test_gates_pass_what_is_good() -> None:
    assert failed_gates(card(0.5), None, Gates()) == []
    assert failed_gates(card(0.5, Road=0.9, Pole=None), card(0.505, Road=0.95, Pole=None), Gates()) == []
    assert failed_gates(card(0.5, Road=0.9, Sign=0.1), card(0.5, Road=0.9), Gates()) == []


@pytest.mark.parametrize(
    ("here", "there", "gates", "said"),
    [
        (card(0.2), None, Gates(min_miou=0.3), ["mIoU is 20.0 %, the floor is 30.0 %"]),
        (card(None), None, Gates(), ["has no mIoU: no class occurred in its evaluation"]),
        (
            card(0.5, Road=0.9, Pole=0.04, Sign=None),
            None,
            Gates(min_class_iou=0.05),
            ["IoU of Pole is 4.0 %, the floor is 5.0 %"],
        ),
        (
            card(0.5, Road=0.9, Pole=None),
            card(0.5, Road=0.9, Pole=0.2),
            Gates(),
            ["IoU of Pole is 0.0 %, the present version has 20.0 % (allowed drop 10.0 %)"],
        ),
        (
            card(0.5, Road=0.9),
            card(0.5, Road=0.9, Pole=0.2),
            Gates(),
            ["does not know the class Pole that the present version knows"],
        ),
        (
            card(0.9, split="train"),
            card(0.5),
            Gates(),
            ["cannot be compared with the present version: scored on split train, the present version on val"],
        ),
        (
            card(0.9, digest="aaaa"),
            card(0.5),
            Gates(),
            [
                "cannot be compared with the present version: scored on another dataset "
                "(s3://roadbed/datasets/camvid, digest aaaa) than the present version "
                "(s3://roadbed/datasets/camvid, digest 00ff)"
            ],
        ),
    ],
)
def test_gates_refuse_in_words(here: Any, there: Any, gates: Gates, said: list[str]) -> None:
    assert failed_gates(here, there, gates) == said
