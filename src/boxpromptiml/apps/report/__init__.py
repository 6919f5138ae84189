"""The command ``boxpromptiml report``: an HTML page about a run."""
