"""Our own processes, as users run them: started on free ports, and ended with the tests."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where the binaries are: those of `cargo build`, unless somebody has others.
BINARIES = pathlib.Path(os.environ.get("BINARIES", ROOT / "target/debug"))
TOKEN = "neighbours"
# How long a state may take to come.
PATIENCE = 30


def eventually(what, look):
    """What `look` returns once it is not None."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come within {PATIENCE} s")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def call(url, body=None, headers=None):
    """The status and the JSON of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Process:
    """One of our binaries. The kernel ends it with whoever has started it."""

    def __init__(self, name, arguments, env=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="neighbours-"))
        self.command = ["setpriv", "--pdeathsig", "KILL", str(BINARIES / name), *arguments]
        self.env = {"PATH": os.environ["PATH"], **(env or {})}
        self.running = None
        self.start()

    def start(self):
        """The same again, after its end: it finds the files that it had."""
        self.log = open(self.folder / "log", "w+")
        self.running = subprocess.Popen(self.command, cwd=self.folder, env=self.env, stdout=self.log, stderr=self.log)

    def address(self, listener):
        def look():
            # The last line may be half written.
            text = (self.folder / "log").read_text().rpartition("\n")[0]
            if self.running.poll() is not None:
                raise AssertionError(text)
            found = re.search(rf"^listening .*\b{listener}=(\S+)$", text, re.MULTILINE)
            return found and found[1]

        return eventually(f"the address {listener}", look)

    def kill(self):
        self.running.send_signal(signal.SIGKILL)
        self.running.wait()
        self.log.close()

    def end(self):
        self.kill()
        shutil.rmtree(self.folder)


class Mesh:
    """The whole of it in one process, with an embedded broker, unless its environment has another one, and files for databases."""

    def __init__(self, grpc=(0, 0), env=None):
        ports = zip(("--http", "--orders-grpc", "--payments-grpc", "--admin"), (0, *grpc, 0))
        arguments = [word for name, port in ports for word in (name, f"127.0.0.1:{port}")]
        self.process = Process("ordermesh", ["up", *arguments], {"ADMIN_TOKEN": TOKEN, **(env or {})})
        self.edge = "http://" + self.process.address("http")
        self.orders, self.payments = self.process.address("orders-grpc"), self.process.address("payments-grpc")
        self.admin = "http://" + self.process.address("admin")

    def pause(self):
        """Returns once orders publishes nothing: what is placed stays NEW."""
        pause = {"part": "RELAY", "operator": "test", "reason": "a look at NEW"}
        status, answer = call(f"{self.admin}/admin/v1/orders/pauses", pause, {"authorization": f"Bearer {TOKEN}"})
        assert status == 200, answer

        def look():
            _, ready = call(f"{self.admin}/readyz")
            return True if ready["states"].get("orders.relay") == "paused" else None

        eventually("the pause", look)
        return self

    def resume(self):
        """Ends the first pause, which outlives its process."""
        self.admin = "http://" + self.process.address("admin")
        headers = {"authorization": f"Bearer {TOKEN}"}
        status, answer = call(f"{self.admin}/admin/v1/orders/pauses/1:resume", {"operator": "test"}, headers)
        assert status == 200, answer

    def account(self, user, amount):
        for path, body in (("", {"userId": user}), (f"/{user}/top-up", {"amount": str(amount)})):
            status, answer = call(f"{self.edge}/gateway/payments{path}", body)
            assert status == 200, answer

    def order(self, user, amount):
        status, answer = call(f"{self.edge}/gateway/orders", {"userId": user, "amount": str(amount)})
        assert status == 200, answer
        return answer["id"]

    def ended(self, order):
        def look():
            _, answer = call(f"{self.edge}/gateway/orders/{order}")
            return answer if answer["status"] != "NEW" else None

        return eventually("the end of the order", look)

    def end(self):
        self.process.end()
