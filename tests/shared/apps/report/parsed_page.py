"""An HTML page as its tests look at it."""

import base64
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
from PIL import Image


class Page(HTMLParser):
    """Parsed page: tags, the URLs they contain, and text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.addresses, self.text, self.images = [], [], [], {}
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [
            values[key] for key in ("src", "href", "srcset", "action", "data", "poster") if key in values
        ]
        if tag == "img":
            self.images[values["alt"]] = values["src"]

    def handle_data(self, data):
        self.text.append(data)

    def output(self):
        return " ".join(" ".join(self.text).split())

    def picture(self, title, file):
        uri = next(src for alt, src in self.images.items() if alt.startswith(title) and file in alt)
        return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))))
