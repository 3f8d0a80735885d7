"""Google Cloud Storage by its JSON interface: conditional writes by ifGenerationMatch with the generation, 0 for absent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tasks.objectclients import ABSENT, TOKEN, ObjectFacts, part_bytes


class GcsClient:
    """An ObjectClient for a bucket of Google Cloud Storage."""

    def __init__(self, files: Any, bucket: str) -> None:
        self._files, self._bucket = files, bucket

    def put(self, key: str, data: bytes, condition: str | None = None) -> bool:
        token = secrets.token_hex(8)
        about = json.dumps({"name": key, "metadata": {TOKEN: token}}).encode()
        wanted = {} if condition is None else {"ifGenerationMatch": "0" if condition == ABSENT else condition}
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n".encode()
        middle = f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
        try:
            self._files.call(
                "POST",
                self._files.base.replace("/storage/v1/", f"/upload/storage/v1/b/{quote(self._bucket)}/o"),
                uploadType="multipart",
                headers={"Content-Type": f"multipart/related; boundary={boundary}"},
                data=head + about + middle + data + f"\r\n--{boundary}--".encode(),
                **wanted,
            )
        except FileExistsError:  # 412, the precondition failed
            found = self.stat(key)
            return found is not None and found.notes.get(TOKEN) == token
        except FileNotFoundError:
            raise FileNotFoundError("there is no such bucket") from None
        return True

    def get(self, key: str) -> tuple[bytes, str] | None:
        try:
            headers, content = self._files.call("GET", "b/{}/o/{}", self._bucket, key, alt="media")
        except FileNotFoundError:
            return None
        return content, headers["X-Goog-Generation"]

    def stat(self, key: str) -> ObjectFacts | None:
        try:
            found = self._files.call("GET", "b/{}/o/{}", self._bucket, key, json_out=True)
        except FileNotFoundError:
            return None
        return ObjectFacts(int(found["size"]), str(found["generation"]), found.get("metadata", {}))

    def listing(self, prefix: str, delimiter: str) -> tuple[dict[str, int], set[str]]:
        sizes: dict[str, int] = {}
        folders: set[str] = set()
        token: str | None = None
        while True:
            page = self._files.call(
                "GET", "b/{}/o", self._bucket, prefix=prefix, delimiter=delimiter or None, pageToken=token, json_out=True
            )
            sizes |= {entry["name"]: int(entry["size"]) for entry in page.get("items", ())}
            folders |= set(page.get("prefixes", ()))
            token = page.get("nextPageToken")
            if not token:
                return sizes, folders

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                self._files.call("DELETE", "b/{}/o/{}", self._bucket, key)
            except FileNotFoundError:
                continue

    def copy(self, source: str, target: str) -> None:
        self._files.cp_file(f"{self._bucket}/{source}", f"{self._bucket}/{target}")

    def upload(self, local: Path, key: str, notes: Mapping[str, str]) -> None:
        options = {"chunksize": part_bytes(local.stat().st_size), "metadata": dict(notes)}
        self._files.put_file(str(local), f"{self._bucket}/{key}", **options)

    def download(self, key: str, local: Path) -> None:
        self._files.get_file(f"{self._bucket}/{key}", str(local))

    def abort_uploads(self, prefix: str) -> None:
        """Google forgets them by itself, after a week."""
