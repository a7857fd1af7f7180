"""What the service refuses, by the names and HTTP statuses of its model.

The last rows are not in the model of HealthOmics: AWS sends them before a request reaches the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HTTP_STATUS: Final[Mapping[str, int]] = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "RequestTimeoutException": 408,
    "ConflictException": 409,
    "ThrottlingException": 429,
    "InternalServerException": 500,
    "ExpiredTokenException": 403,
    "ExpiredToken": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationToken": 403,
    "UnknownOperationException": 404,
    "ServiceUnavailableException": 503,
}
MODELLED: Final = tuple(HTTP_STATUS)[:8]

MESSAGES: Final[Mapping[str, str]] = {
    "ValidationException": "The request is not valid.",
    "ServiceQuotaExceededException": "A service quota is exceeded.",
    "AccessDeniedException": "User is not authorized to perform this operation.",
    "ResourceNotFoundException": "The resource was not found.",
    "RequestTimeoutException": "The request timed out.",
    "ConflictException": "The request conflicts with the state of the resource.",
    "ThrottlingException": "Rate exceeded",
    "InternalServerException": "An internal error occurred.",
    "ExpiredTokenException": "The security token included in the request is expired",
    "ExpiredToken": "The security token included in the request is expired",
    "UnrecognizedClientException": "The security token included in the request is invalid.",
    "InvalidSignatureException": "The request signature does not match the signature you provided.",
    "MissingAuthenticationToken": "Missing Authentication Token",
    "ServiceUnavailableException": "Service unavailable.",
}


class Refused(Exception):
    """The service says no: `code` is the exception's name on the wire, `message` its sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def not_valid(member: str, value: object, constraint: str) -> Refused:
    """A ValidationException in the wording that AWS services use."""
    return Refused(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}",
    )


def not_found(what: str) -> Refused:
    """There is none of that name; `what`: such as "Run 1234567"."""
    return Refused("ResourceNotFoundException", f"{what} not found")
