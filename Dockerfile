# `boxpromptiml serve` on a CPU, as a user without rights, with the released student:
#
#   docker build -t boxpromptiml .
#   docker run --rm -p 127.0.0.1:8000:8000 --memory 4g --cap-drop ALL --read-only --tmpfs /tmp boxpromptiml
#
# With a student of your own, a folder that `calibrate` or `Localizer.save` wrote:
#
#   docker run ... -v "$PWD/mine/model:/model:ro" boxpromptiml --checkpoint /model
#
# With --cpus 2 add -e OMP_NUM_THREADS=2: torch counts the machine's cores.
#
# For a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple, and docker run --gpus all.
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir torch torchvision --index-url "$TORCH_INDEX"

COPY pyproject.toml README.md LICENSE /build/
COPY configs /build/configs
COPY src /build/src
COPY stage1_pseudomask /build/stage1_pseudomask
COPY stage2_distill /build/stage2_distill
RUN pip install --no-cache-dir '/build[serve]' && rm -r /build && useradd --system --no-create-home boxpromptiml

USER boxpromptiml
WORKDIR /tmp
ENV HOME=/tmp
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# Inside the container every address is the container's own; `docker run -p` decides who may reach it.
ENTRYPOINT ["boxpromptiml", "serve", "--host", "0.0.0.0", "--port", "8000"]
