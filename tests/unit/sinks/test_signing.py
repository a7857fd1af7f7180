"""Signatures are those of the standard library, whatever the key and the content."""

import base64
import hmac

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from poller.sinks.signing import Signer


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=3), st.binary(max_size=3000))
def test_each_secret_signs_with_its_own_key(keys: list[bytes], body: bytes) -> None:
    signer = Signer(SecretStr("whsec_" + base64.b64encode(key).decode()) for key in keys)
    for at in (1, 1_764_000_000):  # the key is set up once, and signs again and again
        content = f"msg.{at}.".encode() + body
        codes = [base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys]
        assert signer.headers("msg", at, body)["webhook-signature"] == " ".join(f"v1,{code}" for code in codes)
