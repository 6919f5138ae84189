"""What lies above the two stages: studies, the report, the web app, the HTTP service."""
