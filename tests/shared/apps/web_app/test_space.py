"""The Hugging Face Space: its files refer to existing things, and its command starts the app as on the hub."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[4]
SPACE = ROOT / "deploy/space"
LINES = re.sub(r"\\\n", " ", (SPACE / "Dockerfile").read_text(encoding="utf-8")).splitlines()


def of(instruction):
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{instruction} ")]


def test_its_card_and_its_dockerfile_agree():
    card = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert card["sdk"] == "docker"
    assert of("EXPOSE") == [str(card["app_port"])]
    assert of("USER") == ["user"]
    assert "--uid 1000" in " ".join(of("RUN"))  # user id under which the hub runs a Space
    assert len(card["short_description"]) <= 60


def test_its_command_serves_the_released_student_in_the_frame_of_the_hub(tmp_path):
    program, *words = json.loads(of("ENTRYPOINT")[0])
    assert program == "boxpromptiml"
    words[words.index("--port") + 1] = "0"  # any free port
    command = [sys.executable, "-m", "boxpromptiml.cli", *words]
    hub = os.environ | {"SYSTEM": "spaces", "SPACE_ID": "me/boxpromptiml", "SPACE_HOST": "me-boxpromptiml.hf.space"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, cwd=tmp_path, env=hub) as process:
        try:
            assert "the released one" in process.stdout.readline()
            port = re.search(r":(\d+)/", process.stdout.readline()).group(1)
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "me-boxpromptiml.hf.space"})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert answer.status == 200
                assert "frame-ancestors https://huggingface.co;" in answer.headers["content-security-policy"]
        finally:
            process.terminate()
            process.stdout.read()
            complaints = process.stderr.read()
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in complaints  # Gradio would reload code in Spaces
    assert not any(tmp_path.iterdir())
