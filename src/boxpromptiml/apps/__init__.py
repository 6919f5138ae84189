"""Applications on top of the two stages: ablation studies, comparison, report, web app, HTTP service, W&B view."""
