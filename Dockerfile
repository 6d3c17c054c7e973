# `vlmguard serve` in a container.
#
# NEVER BUILT HERE: there is no Docker where this repository is developed. A test holds the paths,
# options and user in this file to what is in the repository (tests/guard/serving/test_container.py);
# whether the image builds and runs, nobody has seen.
#
#     docker build -t vlmguard .
#     docker run --rm -p 127.0.0.1:8900:8900 vlmguard --microworld
#
# Keys come from the environment of the container, never from a build argument or a layer.

FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /opt/vlmguard
ENV PATH=/opt/vlmguard/bin:$PATH
COPY constraints.txt ./
# The CPU build of torch: the models behind the guard are served elsewhere. What torch needs comes
# below, from the index that constraints.txt was tested with.
RUN pip install --no-cache-dir --no-deps -c constraints.txt \
        --index-url https://download.pytorch.org/whl/cpu torch
COPY pyproject.toml README.md LICENSE ./
# src/vlmguard is made of links to the folders beside it.
COPY src src
COPY guard guard
COPY tasks tasks
COPY solvers solvers
COPY scorers scorers
COPY training training
COPY results results
RUN pip install --no-cache-dir -c constraints.txt '.[serve]'

FROM python:3.12-slim
COPY --from=build /opt/vlmguard /opt/vlmguard
ENV PATH=/opt/vlmguard/bin:$PATH \
    HOME=/home/vlmguard \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1
RUN useradd --uid 10001 --home-dir /home/vlmguard --create-home --shell /usr/sbin/nologin vlmguard \
    && install -d -o vlmguard -g vlmguard -m 700 /records
USER 10001
WORKDIR /home/vlmguard
EXPOSE 8900
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8900/readyz', timeout=4)"]
# Within a container 0.0.0.0 is the container's own network; what is published is said outside.
ENTRYPOINT ["vlmguard", "serve", "--host", "0.0.0.0", "--port", "8900"]
CMD ["--help"]
