"""Keep the image store's files in a bucket of an S3-compatible object store."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, BinaryIO, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import StoreAway, StoreFull, TranslatableError
from shared.settings import PREFIX, Settings
from shared.store.folder import INCOMING, Found, RaiseStoreAway, RaiseStoreFull, Unusable, reopen

CONNECT_SECONDS: Final = 3
READ_SECONDS: Final = 15
ATTEMPTS: Final = 3
CHECK_SECONDS: Final = 2
_CONNECTIONS: Final = 32  # as many as the web has threads

_ABSENT: Final = {"NoSuchKey", "404"}
# Most stores answer 507; exceeded quotas of Ceph and MinIO give 403 and 400.
_FULL: Final = {"QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}
_ADVICE: Final = {
    "NoSuchBucket": TranslatableError("Make the bucket, or correct %(setting)s.", setting=f"{PREFIX}STORE_URL"),
    "AccessDenied": TranslatableError(
        "Give the account of %(setting)s the right to read, write, list and delete there.",
        setting=f"{PREFIX}STORE_ACCESS_KEY",
    ),
    "InvalidAccessKeyId": TranslatableError("Correct %(setting)s.", setting=f"{PREFIX}STORE_ACCESS_KEY"),
    "SignatureDoesNotMatch": TranslatableError("Correct %(setting)s.", setting=f"{PREFIX}STORE_SECRET_KEY"),
}
_OTHER_ADVICE: Final = TranslatableError("Try again in a moment.")


class BucketFiles:
    """Files as objects under one prefix of a bucket: one request to put an image, one to get it."""

    def __init__(self, settings: Settings) -> None:
        assert settings.store_url is not None  # noqa: S101  # checked by shared.store.store
        self._settings = settings
        self._spool = settings.store / INCOMING
        self._spool_place = TranslatableError("The folder %(folder)s of X-rays on their way in", folder=self._spool)
        self.place = TranslatableError("The image store %(url)s", url=settings.store_url)
        self._bucket, _, prefix = settings.store_url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def __str__(self) -> str:
        return str(self.place)

    @cached_property
    def _client(self) -> Any:
        return self._connect(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, attempts=ATTEMPTS)

    @cached_property
    def _probe(self) -> Any:
        """Return a client with short timeouts, for health checks."""
        return self._connect(connect_timeout=CHECK_SECONDS, read_timeout=CHECK_SECONDS, attempts=1)

    def _connect(self, *, connect_timeout: int, read_timeout: int, attempts: int) -> Any:
        config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=_CONNECTIONS,
            tcp_keepalive=True,
            # Not all other stores support the checksums that boto3 adds by default since 1.36.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if self._settings.store_endpoint else "auto"},
        )
        secrets = (self._settings.store_access_key, self._settings.store_secret_key)
        name, secret = [value.get_secret_value() if value else None for value in secrets]
        # A separate session: boto3's default one is not thread-safe.
        return boto3.session.Session(name, secret, region_name=self._settings.store_region).client(
            "s3", endpoint_url=self._settings.store_endpoint, config=config
        )

    @contextmanager
    def receive(self) -> Iterator[BinaryIO]:
        """Open a file without a name on this machine: it is gone with its process, however that ends."""
        with RaiseStoreAway(self._spool_place):
            self._spool.mkdir(parents=True, exist_ok=True)
            opened = tempfile.TemporaryFile(dir=self._spool)  # noqa: SIM115  # closed below, outside this `with`
        with RaiseStoreFull(), opened as file:
            yield file

    def keep(self, file: BinaryIO, path: str, others: Sequence[str] = ()) -> None:  # noqa: ARG002  # see `force`
        """Put a received file as one object; readers see either the old or the complete new one."""
        file.flush()
        with reopen(file) as body, self._answers():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=body)

    def force(self, paths: Sequence[str]) -> None:
        """Do nothing: an object is durable once put."""

    def write(self, path: str, data: bytes) -> None:
        """Put an object."""
        with self._answers():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=data)

    def create(self, folder: str) -> None:
        """Do nothing: buckets are created by their owner, and a missing one raises its own error."""

    def has(self, folder: str) -> bool:  # noqa: ARG002  # a bucket has no folders
        """Return True: a bucket has no folders that could be missing."""
        return True

    def read(self, path: str, most: int) -> bytes:
        """Get an object."""
        try:
            with self._answers():
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
                if answer["ContentLength"] > most:
                    answer["Body"].close()
                    raise Unusable(f"{path} has more than {most:,} bytes.")
                return bytes(answer["Body"].read())
        except StoreAway as error:
            if _code(error.__cause__) in _ABSENT:
                raise FileNotFoundError(f"{path} is not in the bucket.") from error
            raise

    def version(self, path: str) -> object:  # noqa: ARG002  # checking takes a request, like reading
        """Return None: reading costs no more than checking."""
        return None

    def remove(self, path: str) -> None:
        """Delete an object; one at a time, as not every store supports the checksum that bulk deletion requires."""
        with self._answers():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path)

    def holds(self, path: str) -> bool:
        """Check for an object by a HEAD request."""
        return self._head(path) is not None

    def remove_older(self, path: str, before: datetime) -> bool:
        """Check an object's age, then delete it: one stored between these two requests is lost."""
        head = self._head(path)
        if head is not None and head["LastModified"] >= before:
            return False
        if head is not None:
            self.remove(path)
        return True

    def _head(self, path: str) -> dict[str, Any] | None:
        try:
            with self._answers():
                head: dict[str, Any] = self._client.head_object(Bucket=self._bucket, Key=self._prefix + path)
                return head
        except StoreAway as error:
            if _code(error.__cause__) in _ABSENT:
                return None
            raise

    def list(self, folder: str) -> Iterator[Found]:
        """List a folder's objects, a thousand per request."""
        with self._answers():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/"
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    yield Found(item["Key"].removeprefix(self._prefix), item["Size"], item["LastModified"])

    def check(self) -> None:
        """Put one byte."""
        with self._answers():
            self._probe.put_object(Bucket=self._bucket, Key=f"{self._prefix}check", Body=b"0")

    def remove_unfinished(self, before: datetime) -> int:  # noqa: ARG002  # see `receive`
        """Return 0: partly received files have no name and leave nothing."""
        return 0

    @contextmanager
    def _answers(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == HTTPStatus.INSUFFICIENT_STORAGE or code in _FULL:
                raise StoreFull(
                    "The image store has no room left. Make room there and send the X-rays again."
                ) from error
            advice = _ADVICE.get(code, _OTHER_ADVICE)
            raise StoreAway(
                "%(store)s refused a request (%(code)s). %(advice)s", store=self.place, code=code, advice=advice
            ) from error
        except BotoCoreError as error:
            raise StoreAway(
                "%(store)s does not answer (%(problem)s). Try again in a moment.",
                store=self.place,
                problem=type(error).__name__,
            ) from error


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
