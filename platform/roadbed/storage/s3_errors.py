"""What botocore's exceptions mean: which may pass, and the one place where they become errors of roadbed.

botocore is imported on first use.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from roadbed.errors import ConflictError, NotFoundError, RoadbedError, StoreError
from roadbed.storage.checks import file_trouble
from roadbed.storage.s3_body import WrongLengthError


class ConcurrentWriteError(ConflictError):
    """409: another conditional write was under way at the same moment; worth another try."""


class RangeOutsideError(StoreError):
    """416: the object ends before the range begins."""


_PASSING_STATUS = {429, 500, 502, 503, 504}
# What S3 answers with a status of 4xx though the same request may succeed a moment later.
_PASSING = {
    "BadDigest",
    "IncompleteBody",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_FORBIDDEN = {"403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
# Answers to HEAD have no body that could name their reason.
_MUTE = {"400", "401", "403"}
_SKEWED = "RequestTimeTooSkewed"
_CONFLICTS = {"412", "PreconditionFailed"}
_CONCURRENT = {"409", "ConditionalRequestConflict"}
_ABSENT = {"404", "NoSuchKey", "NotFound"}


def error_code(error: BaseException | None) -> str | None:
    """The code of an answer of the server ("NoSuchKey", "404"), or None if there was no answer."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return None


def fault_name(error: Exception) -> str:
    """What to call a failed sending in a list of them: the answer's code, or the exception's class."""
    return error_code(error) or type(error).__name__


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a moment later: a busy or restarting store, a broken connection or body."""
    from botocore.exceptions import ClientError, FlexibleChecksumError, HTTPClientError, IncompleteReadError
    from botocore.exceptions import ConnectionError as NoConnectionError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, ClientError):
        metadata = error.response.get("ResponseMetadata", {})
        return metadata.get("HTTPStatusCode") in _PASSING_STATUS or error_code(error) in _PASSING
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        # Files of this computer; but botocore's own errors of connections are also OSErrors.
        return isinstance(error, HTTPClientError | NoConnectionError)
    broken = (FlexibleChecksumError, HTTPClientError, IncompleteReadError, NoConnectionError, ResponseParserError)
    return isinstance(error, (*broken, HTTPError, WrongLengthError, ConnectionError, TimeoutError))


def is_expired(error: Exception) -> bool:
    """Whether the answer says that these credentials, good before, are no longer: worth waiting for new ones."""
    return error_code(error) in {*_EXPIRED, "InvalidAccessKeyId"}


def may_be_expired(error: Exception) -> bool:
    """Whether the answer may mean expired credentials or something else: worth a look for new ones."""
    return error_code(error) in {*_MUTE, "SignatureDoesNotMatch"}


def explain(error: Exception, uri: str, bucket: str, endpoint: str, *, history: str = "") -> RoadbedError:
    """The error to raise in place of `error`, a fault of a request about `uri`.

    `history` says how often the request was sent and what it met, if it was sent more than once.
    """
    code = error_code(error)
    if code is not None:
        return _explain_answer(error, code, uri, bucket, endpoint, history)
    return _explain_silence(error, uri, endpoint, history)


def _explain_answer(error: Exception, code: str, uri: str, bucket: str, endpoint: str, history: str) -> RoadbedError:
    if code == "NoSuchBucket":
        elsewhere = ", or set AWS_PROFILE if AWS's own S3 is meant" if "//127.0.0.1" in endpoint else ""
        return NotFoundError(
            f"{uri}: there is no bucket {bucket} at {endpoint}; check the name, or make it with `aws s3 mb "
            f"s3://{bucket}`{elsewhere}"
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
            f"{uri}: {endpoint} refuses these credentials ({code}){history}; check AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY or AWS_PROFILE, and that they may use the bucket {bucket}"
        )
    if code in _EXPIRED:
        return StoreError(f"{uri}: {endpoint} says {code}{history}; renew the credentials (environment or ~/.aws)")
    if code == _SKEWED:
        return StoreError(
            f"{uri}: {endpoint} refuses requests of this computer, whose clock {_skew(error)} ({code}); set the clock, "
            "for instance with `timedatectl set-ntp true`"
        )
    return StoreError(f"{uri}: {endpoint} answers {code}: {error}{history}; try again, or look into the store's log")


def _skew(error: Exception) -> str:
    """How this computer's clock differs from the Date header of an answer, in words."""
    headers = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        skew_s = round(time.time() - parsedate_to_datetime(headers["date"]).timestamp())
    except (KeyError, ValueError):
        return "differs from the store's"
    return f"is {abs(skew_s)} s {'ahead of' if skew_s > 0 else 'behind'} the store's"


def _explain_silence(error: Exception, uri: str, endpoint: str, history: str) -> StoreError:
    from botocore.exceptions import ConnectionError as NoConnectionError
    from botocore.exceptions import (
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
        ResponseStreamingError,
    )

    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return StoreError(
            f"{uri}: no credentials for {endpoint} ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE"
        )
    is_silence = isinstance(error, HTTPClientError | NoConnectionError)
    if isinstance(error, ResponseStreamingError) or (may_pass(error) and not is_silence):
        return StoreError(
            f"{uri}: the answer of {endpoint} broke off each time ({type(error).__name__}){history}; try again, or "
            "look into the store's log and the network between"
        )
    if is_silence:
        return StoreError(
            f"{uri}: {endpoint} does not answer ({type(error).__name__}){history}; check that the store runs and that "
            "AWS_ENDPOINT_URL is its address"
        )
    if isinstance(error, OSError):
        return file_trouble(uri, error)
    return StoreError(f"{uri}: {endpoint}: {type(error).__name__}: {error}; try again, or look into the store's log")
