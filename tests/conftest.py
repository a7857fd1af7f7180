"""What all tests share."""

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

# A new counter-example is somebody's next issue, not a reason for an unrelated change to fail.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

asyncio.set_event_loop(None)
"""pytest-asyncio 1.5 asks for the loop of before, which then makes one that nobody closes: an error of other tests."""


@pytest.fixture(autouse=True)
def quiet_logs() -> Iterator[None]:
    """Our log events go to stdlib logging, where pytest shows the warnings of a test that fails."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("poller").setLevel(logging.WARNING)
    yield
    structlog.reset_defaults()


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Dummy credentials, and nothing else of AWS in the environment or at home."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "emulated")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "emulated")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    """The address of a moto; its state is the process's, so that who ends takes along what was written."""
    from moto.server import ThreadedMotoServer
    from moto.sqs.models import Queue

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        # moto counts the whole queue anew, many times, for each message that it takes or gives
        cheap = [name for name in Queue.BASE_ATTRIBUTES if not name.startswith("Approximate")]
        patch.setattr(Queue, "BASE_ATTRIBUTES", cheap)
        try:
            yield f"http://{host}:{port}"
        finally:
            server.stop()
