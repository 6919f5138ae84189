"""Build and run a Dockerfile without Docker, in a bare Debian, with the restrictions of `docker run`.

    python deploy/container.py build Dockerfile     # run COPY and RUN in a fresh build/containers/NAME
    python deploy/container.py run Dockerfile ...   # run ENTRYPOINT with more arguments, as USER
    python deploy/container.py probe Dockerfile     # start it once; print user, rights, HEALTHCHECK and end
    python deploy/container.py check Dockerfile     # build; then, without a network, probe and the load benchmark

A Space, which has no HEALTHCHECK, gets the hub's environment variables, and a photo instead of the load benchmark.

Needs Linux, root and debootstrap. Unlike Docker, the base is Debian with its own Python, not the image in FROM, and
memory is not limited. Environment variables: TORCH_INDEX and other ARGs; DEBIAN (a suite, bookworm by default); SHARED
(folders of this machine that pip needs while building, such as a mirror of packages).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/containers"
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_FILES = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl",
    "/etc/pip.conf",
    "/etc/xdg/pip",
    str(Path.home() / ".config/pip"),
]
"""Files of the host that pip needs to reach its index."""
DEVICES = ("null", "zero", "full", "random", "urandom")
HUB = {
    "SYSTEM": "spaces",
    "SPACE_ID": "me/boxpromptiml",
    "SPACE_HOST": "me-boxpromptiml.hf.space",
    "SPACE_AUTHOR_NAME": "me",
    "SPACE_REPO_NAME": "boxpromptiml",
    "SPACE_TITLE": "BoxPromptIML",
    "CPU_CORES": "2",
    "MEMORY": "16Gi",
}
"""Environment variables that the Hugging Face hub sets in a Space."""


@dataclass
class Image:
    """Contents of a Dockerfile."""

    file: Path
    user: str = "root"
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    steps: list[tuple[str, str]] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Image:
        """Parse a Dockerfile; instructions that this project does not use are an error."""
        image = cls(file.resolve())
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
            word, rest = line.split(maxsplit=1)
            if word in ("ARG", "ENV"):
                name, value = rest.split("=", 1)
                value = os.environ.get(name, value) if word == "ARG" else value
                image.steps.append((word, f"{name}={value}"))
                image.environment |= {name: value} if word == "ENV" else {}
            elif word in ("COPY", "RUN"):
                image.steps.append((word, rest))
            elif word == "USER":
                image.user = rest
            elif word == "WORKDIR":
                image.folder = rest
            elif word == "ENTRYPOINT":
                image.entrypoint = json.loads(rest)
            elif word == "HEALTHCHECK":
                image.health = json.loads(rest.split("CMD", 1)[1])
            elif word not in ("FROM", "EXPOSE"):
                sys.exit(f"{file}: {word} is no instruction that this program knows")
        return image

    @property
    def is_space(self) -> bool:
        """Whether it is run by the Hugging Face hub, which does not use HEALTHCHECK."""
        return not self.health

    @property
    def root(self) -> Path:
        """Folder of the file system."""
        return FOLDER / "-".join(self.file.relative_to(ROOT).parent.parts or ("service",))


def build(image: Image) -> None:
    """Run the steps in a fresh copy of a bare Debian."""
    base = FOLDER / "debian"
    if not (base / "usr/local/bin/pip").exists():
        shutil.rmtree(base, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        packages = "python3,python3-venv,ca-certificates"
        suite = os.environ.get("DEBIAN", "bookworm")
        _call("debootstrap", "--variant=minbase", f"--include={packages}", suite, str(base))
        _call("chroot", str(base), "python3", "-m", "venv", "/usr/local")  # where the official image has its Python
    shutil.rmtree(image.root, ignore_errors=True)
    _call("cp", "--archive", "--reflink=auto", str(base), str(image.root))
    arguments = {name: value for name, value in os.environ.items() if name.startswith("PIP_")} | {"PATH": PATH}
    for word, rest in image.steps:
        print(f"{word} {rest}", flush=True)
        if word == "COPY":
            _copy(image, rest)
        elif word == "RUN":
            _call("unshare", "--mount", "sh", "-c", _building(image, arguments, rest))
        else:
            arguments |= dict([rest.split("=", 1)])


def _building(image: Image, arguments: dict[str, str], line: str) -> str:
    """Shell code that runs a line in the root, with this machine's network and pip settings."""
    root = str(image.root)
    mounts = [f"mount --bind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
    for path in [*HOST_FILES, *os.environ.get("SHARED", "").split()]:
        if Path(path).is_dir():
            mounts.append(f"mkdir -p {root}{path} && mount --bind {path} {root}{path}")
        elif Path(path).exists():
            mounts.append(f"touch {root}{path} && mount --bind {path} {root}{path}")
    words = ["chroot", root, "env", "-i", *(f"{name}={value}" for name, value in arguments.items()), "sh", "-c", line]
    return " && ".join([*mounts, f"exec {shlex.join(words)}"])


def _copy(image: Image, rest: str) -> None:
    *names, target = rest.split()
    for name in names:
        for source in sorted(image.file.parent.glob(name)) or sys.exit(f"COPY {name}: nothing there"):
            place = image.root / target.lstrip("/")
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)


def shut_in(image: Image, command: list[str]) -> list[str]:
    """Command line that runs a command in the root, restricted as by `docker run`.

    It has its own processes and mounts, no capabilities, and can write to /tmp only. The network is the caller's.
    """
    root = str(image.root)
    mounts = [
        f"mount --bind {root} {root}",
        f"mount -t proc proc {root}/proc",
        f"echo 127.0.0.1 localhost >{root}/etc/hosts",  # as Docker writes it
        f"mount -t tmpfs tmpfs {root}/dev",
        f"mkdir -m 1777 {root}/dev/shm",
        *(f"touch {root}/dev/{name} && mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES),
        f"mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs {root}/tmp",
    ]
    if not image.is_space:  # a Space may write to its file system
        mounts.append(f"mount -o remount,bind,ro {root}")
    drop = ["--reuid", image.user, "--regid", image.user, "--init-groups", "--no-new-privs"]
    drop += ["--bounding-set=-all", "--inh-caps=-all"]
    variables = {**image.environment, **(HUB if image.is_space else {})}
    environment = [f"{name}={value}" for name, value in variables.items()]
    words = ["chroot", root, "setpriv", *drop, "env", "-i", "--chdir", image.folder, *environment, *command]
    inside = " && ".join([*mounts, f"exec {shlex.join(words)}"])
    return ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", inside]


def check(image: Image) -> None:
    """Build the image; then probe it and run the load benchmark, with loopback as the only network."""
    build(image)
    here = [sys.executable, str(Path(__file__).resolve())]
    file = str(image.file)
    inside = f"ip link set lo up && {shlex.join([*here, 'probe', file])}"
    if not image.is_space:  # the service's benchmark starts it once more
        os.environ["SERVICE"] = shlex.join([*here, "run", file])
        inside += f" && exec {shlex.join([sys.executable, str(ROOT / 'benchmarks/serve.py')])}"
    _call("unshare", "--net", "sh", "-c", inside)


def probe(image: Image) -> None:
    """Start the command once; print its user, rights, network, health check and end. Too many rights are an error."""
    started = subprocess.Popen(shut_in(image, image.entrypoint), stdout=subprocess.PIPE, text=True)
    begun = time.monotonic()
    try:
        assert started.stdout is not None
        line = next((line for line in started.stdout if "http://" in line), None) or sys.exit("it did not start")
        print(f"started in {time.monotonic() - begun:.1f} s: {line.strip()}")
        process = _children(started.pid)[0]
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
        held = {name: status[name].split()[0] for name in ("NSpid", "Uid", "CapEff", "CapBnd", "NoNewPrivs")}
        print(f"process: {held}")
        writable = _output(image, ["sh", "-c", "for d in / /usr /etc /var/tmp /tmp; do test -w $d && echo $d; done"])
        routes = Path(f"/proc/{process}/net/route").read_text().count("\n") - 1
        print(f"writable: {writable.split()}; routes to other machines: {routes}")
        if held["Uid"] == "0" or int(held["CapEff"], 16) or routes:
            sys.exit("it has rights or a network that it should not have")
        if image.is_space:
            address = "http://127.0.0.1:" + line.split("http://")[1].split("/")[0].rsplit(":", 1)[1]
            visitor = str(ROOT / "deploy/space_visitor.py")
            subprocess.run([sys.executable, visitor, address, HUB["SPACE_HOST"]], check=True)
        else:
            subprocess.run(shut_in(image, image.health), check=True)
            print("health check: passed")
        begun = time.monotonic()
        os.kill(process, 15)
        started.wait(60)
        print(f"ended in {time.monotonic() - begun:.1f} s with code {started.returncode}")
        if started.returncode:
            sys.exit("it did not end as it should")
    finally:
        started.kill()


def _output(image: Image, command: list[str]) -> str:
    return subprocess.run(shut_in(image, command), stdout=subprocess.PIPE, text=True).stdout


def _children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _call(*words: str) -> None:
    if code := subprocess.run(words).returncode:
        sys.exit(f"{shlex.join(words)}: ended with code {code}")


def main() -> None:
    """Run the action of the first argument on the Dockerfile of the second."""
    missing = [name for name in ("unshare", "chroot", "debootstrap", "ip") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        sys.exit(f"needs root, and the programs {', '.join(missing) or 'that are here'}; where there is Docker, use it")
    action, file, *more = sys.argv[1:]
    image = Image.read(Path(file))
    if action == "build":
        build(image)
    elif action == "run":
        words = shut_in(image, [*image.entrypoint, *more])
        os.execvp(words[0], words)
    else:
        {"probe": probe, "check": check}[action](image)


if __name__ == "__main__":
    main()
