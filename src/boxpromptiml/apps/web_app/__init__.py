"""The web app of ``boxpromptiml app``: try a student, draw boxes, review a cache.

``command`` defines the options, ``page`` assembles the three tabs and serves them, ``middleware`` checks requests.
``annotation_session`` (annotations of a folder), ``teacher_preview`` (the teacher on one photo) and ``cache_review`` (a
cache sorted by quality) do not depend on Gradio.
"""
