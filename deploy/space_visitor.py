"""Send the web app of a Space a forged photo as a visitor's page does, behind the hub's proxy, and check its answer.

    python deploy/space_visitor.py http://127.0.0.1:7860 me-boxpromptiml.hf.space

The second argument is the name of the Space's site, which the proxy passes on. Prints how the mask agrees with the
forgery; ends with an error if anything is not as on the hub.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from boxpromptiml.apps.web_app.example_photo import forged_photo

FRAME = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
SESSION, BOUNDARY = "visitor", "part-of-a-form"
MOST_SECONDS = 300


def main(address: str, host: str) -> None:
    """Open the page in the hub's frame, drop a photo, and compare the mask with the truth."""
    visitor = Visitor(urlsplit(address).netloc, host)
    policy = visitor.get("/", FRAME)[1]["content-security-policy"]
    if "frame-ancestors https://huggingface.co;" not in policy:
        sys.exit(f"the hub may not embed the page: {policy}")
    config = json.loads(visitor.get("/config")[0])
    if config["root"] != f"https://{host}":
        sys.exit(f"the page does not know where it is: {config['root']}")
    photo, truth = forged_photo()
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=95)
    begun = time.monotonic()
    told = json.dumps(visitor.dropped(config, stream.getvalue()))
    links = re.findall(r'download=\\"[^"]*_mask\.png\\" href=\\"data:image/png;base64,([^"\\]+)', told)
    if len(links) != 1:
        sys.exit(f"no mask in the answer: {told[:500]}")
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(links[0])))) > 0
    if mask.shape != truth.shape or not mask.any():
        sys.exit(f"the mask has {mask.shape}, {mask.sum()} pixels; the photo has {truth.shape}")
    print(
        f"a photo, answered in {time.monotonic() - begun:.1f} s: mask of {mask.shape[1]} × {mask.shape[0]}, "
        f"{mask.mean():.1%} of it marked, IoU with the forgery {(mask & truth).sum() / (mask | truth).sum():.2f}"
    )


class Visitor:
    """A browser's requests as they leave the hub's proxy.

    Args:
        address: host and port of the Space.
        host: name of its site on the hub.
    """

    def __init__(self, address: str, host: str) -> None:
        self.address = address
        self.proxied = {"Host": host, "X-Forwarded-Host": host, "X-Forwarded-Proto": "https"}
        self.by_page = {"Origin": f"https://{host}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[bytes, http.client.HTTPMessage]:
        """Return body and headers of a resource, requested by the page unless headers say something else."""
        answer = self._asked("GET", path, headers=headers)
        return answer.read(), answer.headers

    def dropped(self, config: dict[str, Any], content: bytes) -> Any:
        """Drop a photo file on the tab Localize and return what the page then shows."""
        (file,) = (part for part in config["components"] if part["props"].get("elem_id") == "photo")
        (event,) = (each for each in config["dependencies"] if [file["id"], "upload"] in each["targets"])
        values = {part["id"]: part["props"].get("value") for part in config["components"]}
        form = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n'
        body = form.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        (path,) = json.load(self._posted("/gradio_api/upload", body, f"multipart/form-data; boundary={BOUNDARY}"))
        sent = {"path": path, "orig_name": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
        data = [sent if part == file["id"] else values[part] for part in event["inputs"]]
        call = {"data": data, "fn_index": event["id"], "session_hash": SESSION, "trigger_id": file["id"]}
        self._posted("/gradio_api/queue/join", json.dumps(call).encode(), "application/json")
        return next(each["output"]["data"] for each in self._events() if each["msg"] == "process_completed")

    def _events(self) -> Iterator[dict[str, Any]]:
        stream = self._asked("GET", f"/gradio_api/queue/data?session_hash={SESSION}")
        yield from (json.loads(line[5:]) for line in stream if line.startswith(b"data:"))

    def _posted(self, path: str, body: bytes, kind: str) -> http.client.HTTPResponse:
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        return self._asked("POST", path, body, self.by_page | headers)

    def _asked(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.address, timeout=MOST_SECONDS)
        connection.putrequest(method, path, skip_host=True)
        for name, value in (self.proxied | (headers or self.by_page)).items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(f"{method} {path}: status {answer.status}, {answer.read(500)!r}")
        return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
