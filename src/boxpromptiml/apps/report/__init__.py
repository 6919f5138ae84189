"""The command ``boxpromptiml report``: one HTML page about a run."""
