"""Answers as they go over HTTP: REST-JSON for HealthOmics, XML for STS, and what a fault makes of them."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Final, NoReturn
from urllib.parse import parse_qs
from uuid import uuid4
from xml.sax.saxutils import escape

from aiohttp import web

from poller.emulator.errors import HTTP_STATUS, MESSAGES, Refused
from poller.emulator.faults import Fault, spoiled
from poller.emulator.requests import Answer

JSON: Final = "application/json"
XML: Final = "text/xml"
PAGE_OF_A_PROXY: Final = b"<html><body><h1>Bad Gateway</h1></body></html>"
IDENTITY: Final = "GetCallerIdentity"
STS: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # linger for 0 seconds: a close sends RST, not FIN


def good(answer: Answer, operation: str = "") -> web.Response:
    content_type = XML if operation == IDENTITY else JSON
    headers = {"x-amzn-RequestId": _request_id()}
    return web.Response(status=answer.status, body=answer.body, content_type=content_type, headers=headers)


def error(
    code: str,
    message: str | None = None,
    *,
    operation: str = "",
    http_status: int | None = None,
    named_in: str = "header",
    retry_after: float | None = None,
) -> web.Response:
    """An error as the protocol of the operation writes it: XML for STS, else JSON with the name in a header or in the
    body.
    """
    text = message if message is not None else MESSAGES.get(code, code)
    status = http_status if http_status is not None else HTTP_STATUS.get(code, 400)
    headers = {"x-amzn-RequestId": _request_id()}
    if retry_after is not None:
        headers["Retry-After"] = f"{retry_after:g}"
    if operation == IDENTITY:
        body = (
            f'<ErrorResponse xmlns="{STS}"><Error><Type>Sender</Type><Code>{escape(code)}</Code>'
            f"<Message>{escape(text)}</Message></Error><RequestId>{headers['x-amzn-RequestId']}</RequestId></ErrorResponse>"
        )
        return web.Response(status=status, text=body, content_type=XML, headers=headers)
    members = {"message": text}
    if named_in == "body" and code:
        members["__type"] = f"com.amazonaws.omics#{code}"
    elif code:
        headers["x-amzn-ErrorType"] = code
    return web.Response(status=status, body=json.dumps(members).encode(), content_type=JSON, headers=headers)


def faulty(fault: Fault, operation: str) -> web.Response:
    """The answer of a fault of the kind "error"."""
    return error(
        fault.code,
        fault.message,
        operation=operation,
        http_status=fault.http_status,
        named_in=fault.named_in,
        retry_after=fault.retry_after,
    )


def identity(body: bytes, account_id: str) -> Answer:
    """sts:GetCallerIdentity: the query protocol, answered in XML. Raises: Refused for another action."""
    action = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    if action != IDENTITY:
        raise Refused("InvalidAction", f"Could not find operation {action}")
    account = escape(account_id)
    return Answer(
        200,
        f'<GetCallerIdentityResponse xmlns="{STS}"><GetCallerIdentityResult>'
        f"<Arn>arn:aws:sts::{account}:assumed-role/Lab/ana</Arn><UserId>AROAEMULATEDEMULATED:ana</UserId>"
        f"<Account>{account}</Account></GetCallerIdentityResult>"
        f"<ResponseMetadata><RequestId>{_request_id()}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>".encode(),
    )


async def spoil(request: web.BaseRequest, answer: Answer, fault: Fault) -> web.StreamResponse:
    """A good answer after a fault that alters it."""
    status = fault.http_status or answer.status
    body = spoiled(fault, answer.body)
    if fault.kind == "html":
        return web.Response(status=status, body=PAGE_OF_A_PROXY, content_type="text/html")
    if fault.kind == "cut_off":
        response = web.StreamResponse(status=status, headers={"Content-Type": JSON})
        response.content_length = max(len(answer.body), 2)
        await response.prepare(request)
        await response.write(body or b"{")
        reset(request)
    return good(Answer(status, body))


def reset(request: web.BaseRequest) -> NoReturn:
    """Break the connection: the client sees a reset, since what it sent or waits for is thrown away."""
    if request.transport is not None:
        linger = request.transport.get_extra_info("socket")
        if linger is not None:
            linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        request.transport.abort()
    raise asyncio.CancelledError


def _request_id() -> str:
    return str(uuid4())  # not the seeded chance: calls must not change lives
