"""S3, and what speaks its language: conditional writes by If-None-Match and If-Match with the ETag."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fsspec.asyn import sync

from tasks.objectclients import ABSENT, TOKEN, ObjectFacts, part_bytes
from tasks.objectfaults import error_code, http_status

_CONFLICT_TRIES = 6
_READ_TRIES = 3


class S3Client:
    """An ObjectClient for a bucket of S3, or of what speaks its language."""

    def __init__(self, files: Any, bucket: str) -> None:
        self._files, self._bucket = files, bucket

    def put(self, key: str, data: bytes, condition: str | None = None) -> bool:
        token = secrets.token_hex(8)
        extra: dict[str, Any] = {"Metadata": {TOKEN: token}}
        if condition is not None:
            extra |= {"IfNoneMatch": "*"} if condition == ABSENT else {"IfMatch": condition}
        for tries in range(_CONFLICT_TRIES):
            try:
                self._call("put_object", Key=key, Body=data, **extra)
            except OSError as error:
                status = http_status(error)
                gone = status == 404 and condition not in {None, ABSENT} and error_code(error) != "NoSuchBucket"
                if status == 412 or gone:
                    return self._is_mine(key, token)
                # Another write or delete of this key is under way: S3 asks to come again.
                if status != 409 or tries == _CONFLICT_TRIES - 1:
                    raise
                time.sleep(0.05 * 2**tries)
            else:
                return True
        return False

    def get(self, key: str) -> tuple[bytes, str] | None:
        try:
            content, tag = sync(self._files.loop, _read_object, self._files, self._bucket, key)
        except FileNotFoundError as error:
            return self._absent(error)
        return content, tag

    def stat(self, key: str) -> ObjectFacts | None:
        try:
            answer = self._call("head_object", Key=key)
        except FileNotFoundError as error:
            return self._absent(error)
        return ObjectFacts(int(answer["ContentLength"]), answer["ETag"], answer.get("Metadata", {}))

    def listing(self, prefix: str, delimiter: str) -> tuple[dict[str, int], set[str]]:
        sizes: dict[str, int] = {}
        folders: set[str] = set()
        more: dict[str, Any] = {"Delimiter": delimiter} if delimiter else {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            sizes |= {entry["Key"]: int(entry["Size"]) for entry in page.get("Contents", ())}
            folders |= {entry["Prefix"] for entry in page.get("CommonPrefixes", ())}
            if not page.get("IsTruncated"):
                return sizes, folders
            more["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, keys: Iterable[str]) -> None:
        wanted = list(keys)
        for start in range(0, len(wanted), 1000):
            named = [{"Key": key} for key in wanted[start : start + 1000]]
            answer = self._call("delete_objects", Delete={"Objects": named, "Quiet": True})
            for refused in answer.get("Errors", ()):
                told = f"{refused.get('Key')}: {refused.get('Code')}"
                # Anything else ("InternalError", "SlowDown") may pass.
                raise PermissionError(told) if str(refused.get("Code")).startswith("AccessDenied") else OSError(told)

    def copy(self, source: str, target: str) -> None:
        self._call("copy_object", Key=target, CopySource={"Bucket": self._bucket, "Key": source})

    def upload(self, local: Path, key: str, notes: Mapping[str, str]) -> None:
        options = {"chunksize": part_bytes(local.stat().st_size), "max_concurrency": 4, "Metadata": dict(notes)}
        self._files.put_file(str(local), f"{self._bucket}/{key}", **options)

    def download(self, key: str, local: Path) -> None:
        self._files.get_file(f"{self._bucket}/{key}", str(local))

    def abort_uploads(self, prefix: str) -> None:
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_multipart_uploads", Prefix=prefix, **more)
            for begun in page.get("Uploads", ()):
                with suppress(FileNotFoundError):  # it has ended meanwhile
                    self._call("abort_multipart_upload", Key=begun["Key"], UploadId=begun["UploadId"])
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def _call(self, method: str, **options: Any) -> Any:
        return self._files.call_s3(method, Bucket=self._bucket, **options)

    def _is_mine(self, key: str, token: str) -> bool:
        found = self.stat(key)
        return found is not None and found.notes.get(TOKEN) == token

    @staticmethod
    def _absent(error: FileNotFoundError) -> None:
        if error_code(error) == "NoSuchBucket":
            raise error


async def _read_object(files: Any, bucket: str, key: str) -> tuple[bytes, str]:
    """Content and ETag of one answer: with a second request the tag might be that of other bytes."""
    for tries in range(_READ_TRIES):
        answer = await files._call_s3("get_object", Bucket=bucket, Key=key)
        try:
            return await answer["Body"].read(), answer["ETag"]
        except Exception:  # the connection broke in the middle; the client tries again only until an answer begins
            if tries == _READ_TRIES - 1:
                raise
        finally:
            answer["Body"].close()
    raise AssertionError("unreachable")
