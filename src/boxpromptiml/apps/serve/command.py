"""The command ``boxpromptiml serve``."""

from __future__ import annotations

import importlib.util
import socket
import sys
import warnings

from boxpromptiml.apps.http_security import LOOPBACK
from boxpromptiml.apps.serve.request_limits import RequestLimits
from boxpromptiml.core.limits import Port, within_limits
from boxpromptiml.core.records import InputError
from boxpromptiml.runtime.signals import exits_on_sigterm
from stage2_distill.inference import released


@within_limits
@exits_on_sigterm()
def serve(
    checkpoint: str = released.NAME,
    host: str = "127.0.0.1",
    port: Port = 8000,
    backend: released.Backend = "torch",
    limits: RequestLimits = RequestLimits(),
) -> int:
    """Serve a student over HTTP: POST a photo to /localize to get masks, scores and regions.

    The service listens on the loopback address, has no authentication and stores nothing: photos are processed in
    memory. /health reports its status, /docs and /openapi.json describe its interface. Ctrl-C or SIGTERM
    stops it: photos already being processed are answered; all others are refused with status 503.

    Args:
        checkpoint: released for the student that comes with the package, a .ckpt file written by `boxpromptiml fit`, a
            folder with a calibrated or saved student, or its OWNER/NAME on the Hugging Face hub.
        host: address to listen on. With any other than 127.0.0.1, everyone who can reach this machine can use the
            service.
        port: port to listen on; 0 for any free one.
        backend: torch, or onnx for ONNX Runtime (extra `export`), which is faster on a CPU and converts each student
            once.
        limits: limits of requests.
    """
    needed = ("fastapi", "fastapi_offline", "uvicorn", "python_multipart")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the service needs {' and '.join(missing)}; install with: pip install 'boxpromptiml[serve]'")
    import torch

    from boxpromptiml.apps.serve.server import server
    from boxpromptiml.apps.serve.service import service
    from stage2_distill.inference.localizer import load_named

    warnings.filterwarnings("ignore", module="PIL")  # warnings about users' photos would fill the log
    localizer = load_named(checkpoint, backend)
    if backend == "torch" and torch.cuda.is_available():
        localizer = localizer.to("cuda")
    ours = host in LOOPBACK
    app = service(localizer, limits, LOOPBACK if ours else None)
    with _listening(host, port) as listener:
        if not ours:
            print(
                f"boxpromptiml serve: {host} is not a loopback address: anyone who can reach this machine can "
                "use the service, without encryption or a password; put a proxy that authenticates users in "
                "front of it",
                file=sys.stderr,
            )
        print(f"{_address(listener)}  (documentation at /docs, Ctrl-C to stop)", flush=True)
        try:
            server(app, limits).run([listener])
        except KeyboardInterrupt:  # raised by uvicorn after it has finished pending requests
            print("closed")
    return 0


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{host}: cannot listen on port {port} ({reason}); choose another --host or --port") from None


def _address(listener: socket.socket) -> str:
    name, port, *_ = listener.getsockname()
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
