"""The page of ``boxpromptiml app``: try a student, draw boxes, look through a cache.

``command`` parses the options, ``page`` puts the three tabs together and serves them, ``middleware`` decides which
requests reach the server. ``annotation_session`` (what was annotated), ``teacher_preview`` (the teacher on one photo)
and ``cache_review`` (a cache, worst first) know nothing of web pages.
"""
