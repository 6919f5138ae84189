"""A trained student as an HTTP service: ``boxpromptiml serve``.

``command`` defines the options, ``service`` the routes and responses, ``upload`` extracts a photo from a request,
``batching`` combines photos into batches, ``middleware`` checks requests.

The service uses FastAPI. LitServe, which is designed for such services, provides batching and a byte limit; but it
accepts any number of concurrent requests, writes larger uploads to disk, listens on all addresses by default, and
depends on pyzmq and uvloop. Most of this package would be needed with it as well, and batching takes little code.
FastAPI (MIT) and uvicorn (BSD) are already installed with the web app.
"""
