"""A service of AWS as a client shows it, for what moto cannot be made to say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

Script = Callable[[str, dict[str, Any]], dict[str, Any]]


class Client:
    """Notes each call, and answers as its script says: (operation, arguments) -> answer, or an exception."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or (lambda operation, arguments: {})
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        async def call(**arguments: Any) -> dict[str, Any]:
            self.calls.append((operation, arguments))
            return self.script(operation, arguments)

        return call


class AwsTools:
    """A toolbox that hands out one client, and remembers how it was asked for it."""

    clock: Any = None
    directory = Path()

    def __init__(self, client: Client) -> None:
        self.client = client
        self.asked: list[dict[str, Any]] = []

    async def http(self, **_: bool) -> Any:
        raise NotImplementedError

    async def aws_client(self, service: str, **arguments: Any) -> Any:
        self.asked.append({"service": service, **arguments})
        return self.client


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Anything")


def always(error: Exception) -> Script:
    """Whatever is asked: this error."""

    def script(operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        raise error

    return script
