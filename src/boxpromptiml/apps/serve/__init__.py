"""A trained student as a service: ``boxpromptiml serve``.

``command`` parses the options, ``service`` has the routes and what they answer, ``upload`` gets a photo out of a
request, ``batching`` asks the student about several photos at once, ``middleware`` decides which requests get there.

The service stands on FastAPI. LitServe, which was made for the purpose, gives batching and a limit on bytes; it admits
any number of requests at once, writes larger uploads to disk, listens on every address by default, and brings pyzmq and
uvloop. So most of what is here would have to be written for it as well, and the batching that it would save is short.
FastAPI (MIT) with uvicorn (BSD) is there already wherever the page is.
"""
