"""One contract, kept by every store: a folder and a real S3 server."""

from __future__ import annotations

import hashlib
import pickle
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roadbed.errors import ConflictError, DamagedError, NotFoundError, StoreError, UsageError
from roadbed.storage import Store, get_json, get_json_with_etag, open_store, put_json

WRITERS = 4
MANY = 1100  # More than one page of an S3 listing.


class StoreContract:
    """What the two classes below inherit; `store` is empty and nobody else's."""

    def test_what_was_put_is_got(self, store: Store) -> None:
        etag = store.put("a/b.bin", b"\x00road")
        assert store.get("a/b.bin") == b"\x00road"
        assert store.get_with_etag("a/b.bin") == (b"\x00road", etag)
        assert store.exists("a/b.bin")

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert store.exists("empty")
        assert [info.num_bytes for info in store.list()] == [0]

    def test_put_replaces(self, store: Store) -> None:
        first = store.put("a", b"old")
        assert store.put("a", b"new") != first
        assert store.get("a") == b"new"

    def test_a_missing_object_is_told_by_its_uri(self, store: Store) -> None:
        for read in (store.get, store.get_with_etag, lambda key: store.get_range(key, 0, 1)):
            with pytest.raises(NotFoundError, match=f"^{store.uri}/absent: there is no such object"):
                read("absent")
        assert not store.exists("absent")

    def test_the_sum_of_what_is_got_is_checked(self, store: Store) -> None:
        store.put("a", b"road")
        good = hashlib.sha256(b"road").hexdigest()
        assert store.get("a", sha256=good) == b"road"
        with pytest.raises(DamagedError, match=rf"^{store.uri}/a: sha256 is {good}, expected 00ff"):
            store.get("a", sha256="00ff")

    def test_a_range_is_exact_or_an_error(self, store: Store) -> None:
        store.put("a", b"0123456789")
        assert store.get_range("a", 3, 4) == b"3456"
        assert store.get_range("a", 10, 0) == b""
        for start, num_bytes in ((8, 4), (10, 1), (99, 5)):
            with pytest.raises(DamagedError, match=rf"has \d bytes from byte {start}, expected {num_bytes}"):
                store.get_range("a", start, num_bytes)

    def test_create_only_once(self, store: Store) -> None:
        store.put_if("claim", b"first", etag=None)
        with pytest.raises(ConflictError, match="/claim: exists already"):
            store.put_if("claim", b"second", etag=None)
        assert store.get("claim") == b"first"

    def test_swap_only_what_was_seen(self, store: Store) -> None:
        seen = store.put_if("pointer", b"1", etag=None)
        moved = store.put_if("pointer", b"2", etag=seen)
        with pytest.raises(ConflictError, match="/pointer: was changed in the meantime"):
            store.put_if("pointer", b"3", etag=seen)
        store.put_if("pointer", b"4", etag=moved)
        assert store.get("pointer") == b"4"

    def test_swap_of_what_is_gone_loses(self, store: Store) -> None:
        etag = store.put("pointer", b"1")
        store.delete("pointer")
        with pytest.raises(ConflictError, match="/pointer: was deleted in the meantime"):
            store.put_if("pointer", b"2", etag=etag)
        assert not store.exists("pointer")

    def test_of_several_creators_one_wins(self, store: Store) -> None:
        for number in range(5):
            outcomes = _at_once(lambda writer, key=f"claim-{number}": _try_put_if(store, key, writer, etag=None))
            assert sorted(outcomes) == [False] * (WRITERS - 1) + [True]
            assert store.get(f"claim-{number}") == b"%d" % outcomes.index(True)

    def test_no_swap_is_lost_among_several_writers(self, store: Store) -> None:
        store.put("count", b"0")

        def count_up(_writer: int) -> int:
            done = 0
            while done < 10:
                data, etag = store.get_with_etag("count")
                try:
                    store.put_if("count", b"%d" % (int(data) + 1), etag=etag)
                except ConflictError:
                    continue
                done += 1
            return done

        assert _at_once(count_up) == [10] * WRITERS
        assert store.get("count") == b"%d" % (10 * WRITERS)

    def test_files_go_up_and_come_down(self, store: Store, tmp_path: Path) -> None:
        # Large enough for several parts of a multipart upload.
        data = bytes(range(256)) * 4096 * 40
        (tmp_path / "up").write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        store.upload(tmp_path / "up", "big/file.bin", sha256=sha256)
        store.download("big/file.bin", tmp_path / "new" / "down", sha256=sha256)
        assert (tmp_path / "new" / "down").read_bytes() == data
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["down"]
        assert [(info.key, info.num_bytes) for info in store.list()] == [("big/file.bin", len(data))]
        assert store.get_range("big/file.bin", 20_000_000, 4) == data[20_000_000:20_000_004]

    def test_a_damaged_file_is_not_sent(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "up").write_bytes(b"road")
        with pytest.raises(DamagedError, match=r"/up: sha256 is [0-9a-f]{64}, expected 00ff"):
            store.upload(tmp_path / "up", "file", sha256="00ff")
        assert not store.exists("file")

    def test_a_damaged_download_leaves_no_file(self, store: Store, tmp_path: Path) -> None:
        store.put("file", b"road")
        (tmp_path / "down").write_bytes(b"before")
        with pytest.raises(DamagedError, match="/file: sha256 is"):
            store.download("file", tmp_path / "down", sha256="00ff")
        with pytest.raises(NotFoundError, match="/absent: there is no such object"):
            store.download("absent", tmp_path / "down")
        assert (tmp_path / "down").read_bytes() == b"before"
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["down"]

    def test_files_of_this_computer_that_cannot_be_used_are_named(self, store: Store, tmp_path: Path) -> None:
        store.put("file", b"road")
        (tmp_path / "in-the-way").touch()
        with pytest.raises(StoreError, match=rf"^{store.uri}/up: No such file.* \({tmp_path}/absent\); check the path"):
            store.upload(tmp_path / "absent", "up")
        with pytest.raises(StoreError, match=rf"^{store.uri}/file: .* \({tmp_path}/in-the-way.*\); check the path"):
            store.download("file", tmp_path / "in-the-way" / "down")
        assert not store.exists("up")

    def test_listings_are_sorted_and_relative(self, store: Store) -> None:
        keys = ["a-b/x", "a/x", "a/y/z", "a.txt", "b", "train-00001.tar", "train-00000.tar", "Ü/ü"]
        for key in keys:
            store.put(key, key.encode())
        assert [info.key for info in store.list()] == sorted(keys)
        assert [info.key for info in store.list("a/")] == ["a/x", "a/y/z"]
        assert [info.key for info in store.list("train-")] == ["train-00000.tar", "train-00001.tar"]
        assert [info.key for info in store.list("a")] == ["a-b/x", "a.txt", "a/x", "a/y/z"]
        assert [info.key for info in store.list("nothing")] == []
        assert [info.num_bytes for info in store.list("b")] == [1]
        assert all(abs(info.modified_at - next(store.list()).modified_at) < 60 for info in store.list())

    def test_folders_are_those_directly_below(self, store: Store) -> None:
        for key in ("attempts/0001/claim.json", "attempts/0002/a/b", "attempts/file", "spec.yaml"):
            store.put(key, b"x")
        assert store.list_folders() == ["attempts"]
        assert store.list_folders("attempts") == store.list_folders("attempts/") == ["0001", "0002"]
        assert store.list_folders("attempts/0001") == []
        assert store.list_folders("nothing") == []

    def test_long_listings_are_whole(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.put(f"many/{number:05d}/x", b""), range(MANY)))
        assert [info.key for info in store.list("many/")] == [f"many/{number:05d}/x" for number in range(MANY)]
        assert store.list_folders("many") == [f"{number:05d}" for number in range(MANY)]

    def test_delete_forgives_what_is_not_there(self, store: Store) -> None:
        store.put("folder/a", b"x")
        store.put("folder/b", b"x")
        store.delete("folder/a")
        store.delete("folder/a")
        store.delete("nothing/at/all")
        assert [info.key for info in store.list()] == ["folder/b"]

    def test_a_store_copies_by_itself(self, store: Store) -> None:
        source, target = store.child("from"), store.child("to")
        for key in ("a/b.bin", "Ü ü/a+b%20c"):
            source.put(key, key.encode())
            target.put(key, b"before")
            read_before = target.stats.bytes_read
            assert target.copy_from(source, key)
            assert target.stats.bytes_read == read_before
            assert target.get(key) == source.get(key) == key.encode()
        assert [info.key for info in target.list()] == ["a/b.bin", "Ü ü/a+b%20c"]
        with pytest.raises(NotFoundError, match=f"^{source.uri}/absent: there is no such object"):
            target.copy_from(source, "absent")
        assert not target.exists("absent")

    @pytest.mark.parametrize("key", ["", "/a", "a/", "../a", "a/../b", "a//b", ".", "a\0b"])
    def test_keys_that_are_none_are_refused(self, store: Store, key: str) -> None:
        for use in (store.get, store.exists, store.delete, lambda key: store.put(key, b"")):
            with pytest.raises(UsageError, match="is not a key"):
                use(key)

    def test_a_child_sees_its_folder_alone(self, store: Store) -> None:
        child = store.child("runs/quick").child("attempts/")
        child.put("a", b"x")
        assert child.uri == f"{store.uri}/runs/quick/attempts"
        assert store.get("runs/quick/attempts/a") == b"x"
        assert [info.key for info in child.list()] == ["a"]
        assert store.child("").uri == store.uri
        with pytest.raises(UsageError, match="is not a key"):
            store.child("../other")

    def test_its_uri_opens_it_again(self, store: Store) -> None:
        store.put("a", b"x")
        assert open_store(store.uri).get("a") == b"x"
        assert open_store(store.uri + "/").uri == store.uri
        assert pickle.loads(pickle.dumps(store)).get("a") == b"x"

    def test_documents(self, store: Store) -> None:
        etag = put_json(store, "status.json", {"b": 1, "a": "ü"})
        assert store.get("status.json") == '{\n "a": "ü",\n "b": 1\n}\n'.encode()
        assert get_json(store, "status.json") == {"a": "ü", "b": 1}
        assert get_json_with_etag(store, "status.json") == ({"a": "ü", "b": 1}, etag)
        store.put("list.json", b"[1]")
        store.put("cut.json", b'{"a":')
        with pytest.raises(DamagedError, match=r"/list\.json: holds a JSON list, expected an object"):
            get_json(store, "list.json")
        with pytest.raises(DamagedError, match=r"/cut\.json: is not JSON"):
            get_json(store, "cut.json")


class TestFileStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(f"file://{tmp_path}/store")

    def test_what_a_killed_writer_left_is_found_and_taken_away(self, store: Store, tmp_path: Path) -> None:
        store.put("runs/a.bin", b"whole")
        left = tmp_path / "store" / "runs" / ".roadbed-b-2.bin-0123456789abcdef"
        left.write_bytes(b"half")
        assert store.child("elsewhere").unfinished_uploads() == []
        (found,) = store.unfinished_uploads()
        assert (found.key, found.num_bytes) == ("runs/b-2.bin", 4)
        assert found.touched_at == pytest.approx(left.stat().st_mtime)
        for _ in range(2):
            store.discard_upload(found)
        assert store.unfinished_uploads() == []
        assert store.get("runs/a.bin") == b"whole"


@pytest.mark.s3
class TestS3Store(StoreContract):
    @pytest.fixture
    def store(self, s3_server: object) -> Store:
        return open_store(f"s3://roadbed/contract/{uuid.uuid4().hex}")

    def test_uploads_that_never_ended_are_found_and_taken_away(self, store: Store) -> None:
        import boto3

        client = boto3.client("s3")
        prefix = store.uri.removeprefix("s3://roadbed/")
        for number in range(3):
            asked = {"Bucket": "roadbed", "Key": f"{prefix}/big-{number}"}
            upload = client.create_multipart_upload(**asked)["UploadId"]
            if number:
                client.upload_part(**asked, UploadId=upload, PartNumber=1, Body=b"x" * number)
        store.put("whole", b"x")
        assert store.child("elsewhere").unfinished_uploads() == []
        found = store.unfinished_uploads()
        assert [(upload.key, upload.num_bytes) for upload in found] == [("big-0", 0), ("big-1", 1), ("big-2", 2)]
        assert all(abs(upload.touched_at - time.time()) < 600 for upload in found)
        for upload in (found[0], found[0], found[1]):
            store.discard_upload(upload)
        assert store.unfinished_uploads() == [found[2]]

    def test_a_bucket_that_is_not_there_is_told_with_the_remedy(self, store: Store) -> None:
        elsewhere = open_store("s3://no-such-bucket/runs")
        uses: list[Callable[[], object]] = [
            lambda: elsewhere.get("a"),
            lambda: elsewhere.put("a", b""),
            lambda: elsewhere.put_if("a", b"", etag=None),
            lambda: elsewhere.put_if("a", b"", etag='"00"'),
            lambda: elsewhere.exists("a"),
            lambda: list(elsewhere.list()),
            lambda: elsewhere.list_folders(),
            lambda: elsewhere.upload(Path(__file__), "a"),
        ]
        for use in uses:
            with pytest.raises(
                NotFoundError, match=r"no bucket no-such-bucket at http://.*aws s3 mb s3://no-such-bucket.*AWS_PROFILE"
            ):
                use()

    def test_nothing_is_copied_between_stores_of_two_kinds_or_places(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = open_store(str(tmp_path))
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        elsewhere = open_store(store.uri)
        for place in (store, folder, elsewhere):
            place_is_asked = [other for other in (store, folder, elsewhere) if other is not place]
            assert [place.copy_from(other, "a") for other in place_is_asked] == [False, False]
        assert not store.exists("a")

    def test_a_copy_into_a_bucket_that_is_not_there_names_it(self, store: Store) -> None:
        store.put("a", b"x")
        with pytest.raises(NotFoundError, match="no bucket no-such-bucket at"):
            open_store("s3://no-such-bucket/runs").copy_from(store, "a")

    def test_wrong_keys_are_told_with_the_remedy(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(
            StoreError, match=r"refuses these credentials \(SignatureDoesNotMatch\).*AWS_SECRET_ACCESS_KEY"
        ):
            open_store(store.uri).get("a")
        with pytest.raises(StoreError, match=r"refuses these credentials \(403\)"):
            open_store(store.uri).exists("a")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        with pytest.raises(StoreError, match=r"refuses these credentials \(InvalidAccessKeyId\)"):
            open_store(store.uri).put("a", b"")


def _at_once(work: Callable[[int], object]) -> list[object]:
    """What `work(writer)` gave for each of WRITERS writers that begin at the same moment."""
    barrier = threading.Barrier(WRITERS)

    def begin(writer: int) -> object:
        barrier.wait()
        return work(writer)

    with ThreadPoolExecutor(WRITERS) as pool:
        return [*pool.map(begin, range(WRITERS))]


def _try_put_if(store: Store, key: str, writer: int, *, etag: str | None) -> bool:
    try:
        store.put_if(key, b"%d" % writer, etag=etag)
    except ConflictError:
        return False
    return True
