"""What an object store's client raises -> StorageError, of one line and without anything that must stay secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import StorageError, StorageFault, fault_of
from tasks.location import without_credentials
from vsalign.errors import InputError

_SECRET_NAMES = re.compile(r"SECRET|TOKEN|PASSWORD|ACCESS_KEY|CREDENTIAL|PASSPHRASE|APIKEY|API_KEY|PRIVATE_KEY")
_FULL_CODES = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage", "507"}
_DENIED_CLASSES = ("Credential", "RefreshError", "GoogleAuthError", "ProfileNotFound", "TokenRetrieval", "UnauthorizedSSO")


#: Faults of ours, not of a store.
_BUGS = (TypeError, AttributeError, LookupError, AssertionError, NameError)


@contextmanager
def faults_told(location: str) -> Iterator[None]:
    """Within this block what a client raises becomes StorageError; its own words, which may hold secrets, go no further."""
    try:
        yield
    except (StorageError, InputError, *_BUGS):
        raise
    except FileNotFoundError as error:
        if error.errno is not None:  # of a file on this machine, or told as such already
            raise
        raise storage_error(location, error) from None
    except Exception as error:
        raise storage_error(location, error) from None


def storage_error(location: str, error: BaseException) -> StorageError:
    """``error``, from a client of objects, as a fault of the storage at ``location``."""
    return StorageError(location, _fault(error), _why(error))


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error, where there was one."""
    for cause in _chain(error):
        status = _number(getattr(cause, "status", None)) or _number(getattr(cause, "code", None))
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            status = _number(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        if status:
            return status
    return None


def error_code(error: BaseException) -> str:
    """The store's own word for an error ("NoSuchBucket"); "" where it gave none."""
    for cause in _chain(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def scrubbed(text: str) -> str:
    """``text`` in one line, without the values of secrets in the environment or in addresses."""
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET_NAMES.search(name.upper()):
            text = text.replace(value, "***")
    text = without_credentials(text)
    text = re.sub(r"(?i)([?&][^=&\s]*(?:signature|credential|token|secret|key)[^=&\s]*=)[^&\s\"']+", r"\1***", text)
    return " ".join(text.split())[:300]


def _fault(error: BaseException) -> StorageFault:
    status, code = http_status(error), error_code(error)
    faults = {fault_of(cause.errno) for cause in _chain(error) if isinstance(cause, OSError)}
    if code in _FULL_CODES or status == 507 or "full" in faults:
        return "full"
    names = " ".join(type(cause).__name__ for cause in _chain(error))
    refused = isinstance(error, PermissionError) or str(error).startswith("Forbidden") or status in {401, 403}
    return "denied" if refused or "denied" in faults or any(name in names for name in _DENIED_CLASSES) else "unreachable"


def _why(error: BaseException) -> str:
    if error_code(error) == "NoSuchBucket":
        return "there is no such bucket"
    code, text = error_code(error), scrubbed(str(error))
    if not text:
        return type(error).__name__
    return f"{code}: {text}" if code and not code.isdigit() and code not in text else text


def _chain(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdigit()) else None
