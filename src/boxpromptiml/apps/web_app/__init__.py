"""The page of ``boxpromptiml app``: try a student, draw boxes, look through a cache.

``command`` is the door, ``page`` puts the three tabs together and serves them, ``guard`` stands before the server.
``session`` (what was annotated), ``preview`` (the teacher on one photo) and ``ranking`` (a cache, worst first) know
nothing of web pages.
"""
