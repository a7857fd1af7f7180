"""Standard Webhooks signatures: secrets as they are written, and what is signed with them.

Source: github.com/standard-webhooks, spec/standard-webhooks.md; several signatures in one header let a secret change
without a gap.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, SecretStr
from pydantic_core import CoreSchema

from poller.core.values import Secret

PREFIX: Final = "whsec_"
MOST: Final = 8
"""Signatures of one request: a change of secrets needs two, and headers have limits."""


def signing_key(secret: str) -> bytes:
    """The bytes to sign with: what follows whsec_ as base64, padded or not.

    Raises: ValueError, which says what is wrong and does not show the secret.
    """
    if not secret.startswith(PREFIX):
        raise ValueError(f"a signing secret begins with {PREFIX}, and this one does not")
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError(f"what follows {PREFIX} in a signing secret is base64, and this is not")
    return key


class Signer:
    """Signs with each of some secrets."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        # a key that is set up once: half of what a signature costs
        self._keyed = [hmac.new(signing_key(secret.get_secret_value()), digestmod="sha256") for secret in secrets]

    def headers(self, identity: str, at: int, body: bytes) -> dict[str, str]:
        """The headers of one attempt, made at `at` (seconds since 1970); without a secret no signature."""
        headers = {"webhook-id": identity, "webhook-timestamp": str(at)}
        if self._keyed:
            content = b"%b.%d.%b" % (identity.encode(), at, body)
            headers["webhook-signature"] = " ".join(_signature(keyed, content) for keyed in self._keyed)
        return headers


def _signature(keyed: hmac.HMAC, content: bytes) -> str:
    signing = keyed.copy()
    signing.update(content)
    return "v1," + base64.b64encode(signing.digest()).decode()


def _secret(secret: Secret) -> Secret:
    signing_key(secret.get_secret_value())
    return secret


class _OneOrMore:
    """One secret is a list of one."""

    @staticmethod
    def read(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return value
        if isinstance(value, str | SecretStr):
            return (value,)
        raise ValueError("expected text, in quotes, or a list of texts")

    @staticmethod
    def __get_pydantic_json_schema__(core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(core_schema)
        return {"anyOf": [many["items"], many]}


Secrets = Annotated[
    tuple[Annotated[Secret, AfterValidator(_secret)], ...],
    Field(min_length=1, max_length=MOST),
    BeforeValidator(_OneOrMore.read),
    _OneOrMore,
]
"""A signing secret, or a list of them while one changes."""
