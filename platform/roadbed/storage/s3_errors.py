"""What botocore's exceptions mean: the one place where they become errors of roadbed.

botocore is imported on first use.
"""

from __future__ import annotations

from roadbed.errors import ConflictError, NotFoundError, RoadbedError, StoreError
from roadbed.storage.checks import file_trouble


class ConcurrentWriteError(ConflictError):
    """409: another conditional write was under way at the same moment; worth another try."""


class RangeOutsideError(StoreError):
    """416: the object ends before the range begins."""


_FORBIDDEN = {"403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed"}
_CONFLICTS = {"412", "PreconditionFailed"}
_CONCURRENT = {"409", "ConditionalRequestConflict"}
_ABSENT = {"404", "NoSuchKey", "NotFound"}


def error_code(error: BaseException) -> str | None:
    """The code of an answer of the server ("NoSuchKey", "404"), or None if there was no answer."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return None


def is_broken_body(error: Exception) -> bool:
    """Whether `error`, met while the body of an answer was read, says that it broke off or came damaged."""
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    return isinstance(error, BotoCoreError | HTTPError | OSError)


def broken_body(error: Exception, uri: str, endpoint: str) -> StoreError:
    """The error to raise when a body broke off time and again."""
    return StoreError(
        f"{uri}: the answer of {endpoint} broke off each time ({type(error).__name__}); try again, or look into the "
        "store's log and the network between"
    )


def was_sent_again(error: BaseException | None) -> bool:
    """Whether botocore sent the request more than once before it got this answer."""
    from botocore.exceptions import ClientError

    return isinstance(error, ClientError) and int(error.response["ResponseMetadata"].get("RetryAttempts", 0)) > 0


def explain(error: Exception, uri: str, bucket: str, endpoint: str) -> RoadbedError:
    """The error to raise in place of `error`, a fault of a request about `uri`."""
    code = error_code(error)
    if code is not None:
        return _explain_answer(error, code, uri, bucket, endpoint)
    return _explain_silence(error, uri, endpoint)


def _explain_answer(error: Exception, code: str, uri: str, bucket: str, endpoint: str) -> RoadbedError:
    if code == "NoSuchBucket":
        return NotFoundError(
            f"{uri}: there is no bucket {bucket} at {endpoint}; check the name, or make it with `aws s3 mb s3://{bucket}`"
        )
    if code in _ABSENT:
        return NotFoundError(f"{uri}: there is no such object at {endpoint}; check the spelling")
    if code in _CONFLICTS:
        return ConflictError(f"{uri}: was changed in the meantime at {endpoint}; read again and retry")
    if code in _CONCURRENT:
        return ConcurrentWriteError(f"{uri}: is being written by somebody else at {endpoint}; retry")
    if code in {"416", "InvalidRange"}:
        return RangeOutsideError(f"{uri}: is shorter than expected at {endpoint}; the object is cut short")
    if code in _FORBIDDEN:
        return StoreError(
            f"{uri}: {endpoint} refuses these credentials ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or "
            f"AWS_PROFILE, and that they may use the bucket {bucket}"
        )
    if code in _EXPIRED:
        return StoreError(f"{uri}: {endpoint} says {code}; renew the credentials, and check this computer's clock")
    return StoreError(f"{uri}: {endpoint} answers {code}: {error}; try again, or look into the store's log")


def _explain_silence(error: Exception, uri: str, endpoint: str) -> StoreError:
    from botocore.exceptions import (
        ConnectionError as NoConnectionError,
    )
    from botocore.exceptions import (
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )

    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return StoreError(
            f"{uri}: no credentials for {endpoint} ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE"
        )
    if isinstance(error, OSError):
        return file_trouble(uri, error)
    if isinstance(error, HTTPClientError | NoConnectionError):
        return StoreError(
            f"{uri}: {endpoint} does not answer ({type(error).__name__}); check that the store runs and that "
            "AWS_ENDPOINT_URL is its address"
        )
    return StoreError(f"{uri}: {endpoint}: {type(error).__name__}: {error}")
