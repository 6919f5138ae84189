"""The command ``boxpromptiml export``, and students as programs that run without this package."""
